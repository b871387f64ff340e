/* Measures the instructions that products are made of, once. */
#include "ops/kernels/rates.h"

#include <omp.h>
#include <pthread.h>
#include <time.h>

/* The level that brings an instruction. */
static const struct {
    const char *name;
    bool bf16;
    enum dg_cpu_level level;
} products[DG_PRODUCTS] = {
    [DG_PRODUCT_F32] = {"f32 multiply-add", false, DG_CPU_V1},
    [DG_PRODUCT_VDPBF16PS] = {"vdpbf16ps", true, DG_CPU_V4B},
    [DG_PRODUCT_TDPBF16PS] = {"tdpbf16ps", true, DG_CPU_V5},
};

/* Runs of 3 to 40 us, of which the fastest counts: interruptions and a clock that is still rising make a run slower, nothing makes
 * it faster. */
enum { RUNS = 40, TURNS = 1500 };

const char *dg_product_name(enum dg_product product) { return products[product].name; }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The f32 multiply-add is that of the CPU's highest level, whose vectors are the widest. */
static enum dg_cpu_level level_of(enum dg_product product)
{
    return products[product].bf16 ? products[product].level : dg_cpu_highest_level(DG_CPU_V5);
}

/* The kernels that run an instruction; NULL where the CPU does not have it. To ask costs more than a run does. */
static const struct dg_rates_kernels *kernels_of(enum dg_product product)
{
    return dg_cpu_has_level(products[product].level) ? dg_rates_kernels_at(level_of(product)) : NULL;
}

/* GFLOP/s of the calling thread in one run. */
static double one_run(const struct dg_rates_kernels *kernels, bool bf16)
{
    double begin = now(), done = kernels->multiply_add(TURNS, bf16);
    return done / (now() - begin) * 1e-9;
}

static double rate[DG_PRODUCTS];

static void measure(void)
{
    const struct dg_rates_kernels *kernels[DG_PRODUCTS];
    for (enum dg_product p = 0; p < DG_PRODUCTS; p++) kernels[p] = kernels_of(p);
    for (int run = 0; run < RUNS; run++)
        for (enum dg_product p = 0; p < DG_PRODUCTS; p++) {
            double is = kernels[p] ? one_run(kernels[p], products[p].bf16) : 0;
            if (is > rate[p]) rate[p] = is;
        }
}

double dg_product_rate(enum dg_product product)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, measure);
    return rate[product];
}

double dg_product_rate_of(enum dg_product product, int threads)
{
    const struct dg_rates_kernels *kernels = kernels_of(product);
    double sum = 0;
    if (!kernels) return 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        double best = 0;
#pragma omp barrier
        for (int run = 0; run < 10 * RUNS; run++) {
            double is = one_run(kernels, products[product].bf16);
            if (is > best) best = is;
        }
        sum += best;
    }
    return sum;
}

bool dg_product_pays(enum dg_product product)
{
    return dg_product_rate(product) >= 1.2 * dg_product_rate(DG_PRODUCT_F32);
}

enum dg_product dg_fastest_product(bool bf16)
{
    enum dg_product fastest = DG_PRODUCT_F32;
    for (enum dg_product p = 0; bf16 && p < DG_PRODUCTS; p++)
        if (dg_product_rate(p) > dg_product_rate(fastest)) fastest = p;
    return fastest;
}

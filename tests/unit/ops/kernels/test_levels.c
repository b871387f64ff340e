/* Every kernel at every level that the CPU has, against the same kernel at the lowest level: random numbers, sizes at and between
 * the edges of vectors and tiles, all flags. The cases are levels/<family>.c. */
#include "tests/support/amx_trap.h"
#include "tests/unit/ops/kernels/levels/levels.h"

#include <omp.h>

enum { TRIALS = 24 };

struct kernel_case {
    const char *kernel; /* family.kernel */
    void (*run)(struct trial *t);
};

static const struct kernel_case cases[] = {
#define DG_KERNEL(family, kernel) {#family "." #kernel, levels_##family##_##kernel},
#include "ops/kernels/list.h"
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

static void run_at(const struct kernel_case *c, enum dg_cpu_level level, int seed, struct trial *t)
{
    *t = (struct trial){.level = level, .rng = dg_rng_make((uint64_t)seed, DG_RNG_TEST, 0, 0)};
    t->threads = 1 + dg_rng_u32(&t->rng) % 4;
    omp_set_num_threads(t->threads);
    c->run(t);
}

static void test_kernel(void **state)
{
    const struct kernel_case *c = *state;
    for (int seed = 0; seed < TRIALS; seed++) {
        struct trial low;
        run_at(c, DG_CPU_V1, seed, &low);
        for (enum dg_cpu_level level = DG_CPU_V3; level < DG_CPU_LEVELS; level++) {
            struct trial high;
            if (!dg_cpu_has_level(level) && !(level == DG_CPU_V5 && amx_can_run())) continue;
            run_at(c, level, seed, &high);
            trial_compare(c->kernel, &low, &high, seed);
            trial_close(&high, c->kernel);
        }
        trial_close(&low, c->kernel);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[NUM_CASES];
    for (int c = 0; c < NUM_CASES; c++)
        tests[c] = (struct CMUnitTest){
            .name = cases[c].kernel, .test_func = test_kernel, .initial_state = (void *)(uintptr_t)&cases[c]};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

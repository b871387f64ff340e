#include "ops/kernels/rates.h"

#include "ops/kernels/amx.h"
#include "ops/kernels/lanes.h"
#include "ops/kernels/tile.h"

/* More sums than any CPU has multiply-adds under way, and no more than the registers of each level hold. They have names, since the
 * compiler does not always hold an array in registers. */
enum { SUMS = 12 };
#define EACH_SUM(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define DECLARE(i) dg_lanes sum##i = (dg_lanes){0} + i; /* different, else they are one */
#define MULTIPLY(i) sum##i = dg_multiply_add(bf16, sum##i, a, x);
#define ADD(i) total += sum##i;
#define RETAIN(i) DG_IN_REGISTER(sum##i);

static DG_INLINE double run(int64_t turns, bool bf16)
{
    dg_lanes x = (dg_lanes){0} + 1;
    float a = 1;
    EACH_SUM(DECLARE)
    for (int64_t t = 0; t < turns; t++) {
        DG_IN_REGISTER(x); /* else the products are those of the turn before */
        EACH_SUM(MULTIPLY)
        EACH_SUM(RETAIN)
    }
    dg_lanes total = {0};
    EACH_SUM(ADD)
    volatile float result = total[0]; /* else nothing of it is wanted */
    (void)result;
    return (double)turns * SUMS * DG_LANES * (bf16 ? 4 : 2);
}

#ifdef DG_AMX
/* Four sums of two left and two right operands, which are zeros. */
static double run_tiles(int64_t turns)
{
    dg_amx_begin();
    for (int64_t t = 0; t < turns; t++) {
        dg_amx_product(0, 4, 6);
        dg_amx_product(1, 4, 7);
        dg_amx_product(2, 5, 6);
        dg_amx_product(3, 5, 7);
    }
    dg_amx_end();
    return (double)turns * 4 * 2 * DG_AMX_ROWS * DG_AMX_UNITS * (2 * DG_AMX_UNITS);
}
#else
static double run_tiles(int64_t turns) { return run(turns, 1); }
#endif

static double multiply_add(int64_t turns, bool bf16) { return bf16 ? run_tiles(turns) : run(turns, 0); }

DG_KERNELS(rates) = {.multiply_add = multiply_add};

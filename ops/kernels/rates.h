/* What this CPU makes of the instructions that products are made of: f32 multiply-adds and, at each level that has one, the
 * instruction for products of bf16. Measured, because the same instruction is twice as fast as f32 on one CPU and slower than f32
 * on another. The dispatch chooses kernels by it, and a benchmark may hold itself against it. */
#ifndef DG_OPS_KERNELS_RATES_H
#define DG_OPS_KERNELS_RATES_H

#include "ops/kernels/family.h"

struct dg_rates_kernels {
    /* Multiplies and adds in registers, `turns` times over; returns the number of operations, a product and its sum being two. With
     * `bf16` these are products of bf16 summed in f32, by the instruction of the level; a level without one converts. */
    double (*multiply_add)(int64_t turns, bool bf16);
};
DG_KERNEL_FAMILY(rates);

/* Instructions that products are made of. */
enum dg_product {
    DG_PRODUCT_F32,       /* multiply-add of f32 */
    DG_PRODUCT_VDPBF16PS, /* pairs of bf16, AVX-512 BF16 */
    DG_PRODUCT_TDPBF16PS, /* tiles of bf16, AMX */
    DG_PRODUCTS           /* their number */
};

/* "f32 multiply-add", "vdpbf16ps", "tdpbf16ps". */
const char *dg_product_name(enum dg_product product);

/* GFLOP/s of one thread on registers alone, the best of several short runs; 0 where the CPU does not have the instruction.
 * DINOGRAPH_CPU does not matter. The first call measures all of them, for a few milliseconds. Any thread may call. */
double dg_product_rate(enum dg_product product);

/* The sum of the rates of `threads` threads that run at the same time, measured anew in about ten milliseconds. Not within a
 * parallel region. */
double dg_product_rate_of(enum dg_product product, int threads);

/* Whether the instruction is worth its kernels here: at least 1.2 times as fast as the f32 multiply-add. Instructions are far from
 * that, to either side, so that a CPU always answers the same. */
bool dg_product_pays(enum dg_product product);

/* Which kernels this process runs, a level and perhaps an instruction that it leaves out because it does not pay: "v4b",
 * "v4b without vdpbf16ps". It is the same at every start on one CPU. */
struct dg_kernels_name {
    char text[40];
} dg_kernels_name(void);

/* The fastest for operands in f32 or, if `bf16`, in bf16, which may be converted to f32. */
enum dg_product dg_fastest_product(bool bf16);

#endif

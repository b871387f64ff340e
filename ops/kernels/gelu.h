/* The exact (erf) GELU: x Phi(x), Phi being the normal distribution function. */
#ifndef DG_OPS_KERNELS_GELU_H
#define DG_OPS_KERNELS_GELU_H

#include "ops/kernels/family.h"

struct dg_gelu_sums_args {
    int64_t rows, cols;
    bool bf16;                  /* src, diff_dst and diff_src are bf16, else f32 */
    const void *src, *diff_dst; /* [rows, cols] */
    void *diff_src;             /* [rows, cols]; may be diff_dst */
    const float *acc;           /* [cols], added to sums; NULL: nothing is added. May be sums */
    float *sums;                /* [cols] */
    float *partial;             /* scratch [threads, cols] */
    int threads;
};

struct dg_gelu_kernels {
    /* dst = src Phi(src), [count]; both bf16 or both f32. dst may be src. */
    void (*forward)(int64_t count, bool bf16, const void *src, void *dst);

    /* diff_src = diff_dst (Phi(src) + src phi(src)), [count]; all bf16 or all f32. diff_src may be diff_dst. */
    void (*backward)(int64_t count, bool bf16, const void *src, const void *diff_dst, void *diff_src);

    /* The same of a matrix, and sums[c] = acc[c] + the sum over rows of diff_src before it is rounded: the gradient of the
     * bias in front of the GELU. */
    void (*backward_sums)(const struct dg_gelu_sums_args *args);
};
DG_KERNEL_FAMILY(gelu);

#endif

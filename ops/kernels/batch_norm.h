/* Batch norm of src [rows, cols] over the rows; a column is a channel. What is as large as src (dst and both gradients too) is
 * bf16 or f32 alike. Sums run in f32 over blocks of rows and in f64 over blocks: as exact as f64 for all practical purposes, at
 * the speed of memory. */
#ifndef DG_OPS_KERNELS_BATCH_NORM_H
#define DG_OPS_KERNELS_BATCH_NORM_H

#include "ops/kernels/family.h"

struct dg_batch_norm_moments_args {
    int64_t rows, cols;
    bool bf16;
    const void *src;
    float *mean, *var; /* [cols]; the variance is biased */
    double *partial;   /* scratch [threads, 2, cols] */
    int threads;
};

struct dg_batch_norm_apply_args {
    int64_t rows, cols;
    bool bf16;
    const void *src;
    const float *mean, *var, *weight, *bias; /* [cols] */
    double eps;
    bool relu;    /* max(0, .) of the result */
    void *dst;    /* may be src */
    float *scale; /* scratch [cols] */
};

struct dg_batch_norm_grad_args {
    int64_t rows, cols;
    /* Rows of which mean and var are, and of which backward_src takes sums: more than `rows` where processes share a step. */
    int64_t all_rows;
    bool bf16;
    const void *src;
    const float *mean, *var, *weight; /* [cols] */
    double eps;
    const void *dst; /* the result with ReLU, or NULL: there was no ReLU */
    const void *diff_dst;
    const float *acc_weight, *acc_bias; /* [cols], added; NULL: nothing is added */
    void *diff_src;                     /* may be diff_dst; NULL: it is not wanted */
    float *diff_weight, *diff_bias;     /* [cols]; either may be NULL */
    /* Scratch: f64 [threads, 2, cols], then f32 [threads, 2, cols] and [3, cols]. In the first [2, cols] are, between the two
     * parts, the sums of g and of g (x - mean). */
    double *partial;
    int threads;
};

struct dg_batch_norm_kernels {
    /* Mean and variance of each column. Deviations are taken from the first row, so a large common offset costs no digits. */
    void (*moments)(const struct dg_batch_norm_moments_args *args);

    /* dst = (src - mean) weight / sqrt(var + eps) + bias, then max(0, .) if `relu`. */
    void (*apply)(const struct dg_batch_norm_apply_args *args);

    /* The gradient of training-mode batch norm, and of the ReLU behind it, in two parts:
     *   g = diff_dst, or zero where dst <= 0;  diff_bias = sum g;  diff_weight = rstd sum g (x - mean)
     *   diff_src = weight rstd (g - mean(g) - (x - mean) rstd^2 mean(g (x - mean)))
     * The first leaves the sums over its rows in `partial`; the second takes those over all_rows there. */
    void (*backward_sums)(const struct dg_batch_norm_grad_args *args);
    void (*backward_src)(const struct dg_batch_norm_grad_args *args);
};
DG_KERNEL_FAMILY(batch_norm);

#endif

/* Layer norm over the rows of a matrix, each row by itself, with the biased variance.
 *
 * Rows belong to images of `image_rows` rows. Where drop path leaves images out, a tensor holds the surviving images only, at its
 * front. An index array [images] says where image i stands in such a tensor, or -1: not at all; NULL: image i stands at i. */
#ifndef DG_OPS_KERNELS_LAYER_NORM_H
#define DG_OPS_KERNELS_LAYER_NORM_H

#include "ops/kernels/family.h"

struct dg_layer_norm_args {
    int64_t rows, cols, image_rows; /* rows of dst */
    const int64_t *src_image;       /* where src has dst's image i, never -1; or NULL */
    const float *src;               /* [images of src * image_rows, cols] */
    const float *weight, *bias;     /* [cols] */
    float eps;
    bool dst_bf16;      /* dst is bf16, else f32 */
    void *dst;          /* [rows, cols] */
    float *mean, *rstd; /* [rows]; either may be NULL */
};

struct dg_add_layer_norm_args {
    int64_t rows, cols, image_rows; /* rows of residual and sum */
    const int64_t *src_image;       /* where src has image i; -1: its branch was dropped */
    float keep;                     /* the probability to survive, by which src is divided, or 1: no drop path */
    bool src_bf16, residual_bf16;   /* src and residual are bf16, else f32 */
    const void *src, *residual;     /* [.., cols], [rows, cols] */
    const float *weight, *bias;     /* [cols] */
    float eps;
    float *sum;               /* [rows, cols]; may be src or residual, if that is f32 */
    const int64_t *dst_image; /* where dst, mean and rstd have image i; -1: it is not normalised */
    bool dst_bf16;            /* dst is bf16, else f32 */
    void *dst;                /* [.., cols] */
    float *mean, *rstd;       /* [..]; either may be NULL */
};

struct dg_layer_norm_grad_args {
    int64_t rows, cols, image_rows; /* rows of src and diff_src */
    const float *src;               /* [rows, cols] */
    const int64_t *dst_image;       /* where diff_dst, mean and rstd have image i; -1: it has no gradient */
    bool diff_dst_bf16;             /* diff_dst is bf16, else f32 */
    const void *diff_dst;           /* [.., cols] */
    const float *weight;            /* [cols] */
    const float *mean, *rstd;       /* [..] */
    const float *acc_src, *acc_weight, *acc_bias; /* added; NULL: nothing is added. May be the outputs */
    float *diff_src;                              /* [rows, cols]; may be diff_dst, if that is f32 */
    float *diff_weight, *diff_bias;               /* [cols]; either may be NULL */
    float *partial;                               /* scratch [threads, 2, cols] */
    int threads;
};

struct dg_layer_norm_kernels {
    /* mean = mean(src), rstd = 1 / sqrt(var(src) + eps), dst = (src - mean) rstd weight + bias. */
    void (*forward)(const struct dg_layer_norm_args *args);

    /* sum = residual + src / keep, or residual alone where the branch was dropped, and the layer norm of each row of the sum
     * while it is in cache. */
    void (*add_forward)(const struct dg_add_layer_norm_args *args);

    /* diff_src = acc_src + the gradient by src; diff_weight and diff_bias likewise. The threads' sums over their rows are added
     * in the order of the threads. */
    void (*backward)(const struct dg_layer_norm_grad_args *args);
};
DG_KERNEL_FAMILY(layer_norm);

#endif

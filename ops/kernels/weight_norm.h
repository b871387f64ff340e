/* The rows of a weight-normed matrix, w = g v / ||v||. One thread calls for its own block of rows. */
#ifndef DG_OPS_KERNELS_WEIGHT_NORM_H
#define DG_OPS_KERNELS_WEIGHT_NORM_H

#include "ops/kernels/family.h"

struct dg_weight_norm_grad_args {
    int64_t rows, cols;
    const float *g, *v, *length; /* [rows], [rows, cols], [rows]: the length of each row of v */
    const float *diff_w;         /* [rows, cols] */
    const float *acc_g, *acc_v;  /* [rows], [rows, cols], added; NULL: nothing is added. May be the outputs */
    float *diff_g;               /* [rows], or NULL: it is not wanted */
    float *diff_v;               /* [rows, cols] */
};

struct dg_weight_norm_kernels {
    /* length[r] = ||v[r]|| and w[r] = g[r] v[r] / length[r]; v, w [rows, cols], g, length [rows]. */
    void (*rows)(int64_t rows, int64_t cols, const float *g, const float *v, float *w, float *length);

    /* diff_g = acc_g + <diff_w, v> / ||v|| and diff_v = acc_v + g / ||v|| (diff_w - v <diff_w, v> / ||v||^2). */
    void (*rows_backward)(const struct dg_weight_norm_grad_args *args);
};
DG_KERNEL_FAMILY(weight_norm);

#endif

/* The DINO loss over whole rows of logits. */
#ifndef DG_OPS_KERNELS_DINO_H
#define DG_OPS_KERNELS_DINO_H

#include "ops/kernels/family.h"

/* The student's logits s [rows, cols] beside the teacher's probabilities q [2 * batch, cols] of two views. Row r is image
 * r % batch of view view0 + r / batch, and is compared with that image's rows of q, but not with its own view's. */
struct dg_dino_pairs {
    int64_t rows, cols, batch, view0;
    const float *s, *q;
    float temp; /* the student's temperature */
};

struct dg_dino_kernels {
    /* q[r] = softmax over cols of (t[r] - center) / temp, and entropy[r] = -sum q ln q; t, q [rows, cols], center [cols],
     * entropy [rows]. q may be t. */
    void (*target)(int64_t rows, int64_t cols, const float *t, const float *center, float temp, float *q,
                   double *entropy);

    /* mean [cols] = the mean over the rows of t [rows, cols]. */
    void (*row_mean)(int64_t rows, int64_t cols, const float *t, float *mean);

    /* lse[r] = ln sum exp(s[r] / temp), unless lse is NULL, and term[r] = the sum over the views i of q that row r is compared
     * with of the cross-entropy -sum q_i (s / temp - lse). lse, term [rows]. */
    void (*loss)(const struct dg_dino_pairs *pairs, float *lse, double *term);

    /* diff_s = scale times the sum over those views of (softmax(s / temp) - q_i), with loss()'s lse. diff_s may be s. */
    void (*loss_backward)(const struct dg_dino_pairs *pairs, const float *lse, float scale, float *diff_s);
};
DG_KERNEL_FAMILY(dino);

#endif

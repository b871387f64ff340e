/* Whitening of features by principal components, as the official eval_copy_detection.py does it: learnt from the
 * features of other images, whose mean is subtracted, while the eigenvectors are those of their products without that
 * (X'X / n). Eigenvalues below 1e-5 of the largest are raised to that; all components stay. In f64, but for applying
 * it. */
#ifndef DG_RUNTIME_EVAL_WHITENING_H
#define DG_RUNTIME_EVAL_WHITENING_H

#include "ops/base/base.h"

struct dg_whitening { /* zero-initialise */
    int64_t dim;
    float *mean;      /* [dim] */
    float *transform; /* [dim, dim]: a row a component, divided by the root of its eigenvalue */
};

/* Learns it from rows [count, dim]. DG_ERR_USAGE, DG_ERR_NUMERIC (not finite, or all zero), DG_ERR_MEMORY (12 dim^2
 * bytes and little more). */
enum dg_status dg_whitening_fit(const float *rows, int64_t count, int64_t dim, int threads,
                                struct dg_whitening *whitening, struct dg_error *err);
/* Replaces rows [count, dim] by what comes of them. */
enum dg_status dg_whitening_apply(const struct dg_whitening *whitening, float *rows, int64_t count,
                                  struct dg_error *err);
void dg_whitening_free(struct dg_whitening *whitening);

#endif

#include "runtime/eval/whitening.h"

#include "ops/dnnl/dnnl.h"
#include "runtime/eval/pca.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 }; /* rows that are whitened at once */

static void take_mean(const float *rows, int64_t count, int64_t dim, double *sum, float *mean)
{
    memset(sum, 0, (size_t)dim * sizeof *sum);
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < dim; i++) sum[i] += (double)rows[r * dim + i];
    for (int64_t i = 0; i < dim; i++) mean[i] = (float)(sum[i] / (double)count);
}

/* Eigenvectors to the rows of the transform. */
static enum dg_status set_transform(struct dg_whitening *w, const double *vector, const double *value,
                                    struct dg_error *err)
{
    double least = 1e-5 * value[0];
    if (!(value[0] > 0)) return dg_fail(err, DG_ERR_NUMERIC, "whitening: the features are all zero");
    for (int64_t r = 0; r < w->dim; r++) {
        double root = sqrt(fmax(value[r], least));
        for (int64_t i = 0; i < w->dim; i++) w->transform[r * w->dim + i] = (float)(vector[r * w->dim + i] / root);
    }
    return DG_OK;
}

enum dg_status dg_whitening_fit(const float *rows, int64_t count, int64_t dim, int threads, struct dg_whitening *w,
                                struct dg_error *err)
{
    if (count < 1 || dim < 1)
        return dg_fail(err, DG_ERR_USAGE, "whitening of %" PRId64 " rows of %" PRId64 " numbers", count, dim);
    double *square = malloc((size_t)(dim * dim) * sizeof *square), *value = malloc((size_t)dim * sizeof *value);
    *w = (struct dg_whitening){.dim = dim,
                               .mean = malloc((size_t)dim * sizeof *w->mean),
                               .transform = malloc((size_t)(dim * dim) * sizeof *w->transform)};
    enum dg_status status = DG_OK;
    if (!square || !value || !w->mean || !w->transform)
        status = dg_fail(err, DG_ERR_MEMORY, "no memory to whiten features of %" PRId64 " numbers", dim);
    if (status == DG_OK) {
        take_mean(rows, count, dim, value, w->mean);
        status = dg_mean_products(rows, count, dim, NULL, threads, square, err);
    }
    if (status == DG_OK) status = dg_eigen_symmetric(square, dim, value, err);
    if (status == DG_OK) status = set_transform(w, square, value, err);
    free(square);
    free(value);
    if (status != DG_OK) dg_whitening_free(w);
    return status;
}

enum dg_status dg_whitening_apply(const struct dg_whitening *w, float *rows, int64_t count, struct dg_error *err)
{
    float *block = aligned_alloc(64, dg_round_up(BLOCK * w->dim * (int64_t)sizeof *block, 64));
    if (!block) return dg_fail(err, DG_ERR_MEMORY, "no memory to whiten features");
    enum dg_status status = DG_OK;
    for (int64_t first = 0; first < count && status == DG_OK; first += BLOCK) {
        int64_t n = dg_min_i64(BLOCK, count - first);
        float *x = rows + first * w->dim;
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < w->dim; i++) block[r * w->dim + i] = x[r * w->dim + i] - w->mean[i];
        status = dg_sgemm(false, true, n, w->dim, w->dim, block, w->dim, w->transform, w->dim, 0, x, w->dim, err);
    }
    free(block);
    return status;
}

void dg_whitening_free(struct dg_whitening *w)
{
    free(w->mean);
    free(w->transform);
    *w = (struct dg_whitening){0};
}

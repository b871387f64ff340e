/* The rows of a weight-normed matrix. Called by one thread for its own block of rows, so there is no OpenMP here. */
#include "ops/kernels/kernels.h"

#include <math.h>

/* w[r, :] = g[r] v[r, :] / ||v[r, :]|| and length[r] = ||v[r, :]||; v, w [rows, cols]. */
void DG_K(weight_norm_rows)(int64_t rows, int64_t cols, const float *g, const float *v, float *w, float *length)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *x = v + r * cols;
        float *y = w + r * cols, square = 0;
#pragma omp simd reduction(+ : square)
        for (int64_t c = 0; c < cols; c++) square += x[c] * x[c];
        length[r] = sqrtf(square);
        float scale = g[r] / length[r];
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) y[c] = x[c] * scale;
    }
}

/* From diff_w [rows, cols]: diff_g = <diff_w, v> / ||v|| and diff_v = g / ||v|| (diff_w - v <diff_w, v> / ||v||^2),
 * added to acc_g and acc_v unless those are NULL. diff_g may be NULL; outputs may be their accumulators. */
void DG_K(weight_norm_rows_backward)(int64_t rows, int64_t cols, const float *g, const float *v, const float *length,
                                     const float *diff_w, const float *acc_g, const float *acc_v, float *diff_g,
                                     float *diff_v)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *x = v + r * cols, *dw = diff_w + r * cols;
        float *dx = diff_v + r * cols, dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < cols; c++) dot += dw[c] * x[c];
        float scale = g[r] / length[r], along = dot / (length[r] * length[r]);
        if (diff_g) diff_g[r] = (acc_g ? acc_g[r] : 0) + dot / length[r];
        if (acc_v) {
            const float *acc = acc_v + r * cols;
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) dx[c] = acc[c] + scale * (dw[c] - x[c] * along);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) dx[c] = scale * (dw[c] - x[c] * along);
        }
    }
}

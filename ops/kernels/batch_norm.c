#include "ops/kernels/kernels.h"

#include <math.h>
#include <omp.h>

/* Batch norm of src [rows, cols] over the rows, a column being a channel. Sums run over blocks of BLOCK rows in f32, four
 * rows at a time, and over blocks in f64: as exact as a sum in f64 for all practical purposes, at the speed of memory. */
enum { BLOCK = 32 };

static void clear(int64_t cols, float *a, float *b)
{
    for (int64_t c = 0; c < cols; c++) a[c] = b[c] = 0;
}

static void flush(int64_t cols, const float *a, const float *b, double *sum_a, double *sum_b)
{
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        sum_a[c] += (double)a[c];
        sum_b[c] += (double)b[c];
    }
}

/* Adds (x - shift) and its square to a, b for rows [r, end). */
static void block_moments(int64_t r, int64_t end, int64_t cols, const float *src, const float *shift, float *a,
                          float *b)
{
    for (; r + 4 <= end; r += 4) {
        const float *x = src + r * cols, *y = x + cols, *z = y + cols, *w = z + cols;
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float s = shift[c], dx = x[c] - s, dy = y[c] - s, dz = z[c] - s, dw = w[c] - s;
            a[c] += (dx + dy) + (dz + dw);
            b[c] += (dx * dx + dy * dy) + (dz * dz + dw * dw);
        }
    }
    for (; r < end; r++) {
        const float *x = src + r * cols;
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float dx = x[c] - shift[c];
            a[c] += dx;
            b[c] += dx * dx;
        }
    }
}

/* mean, var (biased) [cols]. Deviations are taken from the first row, so a large common offset costs no digits.
 * partial: 2 threads f64 [cols], then 2 threads f32 [cols]. */
void DG_K(batch_norm_moments)(int64_t rows, int64_t cols, const float *src, float *mean, float *var, double *partial,
                              int threads)
{
    float *blocks = (float *)(partial + 2 * threads * cols);
    const float *shift = src;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        float *block = blocks + 2 * t * cols;
        for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += BLOCK) {
            int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
            clear(cols, block, block + cols);
            block_moments(first, end, cols, src, shift, block, block + cols);
            flush(cols, block, block + cols, sum, sum + cols);
        }
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0;
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        a /= (double)rows;
        b = b / (double)rows - a * a;
        mean[c] = (float)((double)shift[c] + a);
        var[c] = b > 0 ? (float)b : 0;
    }
}

/* dst = (src - mean) weight / sqrt(var + eps) + bias, then max(0, .) if relu; dst may be src. scale [cols]. */
void DG_K(batch_norm_apply)(int64_t rows, int64_t cols, const float *src, const float *mean, const float *var,
                            const float *weight, const float *bias, double eps, int relu, float *dst, float *scale)
{
    for (int64_t c = 0; c < cols; c++) scale[c] = (float)((double)weight[c] / sqrt((double)var[c] + eps));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = src + r * cols;
        float *y = dst + r * cols;
        if (relu) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) {
                float v = (x[c] - mean[c]) * scale[c] + bias[c];
                y[c] = v > 0 ? v : 0;
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) y[c] = (x[c] - mean[c]) * scale[c] + bias[c];
        }
    }
}

/* Adds dy and dy (x - mean) to a, b for rows [r, end); where `y` is given, dy counts only where y > 0. */
static void block_gradients(int64_t r, int64_t end, int64_t cols, const float *src, const float *mean, const float *y,
                            const float *diff_dst, float *a, float *b)
{
    for (; r < end; r++) {
        const float *x = src + r * cols, *d = diff_dst + r * cols, *out = y ? y + r * cols : d;
        if (y) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) {
                float g = out[c] > 0 ? d[c] : 0;
                a[c] += g;
                b[c] += g * (x[c] - mean[c]);
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) {
                a[c] += d[c];
                b[c] += d[c] * (x[c] - mean[c]);
            }
        }
    }
}

/* The gradient of training-mode batch norm (and of the ReLU behind it, where its result `y` is given):
 *   g = diff_dst where y > 0;  diff_bias = sum g;  diff_weight = rstd sum g (x - mean)
 *   diff_src = weight rstd (g - mean(g) - (x - mean) rstd^2 mean(g (x - mean)))
 * acc_* are added (NULL: nothing). diff_src (NULL: not wanted) may be diff_dst. partial as in batch_norm_moments, and
 * then f32 [3 cols]. */
void DG_K(batch_norm_backward)(int64_t rows, int64_t cols, const float *src, const float *mean, const float *var,
                               const float *weight, double eps, const float *y, const float *diff_dst,
                               const float *acc_weight, const float *acc_bias, float *diff_src, float *diff_weight,
                               float *diff_bias, double *partial, int threads)
{
    float *blocks = (float *)(partial + 2 * threads * cols);
    float *scale = blocks + 2 * threads * cols, *mean_g = scale + cols, *slope = mean_g + cols;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        float *block = blocks + 2 * t * cols;
        for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += BLOCK) {
            int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
            clear(cols, block, block + cols);
            block_gradients(first, end, cols, src, mean, y, diff_dst, block, block + cols);
            flush(cols, block, block + cols, sum, sum + cols);
        }
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0, rstd = 1 / sqrt((double)var[c] + eps);
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        if (diff_bias) diff_bias[c] = (acc_bias ? acc_bias[c] : 0) + (float)a;
        if (diff_weight) diff_weight[c] = (acc_weight ? acc_weight[c] : 0) + (float)(b * rstd);
        scale[c] = (float)((double)weight[c] * rstd);
        mean_g[c] = (float)(a / (double)rows);
        slope[c] = (float)(b / (double)rows * rstd * rstd);
    }
    if (!diff_src) return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = src + r * cols, *d = diff_dst + r * cols, *out = y ? y + r * cols : NULL;
        float *dx = diff_src + r * cols;
        if (out) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++)
                dx[c] = scale[c] * ((out[c] > 0 ? d[c] : 0) - mean_g[c] - (x[c] - mean[c]) * slope[c]);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) dx[c] = scale[c] * (d[c] - mean_g[c] - (x[c] - mean[c]) * slope[c]);
        }
    }
}

#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

#include <math.h>
#include <omp.h>

/* Batch norm of src [rows, cols] over the rows, a column being a channel. With `half`, what is as large as src (src, dst, and
 * their gradients) is bf16, else f32. Sums run over blocks of BLOCK rows in f32, four
 * rows at a time, and over blocks in f64: as exact as a sum in f64 for all practical purposes, at the speed of memory. */
enum { BLOCK = 32, AHEAD = 16 }; /* rows */

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

/* Adds (x - shift) and its square to a, b for rows [r, end); the shift is src's first row. */
static DG_INLINE void block_moments(int64_t r, int64_t end, int64_t cols, int half, const void *src, float *a, float *b)
{
    for (; r + 4 <= end; r += 4) {
        /* Four rows at once are no stream that hardware foresees. */
        const char *soon = dg_at(src, half, (r + AHEAD) * cols);
        for (int64_t byte = 0; byte < 4 * cols * (half ? 2 : 4); byte += 64) __builtin_prefetch(soon + byte, 0, 2);
        const void *x = dg_at(src, half, r * cols), *y = dg_at(x, half, cols), *z = dg_at(y, half, cols),
                   *w = dg_at(z, half, cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float s = dg_get(src, half, c), dx = dg_get(x, half, c) - s, dy = dg_get(y, half, c) - s,
                  dz = dg_get(z, half, c) - s, dw = dg_get(w, half, c) - s;
            a[c] += (dx + dy) + (dz + dw);
            b[c] += (dx * dx + dy * dy) + (dz * dz + dw * dw);
        }
    }
    for (; r < end; r++) {
        const void *x = dg_at(src, half, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float dx = dg_get(x, half, c) - dg_get(src, half, c);
            a[c] += dx;
            b[c] += dx * dx;
        }
    }
}

static DG_INLINE void moments(int64_t rows, int64_t cols, int half, const void *src, float *block, double *sum)
{
    for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
        clear(cols, block, block + cols);
        block_moments(first, end, cols, half, src, block, block + cols);
        flush(cols, block, block + cols, sum, sum + cols);
    }
}

/* mean, var (biased) [cols]. Deviations are taken from the first row, so a large common offset costs no digits.
 * partial: 2 threads f64 [cols], then 2 threads f32 [cols]. */
void DG_K(batch_norm_moments)(int64_t rows, int64_t cols, int half, const void *src, float *mean, float *var,
                              double *partial, int threads)
{
    float *blocks = (float *)(partial + 2 * threads * cols);
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        float *block = blocks + 2 * t * cols;
        if (half)
            moments(rows, cols, 1, src, block, sum);
        else
            moments(rows, cols, 0, src, block, sum);
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0;
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        a /= (double)rows;
        b = b / (double)rows - a * a;
        mean[c] = (float)((double)dg_get(src, half, c) + a);
        var[c] = b > 0 ? (float)b : 0;
    }
}

static DG_INLINE void apply(int64_t rows, int64_t cols, int half, const void *src, const float *mean,
                            const float *scale, const float *bias, int relu, void *dst)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, half, r * cols);
        void *y = dg_at_out(dst, half, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float v = (dg_get(x, half, c) - mean[c]) * scale[c] + bias[c];
            dg_put(y, half, c, relu && !(v > 0) ? 0 : v);
        }
    }
}

/* dst = (src - mean) weight / sqrt(var + eps) + bias, then max(0, .) if relu; dst may be src. scale [cols]. */
void DG_K(batch_norm_apply)(int64_t rows, int64_t cols, int half, const void *src, const float *mean, const float *var,
                            const float *weight, const float *bias, double eps, int relu, void *dst, float *scale)
{
    for (int64_t c = 0; c < cols; c++) scale[c] = (float)((double)weight[c] / sqrt((double)var[c] + eps));
#pragma omp parallel
    switch (half << 1 | relu) {
    case 0: apply(rows, cols, 0, src, mean, scale, bias, 0, dst); break;
    case 1: apply(rows, cols, 0, src, mean, scale, bias, 1, dst); break;
    case 2: apply(rows, cols, 1, src, mean, scale, bias, 0, dst); break;
    case 3: apply(rows, cols, 1, src, mean, scale, bias, 1, dst); break;
    }
}

/* diff_dst, with `relu` only where y > 0. */
static DG_INLINE float gradient(int half, int relu, const void *y, const void *diff_dst, int64_t c)
{
    float d = dg_get(diff_dst, half, c);
    return !relu || dg_get(y, half, c) > 0 ? d : 0;
}

/* Sums of the gradient g and of g (x - mean). */
static DG_INLINE void gradient_sums(int64_t rows, int64_t cols, int half, const void *src, const float *mean, int relu,
                                    const void *dst, const void *diff_dst, float *block, double *sum)
{
    for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
        float *a = block, *b = block + cols;
        clear(cols, a, b);
        for (int64_t r = first; r < end; r++) {
            const void *x = dg_at(src, half, r * cols), *d = dg_at(diff_dst, half, r * cols),
                       *y = relu ? dg_at(dst, half, r * cols) : NULL;
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) {
                float g = gradient(half, relu, y, d, c);
                a[c] += g;
                b[c] += g * (dg_get(x, half, c) - mean[c]);
            }
        }
        flush(cols, a, b, sum, sum + cols);
    }
}

static DG_INLINE void source_gradient(int64_t rows, int64_t cols, int half, const void *src, const float *mean,
                                      const float *scale, const float *mean_g, const float *slope, int relu,
                                      const void *dst, const void *diff_dst, void *diff_src)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, half, r * cols), *d = dg_at(diff_dst, half, r * cols),
                   *y = relu ? dg_at(dst, half, r * cols) : NULL;
        void *dx = dg_at_out(diff_src, half, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++)
            dg_put(dx, half, c,
                   scale[c] * (gradient(half, relu, y, d, c) - mean_g[c] - (dg_get(x, half, c) - mean[c]) * slope[c]));
    }
}

/* The gradient of training-mode batch norm (and of the ReLU behind it, where its result `y` is given):
 *   g = diff_dst where y > 0;  diff_bias = sum g;  diff_weight = rstd sum g (x - mean)
 *   diff_src = weight rstd (g - mean(g) - (x - mean) rstd^2 mean(g (x - mean)))
 * acc_* are added (NULL: nothing). diff_src (NULL: not wanted) may be diff_dst. partial as in batch_norm_moments, and
 * then f32 [3 cols]. */
void DG_K(batch_norm_backward)(int64_t rows, int64_t cols, int half, const void *src, const float *mean,
                               const float *var, const float *weight, double eps, const void *y, const void *diff_dst,
                               const float *acc_weight, const float *acc_bias, void *diff_src, float *diff_weight,
                               float *diff_bias, double *partial, int threads)
{
    float *blocks = (float *)(partial + 2 * threads * cols);
    float *scale = blocks + 2 * threads * cols, *mean_g = scale + cols, *slope = mean_g + cols;
    int form = (half ? 2 : 0) | !!y;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        float *block = blocks + 2 * t * cols;
        switch (form) {
        case 0: gradient_sums(rows, cols, 0, src, mean, 0, y, diff_dst, block, sum); break;
        case 1: gradient_sums(rows, cols, 0, src, mean, 1, y, diff_dst, block, sum); break;
        case 2: gradient_sums(rows, cols, 1, src, mean, 0, y, diff_dst, block, sum); break;
        case 3: gradient_sums(rows, cols, 1, src, mean, 1, y, diff_dst, block, sum); break;
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
#pragma omp parallel
    switch (form) {
    case 0: source_gradient(rows, cols, 0, src, mean, scale, mean_g, slope, 0, y, diff_dst, diff_src); break;
    case 1: source_gradient(rows, cols, 0, src, mean, scale, mean_g, slope, 1, y, diff_dst, diff_src); break;
    case 2: source_gradient(rows, cols, 1, src, mean, scale, mean_g, slope, 0, y, diff_dst, diff_src); break;
    case 3: source_gradient(rows, cols, 1, src, mean, scale, mean_g, slope, 1, y, diff_dst, diff_src); break;
    }
}

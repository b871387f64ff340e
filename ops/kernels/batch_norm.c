#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/lanes.h"

#include <math.h>
#include <omp.h>

/* Batch norm of src [rows, cols] over the rows, a column being a channel. With `half`, what is as large as src (src, dst, and
 * their gradients) is bf16, else f32. Sums run over blocks of BLOCK rows in f32 and over blocks in f64: as exact as a sum in
 * f64 for all practical purposes, at the speed of memory. */
enum { BLOCK = 32 }; /* rows */

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

/* Columns that are summed at a time, in registers; in bf16 a vector has every other column of two vectors' width. */
enum { VECTORS = 4, PANEL = VECTORS * DG_LANES };

static DG_INLINE void load_panel(int half, const void *from, dg_lanes *x)
{
    for (int v = 0; v < VECTORS; v += 1 + half) {
        memcpy(&x[v], dg_at(from, half, v * DG_LANES), sizeof x[v]); /* bf16 may lie at two bytes */
        if (!half) continue;
        dg_bits units = (dg_bits)x[v];
        x[v] = (dg_lanes)(units << 16);
        x[v + 1] = (dg_lanes)(units & 0xffff0000);
    }
}

/* The column at place `at` of a panel. */
static inline int64_t panel_column(int half, int64_t at)
{
    int64_t vector = at / DG_LANES;
    return half ? vector / 2 * 2 * DG_LANES + at % DG_LANES * 2 + vector % 2 : at;
}

/* sum [2][cols] of x - shift and of its square; the shift is src's first row. Columns of whole panels are left at their
 * places in the panel. */
static DG_INLINE void moments(int64_t rows, int64_t cols, int half, const void *src, double *sum)
{
    enum { BYTES = PANEL * 4 };
    int64_t whole = cols / PANEL * PANEL, bytes = BYTES >> half;
    for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
        const char *soon = dg_at(src, half, end * cols); /* pieces of rows are no stream that hardware foresees */
        for (int64_t c = 0; c < whole; c += PANEL) {
            dg_lanes shift[VECTORS], a[VECTORS] = {0}, b[VECTORS] = {0};
            load_panel(half, dg_at(src, half, c), shift);
            for (int64_t r = first; r < end; r++, soon += bytes) {
                dg_lanes x[VECTORS];
                for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(soon + byte, 0, 2);
                load_panel(half, dg_at(src, half, r * cols + c), x);
                for (int v = 0; v < VECTORS; v++) {
                    x[v] -= shift[v];
                    a[v] += x[v];
                    b[v] += x[v] * x[v];
                }
            }
            flush(PANEL, (const float *)a, (const float *)b, sum + c, sum + cols + c);
        }
        float a[PANEL] = {0}, b[PANEL] = {0};
        for (int64_t r = first; r < end && whole < cols; r++) {
            const void *x = dg_at(src, half, r * cols + whole), *shift = dg_at(src, half, whole);
#pragma omp simd
            for (int64_t c = 0; c < cols - whole; c++) {
                float d = dg_get(x, half, c) - dg_get(shift, half, c);
                a[c] += d;
                b[c] += d * d;
            }
        }
        flush(cols - whole, a, b, sum + whole, sum + cols + whole);
    }
}

/* mean, var (biased) [cols]. Deviations are taken from the first row, so a large common offset costs no digits.
 * partial: f64 [threads, 2, cols]. */
void DG_K(batch_norm_moments)(int64_t rows, int64_t cols, int half, const void *src, float *mean, float *var,
                              double *partial, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        if (half)
            moments(rows, cols, 1, src, sum);
        else
            moments(rows, cols, 0, src, sum);
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0;
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        int64_t panel = c / PANEL * PANEL, column = panel + PANEL <= cols ? panel + panel_column(half, c % PANEL) : c;
        a /= (double)rows;
        b = b / (double)rows - a * a;
        mean[column] = (float)((double)dg_get(src, half, column) + a);
        var[column] = b > 0 ? (float)b : 0;
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
 * acc_* are added (NULL: nothing). diff_src (NULL: not wanted) may be diff_dst. partial: f64 [threads, 2, cols], then
 * f32 [threads, 2, cols] and [3, cols]. */
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

#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

#include <math.h>
#include <omp.h>

static DG_INLINE void normalize(int64_t cols, const float *x, const float *weight, const float *bias, float eps,
                                int dst_half, void *y, float *mean, float *rstd)
{
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++) sum += x[c];
    float m = sum / (float)cols;
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < cols; c++) square += (x[c] - m) * (x[c] - m);
    float s = 1.0f / sqrtf(square / (float)cols + eps);
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) dg_put(y, dst_half, c, (x[c] - m) * s * weight[c] + bias[c]);
    if (mean) *mean = m;
    if (rstd) *rstd = s;
}

static void normalize_row(int64_t cols, const float *x, const float *weight, const float *bias, float eps, int dst_half,
                          void *y, float *mean, float *rstd)
{
    if (dst_half)
        normalize(cols, x, weight, bias, eps, 1, y, mean, rstd);
    else
        normalize(cols, x, weight, bias, eps, 0, y, mean, rstd);
}

/* Row r of images of `each` rows, of which image[i] stands at place i; NULL: all stand in their places. -1: it is not there. */
static DG_INLINE int64_t row_in(const int64_t *image, int64_t each, int64_t r)
{
    if (!image) return r;
    int64_t there = image[r / each];
    return there < 0 ? -1 : there * each + r % each;
}

/* src [.., cols]; dst [rows, cols]; weight, bias [cols]; mean, rstd [rows], either may be NULL. Biased variance. Image i of
 * dst, of `each` rows, is made of image from[i] of src; NULL: of image i. */
void DG_K(layer_norm_forward)(int64_t rows, int64_t cols, const int64_t *from, int64_t each, const float *src,
                              const float *weight, const float *bias, float eps, int dst_half, void *dst, float *mean,
                              float *rstd)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        normalize_row(cols, src + row_in(from, each, r) * cols, weight, bias, eps, dst_half,
                      dg_at_out(dst, dst_half, r * cols), mean ? mean + r : NULL, rstd ? rstd + r : NULL);
}

enum branch { DROPPED, KEPT, WHOLE };

static DG_INLINE void add(int64_t cols, enum branch branch, float keep, int src_half, const void *src,
                          int residual_half, const void *residual, float *sum)
{
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        float x = branch == DROPPED ? 0 : dg_get(src, src_half, c);
        sum[c] = dg_get(residual, residual_half, c) + (branch == KEPT ? x / keep : x);
    }
}

static DG_INLINE void add_of(int64_t cols, enum branch branch, float keep, int src_half, const void *src,
                             int residual_half, const void *residual, float *sum)
{
    switch (src_half << 1 | residual_half) {
    case 0: add(cols, branch, keep, 0, src, 0, residual, sum); break;
    case 1: add(cols, branch, keep, 0, src, 1, residual, sum); break;
    case 2: add(cols, branch, keep, 1, src, 0, residual, sum); break;
    case 3: add(cols, branch, keep, 1, src, 1, residual, sum); break;
    }
}

static void add_row(int64_t cols, enum branch branch, float keep, int src_half, const void *src, int residual_half,
                    const void *residual, float *sum)
{
    switch (branch) {
    case DROPPED: add_of(cols, DROPPED, keep, src_half, src, residual_half, residual, sum); break;
    case KEPT: add_of(cols, KEPT, keep, src_half, src, residual_half, residual, sum); break;
    case WHOLE: add_of(cols, WHOLE, keep, src_half, src, residual_half, residual, sum); break;
    }
}

/* sum = residual + what drop_path makes of src, image by image of `each` rows, and of each row of the sum, while it is in
 * cache, the layer norm, as above. Image i of src is image from[i] there, -1: it is dropped; and that of dst, mean and rstd is
 * place[i], -1: it is left out. NULL: all are in their places. keep 1: src is not divided by it. sum may be an input of its
 * type. */
void DG_K(add_layer_norm)(int64_t rows, int64_t cols, const int64_t *from, int64_t each, float keep, int src_half,
                          const void *src, int residual_half, const void *residual, const float *weight,
                          const float *bias, float eps, float *sum, const int64_t *place, int dst_half, void *dst,
                          float *mean, float *rstd)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t x = row_in(from, each, r), y = row_in(place, each, r);
        enum branch branch = x < 0 ? DROPPED : keep == 1 ? WHOLE : KEPT;
        add_row(cols, branch, keep, src_half, dg_at(src, src_half, x < 0 ? 0 : x * cols), residual_half,
                dg_at(residual, residual_half, r * cols), sum + r * cols);
        if (y < 0) continue;
        normalize_row(cols, sum + r * cols, weight, bias, eps, dst_half, dg_at_out(dst, dst_half, y * cols),
                      mean ? mean + y : NULL, rstd ? rstd + y : NULL);
    }
}

static DG_INLINE void backward(int64_t rows, int64_t cols, const float *src, const int64_t *place, int64_t each,
                               int diff_half, const void *diff_dst, const float *weight, const float *mean,
                               const float *rstd, const float *acc_src, float *diff_src, float *sum_weight,
                               float *sum_bias)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = row_in(place, each, r);
        const float *x = src + r * cols, *acc = acc_src ? acc_src + r * cols : NULL;
        float *dx = diff_src + r * cols;
        if (at < 0) {
            for (int64_t c = 0; c < cols && acc != dx; c++) dx[c] = acc ? acc[c] : 0;
            continue;
        }
        const void *dy = dg_at(diff_dst, diff_half, at * cols);
        float m = mean[at], s = rstd[at], a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
        for (int64_t c = 0; c < cols; c++) {
            float xhat = (x[c] - m) * s, d = dg_get(dy, diff_half, c), g = d * weight[c];
            a += g;
            b += g * xhat;
            sum_weight[c] += d * xhat;
            sum_bias[c] += d;
        }
        a /= (float)cols;
        b /= (float)cols;
        if (acc) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++)
                dx[c] = acc[c] + s * (dg_get(dy, diff_half, c) * weight[c] - a - (x[c] - m) * s * b);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++)
                dx[c] = s * (dg_get(dy, diff_half, c) * weight[c] - a - (x[c] - m) * s * b);
        }
    }
}

/* diff_src = acc_src + ..., diff_weight = acc_weight + ..., diff_bias likewise; acc_* may be NULL or the output itself. Image
 * i of src and diff_src, of `each` rows, is image place[i] of diff_dst, mean and rstd, -1: it is not there, and neither is its
 * gradient; NULL: all are in their places.
 * `partial` [threads, 2, cols]: each thread's sums over its rows, added in thread order. diff_src may be diff_dst, if that
 * is f32. */
void DG_K(layer_norm_backward)(int64_t rows, int64_t cols, const float *src, const int64_t *place, int64_t each,
                               int diff_half, const void *diff_dst, const float *weight, const float *mean,
                               const float *rstd, const float *acc_src, const float *acc_weight, const float *acc_bias,
                               float *diff_src, float *diff_weight, float *diff_bias, float *partial, int threads)
{
    for (int64_t i = 0; i < 2 * cols * threads; i++) partial[i] = 0;
#pragma omp parallel num_threads(threads)
    {
        float *sum_weight = partial + 2 * cols * omp_get_thread_num(), *sum_bias = sum_weight + cols;
        if (diff_half)
            backward(rows, cols, src, place, each, 1, diff_dst, weight, mean, rstd, acc_src, diff_src, sum_weight,
                     sum_bias);
        else
            backward(rows, cols, src, place, each, 0, diff_dst, weight, mean, rstd, acc_src, diff_src, sum_weight,
                     sum_bias);
    }
    if (diff_weight) dg_add_partial(cols, acc_weight, partial, 2 * cols, threads, diff_weight);
    if (diff_bias) dg_add_partial(cols, acc_bias, partial + cols, 2 * cols, threads, diff_bias);
}

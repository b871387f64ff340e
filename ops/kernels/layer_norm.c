#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

#include <math.h>
#include <omp.h>

static DG_INLINE void forward(int64_t rows, int64_t cols, const float *src, const float *weight, const float *bias,
                              float eps, int dst_half, void *dst, float *mean, float *rstd)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = src + r * cols;
        void *y = dg_at_out(dst, dst_half, r * cols);
        float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < cols; c++) sum += x[c];
        float m = sum / (float)cols;
#pragma omp simd reduction(+ : square)
        for (int64_t c = 0; c < cols; c++) square += (x[c] - m) * (x[c] - m);
        float s = 1.0f / sqrtf(square / (float)cols + eps);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) dg_put(y, dst_half, c, (x[c] - m) * s * weight[c] + bias[c]);
        if (mean) mean[r] = m;
        if (rstd) rstd[r] = s;
    }
}

/* src, dst [rows, cols]; weight, bias [cols]; mean, rstd [rows], either may be NULL. Biased variance. */
void DG_K(layer_norm_forward)(int64_t rows, int64_t cols, const float *src, const float *weight, const float *bias,
                              float eps, int dst_half, void *dst, float *mean, float *rstd)
{
#pragma omp parallel
    if (dst_half)
        forward(rows, cols, src, weight, bias, eps, 1, dst, mean, rstd);
    else
        forward(rows, cols, src, weight, bias, eps, 0, dst, mean, rstd);
}

static DG_INLINE void backward(int64_t rows, int64_t cols, const float *src, int diff_half, const void *diff_dst,
                               const float *weight, const float *mean, const float *rstd, const float *acc_src,
                               float *diff_src, float *sum_weight, float *sum_bias)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = src + r * cols;
        const void *dy = dg_at(diff_dst, diff_half, r * cols);
        const float *acc = acc_src ? acc_src + r * cols : NULL;
        float *dx = diff_src + r * cols;
        float m = mean[r], s = rstd[r], a = 0, b = 0;
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

/* diff_src = acc_src + ..., diff_weight = acc_weight + ..., diff_bias likewise; acc_* may be NULL or the output itself.
 * `partial` [threads, 2, cols]: each thread's sums over its rows, added in thread order. diff_src may be diff_dst, if that
 * is f32. */
void DG_K(layer_norm_backward)(int64_t rows, int64_t cols, const float *src, int diff_half, const void *diff_dst,
                               const float *weight, const float *mean, const float *rstd, const float *acc_src,
                               const float *acc_weight, const float *acc_bias, float *diff_src, float *diff_weight,
                               float *diff_bias, float *partial, int threads)
{
    for (int64_t i = 0; i < 2 * cols * threads; i++) partial[i] = 0;
#pragma omp parallel num_threads(threads)
    {
        float *sum_weight = partial + 2 * cols * omp_get_thread_num(), *sum_bias = sum_weight + cols;
        if (diff_half)
            backward(rows, cols, src, 1, diff_dst, weight, mean, rstd, acc_src, diff_src, sum_weight, sum_bias);
        else
            backward(rows, cols, src, 0, diff_dst, weight, mean, rstd, acc_src, diff_src, sum_weight, sum_bias);
    }
    for (int64_t c = 0; c < cols; c++) {
        float w = acc_weight ? acc_weight[c] : 0, b = acc_bias ? acc_bias[c] : 0;
        for (int t = 0; t < threads; t++) {
            w += partial[2 * cols * t + c];
            b += partial[2 * cols * t + cols + c];
        }
        if (diff_weight) diff_weight[c] = w;
        if (diff_bias) diff_bias[c] = b;
    }
}

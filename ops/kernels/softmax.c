#include "ops/kernels/softmax.h"

#include "ops/kernels/vmath.h"

/* dst = exp(x - max); returns the sum. dst may be x. */
static float row_exp(int64_t cols, const float *x, float max, float *dst)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++) {
        float e = dg_expf(x[c] - max);
        dst[c] = e;
        sum += e;
    }
    return sum;
}

static void softmax_forward(int64_t rows, int64_t cols, const float *src, float *dst)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = src + r * cols;
        float *y = dst + r * cols, scale = 1.0f / row_exp(cols, x, dg_largest(cols, x), y);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) y[c] *= scale;
    }
}

static void softmax_backward(int64_t rows, int64_t cols, const float *dst, const float *diff_dst, float *diff_src)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *y = dst + r * cols, *dy = diff_dst + r * cols;
        float *dx = diff_src + r * cols, dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < cols; c++) dot += y[c] * dy[c];
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) dx[c] = y[c] * (dy[c] - dot);
    }
}

DG_KERNELS(softmax) = {.forward = softmax_forward, .backward = softmax_backward};

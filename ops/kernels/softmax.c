/* Softmax over rows. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

#include <math.h>

/* In lanes of its own making: compilers that respect NaN (clang does) vectorise no maximum as a reduction. */
static float row_max(int64_t cols, const float *x)
{
    enum { LANES = 16 };
    float lane[LANES], most = -INFINITY;
    int64_t c = 0;
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    for (; c + LANES <= cols; c += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) lane[l] = x[c + l] > lane[l] ? x[c + l] : lane[l];
    for (int l = 0; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
    for (; c < cols; c++) most = x[c] > most ? x[c] : most;
    return most;
}

/* dst = exp(scale (x - most)); returns the sum. dst may be x. */
static float row_exp(int64_t cols, const float *x, float scale, float most, float *dst)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++) {
        float e = dg_expf(scale * (x[c] - most));
        dst[c] = e;
        sum += e;
    }
    return sum;
}

void DG_K(softmax_forward)(int64_t rows, int64_t cols, const float *src, float *dst)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *y = dst + r * cols;
        float scale = 1.0f / row_exp(cols, src + r * cols, 1.0f, row_max(cols, src + r * cols), y);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) y[c] *= scale;
    }
}

/* diff_src = dst (diff_dst - <diff_dst, dst>); diff_src may be diff_dst. */
void DG_K(softmax_backward)(int64_t rows, int64_t cols, const float *dst, const float *diff_dst, float *diff_src)
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

#include "ops/kernels/weight_norm.h"

#include <math.h>
#include <stddef.h>

static void rows_forward(int64_t rows, int64_t cols, const float *g, const float *v, float *w, float *length)
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

static void rows_backward(const struct dg_weight_norm_grad_args *a)
{
    int64_t cols = a->cols;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = a->v + r * cols, *dw = a->diff_w + r * cols, *acc = a->acc_v ? a->acc_v + r * cols : NULL;
        float *dx = a->diff_v + r * cols, length = a->length[r], dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < cols; c++) dot += dw[c] * x[c];
        float scale = a->g[r] / length, along = dot / (length * length);
        if (a->diff_g) a->diff_g[r] = (a->acc_g ? a->acc_g[r] : 0) + dot / length;
        if (acc) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) dx[c] = acc[c] + scale * (dw[c] - x[c] * along);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) dx[c] = scale * (dw[c] - x[c] * along);
        }
    }
}

DG_KERNELS(weight_norm) = {.rows = rows_forward, .rows_backward = rows_backward};

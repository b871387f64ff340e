#include "ops/kernels/kernels.h"

/* dst = max(0, src); dst may be src. */
void DG_K(relu_forward)(int64_t count, const float *src, float *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] = src[i] > 0 ? src[i] : 0;
}

/* dst = max(0, a + b): the end of a residual block; dst may be a or b. */
void DG_K(add_relu)(int64_t count, const float *a, const float *b, float *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float sum = a[i] + b[i];
        dst[i] = sum > 0 ? sum : 0;
    }
}

/* diff_src = diff_dst where dst > 0, else 0; diff_src may be diff_dst. */
void DG_K(relu_backward)(int64_t count, const float *dst, const float *diff_dst, float *diff_src)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) diff_src[i] = dst[i] > 0 ? diff_dst[i] : 0;
}

#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

/* dst = x Phi(x), Phi the normal distribution function: the exact (erf) GELU. */
void DG_K(gelu_forward)(int64_t count, const float *src, float *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] = src[i] * (0.5f + 0.5f * dg_erff(src[i] * 0.707106781f));
}

/* diff_src = diff_dst (Phi(x) + x phi(x)); diff_src may be diff_dst. */
void DG_K(gelu_backward)(int64_t count, const float *src, const float *diff_dst, float *diff_src)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float x = src[i];
        float cdf = 0.5f + 0.5f * dg_erff(x * 0.707106781f);
        float pdf = 0.398942280f * dg_expf(-0.5f * x * x);
        diff_src[i] = diff_dst[i] * (cdf + x * pdf);
    }
}

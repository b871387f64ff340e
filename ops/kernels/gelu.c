#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

static DG_INLINE void forward(struct dg_range part, int half, const void *src, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, half, i), h = 0.5f * x, size = fabsf(x);
        float z = size > DG_TAIL_END ? DG_TAIL_END : size;
        dg_put(dst, half, i, h + fabsf(h) - z * dg_normal_tail(z)); /* max(x, 0), but of a NaN a NaN */
    }
}

/* dst = x Phi(x), Phi the normal distribution function: the exact (erf) GELU. Both f32 or both bf16. */
void DG_K(gelu_forward)(int64_t count, int half, const void *src, void *dst)
{
    DG_EACH_PART(count, half, forward, src, dst)
}

static DG_INLINE void backward(struct dg_range part, int half, const void *src, const void *diff_dst, void *diff_src)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, half, i), size = fabsf(x);
        float z = size > DG_TAIL_END ? DG_TAIL_END : size;
        float below = dg_normal_tail(z) - 0.398942280f * z * dg_exp2f(-0.721347520f * z * z); /* at -z */
        dg_put(diff_src, half, i, dg_get(diff_dst, half, i) * (x < 0 ? below : 1.0f - below));
    }
}

/* diff_src = diff_dst (Phi(x) + x phi(x)); diff_src may be diff_dst. All f32 or all bf16. */
void DG_K(gelu_backward)(int64_t count, int half, const void *src, const void *diff_dst, void *diff_src)
{
    DG_EACH_PART(count, half, backward, src, diff_dst, diff_src)
}

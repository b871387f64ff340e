#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void forward(struct dg_range part, int half, const void *src, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, half, i);
        dg_put(dst, half, i, x > 0 ? x : 0);
    }
}

/* dst = max(0, src); dst may be src. Both f32 or both bf16. */
void DG_K(relu_forward)(int64_t count, int half, const void *src, void *dst)
{
    DG_EACH_PART(count, half, forward, src, dst)
}

static DG_INLINE void backward(struct dg_range part, int half, const void *dst, const void *diff_dst, void *diff_src)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++)
        dg_put(diff_src, half, i, dg_get(dst, half, i) > 0 ? dg_get(diff_dst, half, i) : 0);
}

/* diff_src = diff_dst where dst > 0, else 0; diff_src may be diff_dst. All f32 or all bf16. */
void DG_K(relu_backward)(int64_t count, int half, const void *dst, const void *diff_dst, void *diff_src)
{
    DG_EACH_PART(count, half, backward, dst, diff_dst, diff_src)
}

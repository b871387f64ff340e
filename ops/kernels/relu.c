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
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(count);
        if (half)
            forward(part, 1, src, dst);
        else
            forward(part, 0, src, dst);
    }
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
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(count);
        if (half)
            backward(part, 1, dst, diff_dst, diff_src);
        else
            backward(part, 0, dst, diff_dst, diff_src);
    }
}

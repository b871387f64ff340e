#include "ops/kernels/relu.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

static DG_INLINE void forward(struct dg_range part, bool bf16, const void *src, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, bf16, i);
        dg_put(dst, bf16, i, x > 0 ? x : 0);
    }
}

static void relu_forward(int64_t count, bool bf16, const void *src, void *dst)
{
    DG_EACH_PART(count, bf16, forward, src, dst)
}

static DG_INLINE void backward(struct dg_range part, bool bf16, const void *dst, const void *diff_dst, void *diff_src)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++)
        dg_put(diff_src, bf16, i, dg_get(dst, bf16, i) > 0 ? dg_get(diff_dst, bf16, i) : 0);
}

static void relu_backward(int64_t count, bool bf16, const void *dst, const void *diff_dst,
                          void *diff_src){DG_EACH_PART(count, bf16, backward, dst, diff_dst, diff_src)}

DG_KERNELS(relu) = {.forward = relu_forward, .backward = relu_backward};

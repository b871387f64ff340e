#include "ops/kernels/relu.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

/* Of the bits of a bf16: from the least above 0 to infinity. */
static DG_INLINE bool is_positive(dg_bf16 x) { return (dg_bf16)(x - 1) < 0x7f80; }

/* dst[i] = x[i] > 0 ? y[i] : 0. No number is rounded, so that bf16 is not converted. */
static DG_INLINE void pass(struct dg_range part, bool bf16, const void *x, const void *y, void *dst)
{
    if (bf16) {
        const dg_bf16 *sign = x, *from = y;
        dg_bf16 *to = dst;
#pragma omp simd
        for (int64_t i = part.first; i < part.end; i++) to[i] = is_positive(sign[i]) ? from[i] : 0;
    } else {
        const float *sign = x, *from = y;
        float *to = dst;
#pragma omp simd
        for (int64_t i = part.first; i < part.end; i++) to[i] = sign[i] > 0 ? from[i] : 0;
    }
}

static void relu_forward(int64_t count, bool bf16, const void *src, void *dst)
{
    DG_EACH_PART(count, bf16, pass, src, src, dst)
}

static void relu_backward(int64_t count, bool bf16, const void *dst, const void *diff_dst,
                          void *diff_src){DG_EACH_PART(count, bf16, pass, dst, diff_dst, diff_src)}

DG_KERNELS(relu) = {.forward = relu_forward, .backward = relu_backward};

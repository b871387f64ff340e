#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void add(struct dg_range part, int a_half, const void *a, int b_half, const void *b, int relu,
                          int dst_half, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float sum = dg_get(a, a_half, i) + dg_get(b, b_half, i);
        dg_put(dst, dst_half, i, relu && !(sum > 0) ? 0 : sum);
    }
}

static DG_INLINE void add_to(struct dg_range part, int a_half, const void *a, int b_half, const void *b, int relu,
                             int dst_half, void *dst)
{
    switch (relu << 1 | dst_half) {
    case 0: add(part, a_half, a, b_half, b, 0, 0, dst); break;
    case 1: add(part, a_half, a, b_half, b, 0, 1, dst); break;
    case 2: add(part, a_half, a, b_half, b, 1, 0, dst); break;
    case 3: add(part, a_half, a, b_half, b, 1, 1, dst); break;
    }
}

/* dst = a + b, or max(0, a + b), the end of a residual block; dst may be a or b of its type. */
void DG_K(add)(int64_t count, int relu, int a_half, const void *a, int b_half, const void *b, int dst_half, void *dst)
{
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(count);
        switch (a_half << 1 | b_half) {
        case 0: add_to(part, 0, a, 0, b, relu, dst_half, dst); break;
        case 1: add_to(part, 0, a, 1, b, relu, dst_half, dst); break;
        case 2: add_to(part, 1, a, 0, b, relu, dst_half, dst); break;
        case 3: add_to(part, 1, a, 1, b, relu, dst_half, dst); break;
        }
    }
}

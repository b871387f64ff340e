#include "ops/kernels/convert.h"

#include "ops/kernels/put.h"

static void to_bf16(int64_t count, const float *src, uint16_t *dst)
{
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(count);
        if (DG_ROUNDS_BLOCKS) {
            DG_PUT_EACH(dst, 1, i, part.first, part.end, src[i]);
        } else {
#pragma omp simd
            for (int64_t i = part.first; i < part.end; i++) dst[i] = dg_to_bf16(src[i]);
        }
    }
}

static void rest(int64_t count, const float *src, float *dst)
{
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(count);
#pragma omp simd
        for (int64_t i = part.first; i < part.end; i++) dst[i] = src[i] - dg_from_bf16(dg_to_bf16(src[i]));
    }
}

DG_KERNELS(convert) = {.to_bf16 = to_bf16, .rest = rest};

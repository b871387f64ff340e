#include "ops/kernels/convert.h"

#include "ops/kernels/bf16.h"

static void to_bf16(int64_t count, const float *src, uint16_t *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] = dg_to_bf16(src[i]);
}

DG_KERNELS(convert) = {.to_bf16 = to_bf16};

#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

/* dst = src, rounded to bf16. */
void DG_K(to_bf16)(int64_t count, const float *src, uint16_t *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] = dg_to_bf16(src[i]);
}

#include "ops/kernels/kernels.h"

/* dst = a + b; dst may be a or b. */
void DG_K(add)(int64_t count, const float *a, const float *b, float *dst)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] = a[i] + b[i];
}

#include "ops/kernels/kernels.h"

#include <omp.h>

/* dst[c] = acc[c] + sum over r of src[r, c]: the gradient of a bias. acc may be NULL or dst. `partial` [threads, cols]. */
void DG_K(column_sum)(int64_t rows, int64_t cols, const float *src, const float *acc, float *dst, float *partial,
                      int threads)
{
#pragma omp parallel num_threads(threads)
    {
        float *sum = partial + cols * omp_get_thread_num();
        for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            const float *x = src + r * cols;
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) sum[c] += x[c];
        }
    }
    for (int64_t c = 0; c < cols; c++) {
        float total = acc ? acc[c] : 0;
        for (int t = 0; t < threads; t++) total += partial[cols * t + c];
        dst[c] = total;
    }
}

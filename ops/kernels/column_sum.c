#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void sum_rows(int64_t rows, int64_t cols, int half, const void *src, float *sum)
{
    for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, half, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) sum[c] += dg_get(x, half, c);
    }
}

/* dst[c] = acc[c] + sum over r of src[r, c], f32 or bf16: the gradient of a bias. acc may be NULL or dst. `partial` [threads,
 * cols]. */
void DG_K(column_sum)(int64_t rows, int64_t cols, int half, const void *src, const float *acc, float *dst,
                      float *partial, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        float *sum = partial + cols * omp_get_thread_num();
        if (half)
            sum_rows(rows, cols, 1, src, sum);
        else
            sum_rows(rows, cols, 0, src, sum);
    }
    dg_add_partial(cols, acc, partial, cols, threads, dst);
}

#include "ops/kernels/column_sum.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

static DG_INLINE void sum_rows(int64_t rows, int64_t cols, bool bf16, const void *src, float *sum)
{
    for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, bf16, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) sum[c] += dg_get(x, bf16, c);
    }
}

static void column_sum(const struct dg_column_sum_args *a)
{
#pragma omp parallel num_threads(a->threads)
    {
        float *sum = a->partial + a->cols * omp_get_thread_num();
        if (a->src_bf16)
            sum_rows(a->rows, a->cols, 1, a->src, sum);
        else
            sum_rows(a->rows, a->cols, 0, a->src, sum);
    }
    dg_add_partial(a->cols, a->acc, a->partial, a->cols, a->threads, a->dst);
}

DG_KERNELS(column_sum) = {.column_sum = column_sum};

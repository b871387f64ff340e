/* The sum over the rows of a matrix: the gradient of a bias. */
#ifndef DG_OPS_KERNELS_COLUMN_SUM_H
#define DG_OPS_KERNELS_COLUMN_SUM_H

#include "ops/kernels/family.h"

struct dg_column_sum_args {
    int64_t rows, cols;
    bool src_bf16;    /* src is bf16, else f32 */
    const void *src;  /* [rows, cols] */
    const float *acc; /* [cols], added; NULL: nothing is added. May be dst */
    float *dst;       /* [cols] */
    float *partial;   /* scratch [threads, cols] */
    int threads;
};

struct dg_column_sum_kernels {
    /* dst[c] = acc[c] + the sum over r of src[r, c]. */
    void (*column_sum)(const struct dg_column_sum_args *args);
};
DG_KERNEL_FAMILY(column_sum);

#endif

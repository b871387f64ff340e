/* Softmax over the rows of a matrix. */
#ifndef DG_OPS_KERNELS_SOFTMAX_H
#define DG_OPS_KERNELS_SOFTMAX_H

#include "ops/kernels/family.h"

struct dg_softmax_kernels {
    /* dst [rows, cols] = softmax of each row of src [rows, cols]. dst may be src. */
    void (*forward)(int64_t rows, int64_t cols, const float *src, float *dst);

    /* diff_src = dst (diff_dst - <diff_dst, dst>), row by row, all [rows, cols]. diff_src may be diff_dst. */
    void (*backward)(int64_t rows, int64_t cols, const float *dst, const float *diff_dst, float *diff_src);
};
DG_KERNEL_FAMILY(softmax);

#endif

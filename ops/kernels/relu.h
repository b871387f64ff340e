/* ReLU. */
#ifndef DG_OPS_KERNELS_RELU_H
#define DG_OPS_KERNELS_RELU_H

#include "ops/kernels/family.h"

struct dg_relu_kernels {
    /* dst = max(0, src), [count]; both bf16 or both f32. dst may be src. */
    void (*forward)(int64_t count, bool bf16, const void *src, void *dst);

    /* diff_src = diff_dst where dst > 0, else 0, [count]; all bf16 or all f32. diff_src may be diff_dst. */
    void (*backward)(int64_t count, bool bf16, const void *dst, const void *diff_dst, void *diff_src);
};
DG_KERNEL_FAMILY(relu);

#endif

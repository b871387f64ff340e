/* The sum of two tensors of one shape. */
#ifndef DG_OPS_KERNELS_ADD_H
#define DG_OPS_KERNELS_ADD_H

#include "ops/kernels/family.h"

struct dg_add_args {
    int64_t count;                               /* numbers */
    bool relu;                                   /* replace negative sums by zero: the end of a residual block */
    bool a_bf16, b_bf16, dst_bf16, through_bf16; /* the types of the arrays: bf16, else f32 */
    const void *a, *b;
    const void
        *through; /* the sum where this is positive, zero elsewhere: the gradient of a ReLU. NULL: it is not asked */
    void *dst;    /* may be a or b, if that has dst's type */
};

struct dg_add_kernels {
    /* dst = a + b, or max(0, a + b), or a + b where `through` is positive; all [count]. */
    void (*add)(const struct dg_add_args *args);
};
DG_KERNEL_FAMILY(add);

#endif

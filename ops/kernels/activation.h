/* Activations that go number by number, forward and backward. */
#ifndef DG_OPS_KERNELS_ACTIVATION_H
#define DG_OPS_KERNELS_ACTIVATION_H

#include "ops/kernels/family.h"

enum dg_activation {
    DG_SIGMOID,     /* 1 / (1 + e^-x) */
    DG_SILU,        /* x sigmoid(x) */
    DG_HARDSIGMOID, /* min(max(x + 3, 0), 6) / 6 */
    DG_HARDSWISH,   /* x hardsigmoid(x) */
    DG_RELU6,       /* min(max(x, 0), 6) */
    DG_ACTIVATIONS
};

struct dg_activation_kernels {
    /* dst = f(src), [count]; both bf16 or both f32. dst may be src. */
    void (*forward)(enum dg_activation f, int64_t count, bool bf16, const void *src, void *dst);

    /* diff_src = diff_dst * f'(src), [count]; all bf16 or all f32. diff_src may be src or diff_dst. Where f has two slopes, that of
     * its flat side counts. */
    void (*backward)(enum dg_activation f, int64_t count, bool bf16, const void *src, const void *diff_dst,
                     void *diff_src);
};
DG_KERNEL_FAMILY(activation);

#endif

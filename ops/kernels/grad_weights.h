/* The gradient of the weights of a linear layer or a convolution: diff_weight = diff_dst^T src, a long sum over rows with few
 * results. */
#ifndef DG_OPS_KERNELS_GRAD_WEIGHTS_H
#define DG_OPS_KERNELS_GRAD_WEIGHTS_H

#include "ops/kernels/family.h"
#include "ops/kernels/grad_weights_args.h"

struct dg_grad_weights_kernels {
    /* Bytes of scratch. */
    int64_t (*scratch)(int64_t in, int64_t out, const struct dg_windows *windows, int threads);

    /* diff_weight = acc_weight + diff_dst^T src, diff_bias = acc_bias + the column sums of diff_dst. */
    void (*grad_weights)(const struct dg_grad_weights_args *args);
};
DG_KERNEL_FAMILY(grad_weights);

#endif

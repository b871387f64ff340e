/* Cross-covariance attention of one head of one image: channels attend to channels (El-Nouby et al. 2021, XCA). */
#ifndef DG_OPS_KERNELS_CROSS_COVARIANCE_H
#define DG_OPS_KERNELS_CROSS_COVARIANCE_H

#include "ops/kernels/family.h"

struct dg_cross_covariance_head {
    bool bf16; /* q, k, v, dst and their gradients are bf16, else f32 */
    int64_t tokens, width;
    const void *q, *k, *v; /* [tokens, width], rows of ld numbers */
    int64_t ld, ld_dst;
    float temperature; /* that the cosines of channels are multiplied by */
};

struct dg_cross_covariance_kernels {
    /* Bytes of scratch that either kernel needs. */
    int64_t (*scratch)(int64_t tokens, int64_t width);

    /* dst [tokens, width], rows of ld_dst numbers: v times the transpose of softmax(temperature * cosines of the channels of q with
     * those of k), over k's channels. */
    void (*forward)(const struct dg_cross_covariance_head *head, void *dst, void *scratch);

    /* Gradients of q, k and v, rows of ld numbers; returns that of the temperature. */
    float (*backward)(const struct dg_cross_covariance_head *head, const void *diff_dst, void *diff_q, void *diff_k,
                      void *diff_v, void *scratch);
};
DG_KERNEL_FAMILY(cross_covariance);

#endif

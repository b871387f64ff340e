/* Global average pooling: the mean over the pixels of an image, or over its tokens. */
#ifndef DG_OPS_KERNELS_POOL_H
#define DG_OPS_KERNELS_POOL_H

#include "ops/kernels/family.h"

struct dg_pool_kernels {
    /* dst [images, channels] = the mean over the pixels of src [images, pixels, channels], bf16 or f32. */
    void (*global_mean)(int64_t images, int64_t pixels, int64_t channels, bool src_bf16, const void *src, float *dst);

    /* diff_src [images, pixels, channels], bf16 or f32: diff_dst [images, channels] / pixels, at every pixel. */
    void (*global_mean_backward)(int64_t images, int64_t pixels, int64_t channels, const float *diff_dst,
                                 bool diff_src_bf16, void *diff_src);
};
DG_KERNEL_FAMILY(pool);

#endif

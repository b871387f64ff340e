/* im2col: the patches of images as rows of a matrix, so that a convolution becomes a matrix product. */
#ifndef DG_OPS_KERNELS_IM2COL_H
#define DG_OPS_KERNELS_IM2COL_H

#include "ops/kernels/family.h"

struct dg_im2col_args {
    int64_t images, height, width, channels;
    int64_t kernel, stride;  /* patches of kernel x kernel pixels, `stride` pixels apart, as many as fit */
    bool src_bf16, dst_bf16; /* src and dst are bf16, else f32; from bf16 to f32 there is no way */
    const void *src;         /* [images, height, width, channels] */
    void *dst;               /* [images * grid_h * grid_w, channels * kernel * kernel] */
};

struct dg_im2col_kernels {
    /* Rows of dst are the patches in row-major order over the grid; a patch is laid out (channel, y, x) as the weight of a
     * convolution in PyTorch. */
    void (*im2col)(const struct dg_im2col_args *args);
};
DG_KERNEL_FAMILY(im2col);

#endif

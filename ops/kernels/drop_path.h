/* Drop path (stochastic depth): a residual branch that some images skip. */
#ifndef DG_OPS_KERNELS_DROP_PATH_H
#define DG_OPS_KERNELS_DROP_PATH_H

#include "ops/kernels/family.h"

struct dg_drop_path_args {
    int64_t images, size; /* of dst: images, and numbers in an image */
    const int64_t *from;  /* [images]: the image of src that image i of dst gets, or -1 where the branch is dropped */
    float keep;           /* the probability to survive, by which src is divided */
    bool src_bf16, dst_bf16; /* src and dst are bf16, else f32 */
    const void *src;         /* images of `size` numbers, as many as `from` names */
    const float *residual;   /* [images, size], or NULL: zeros */
    void *dst; /* [images, size]; may be residual, or src where from[i] is i or -1, if that has dst's type */
};

struct dg_drop_path_kernels {
    /* dst[i] = residual[i] + src[from[i]] / keep, without src where from[i] is -1. */
    void (*drop_path)(const struct dg_drop_path_args *args);
};
DG_KERNEL_FAMILY(drop_path);

#endif

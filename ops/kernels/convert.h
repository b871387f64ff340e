/* Conversions between types. */
#ifndef DG_OPS_KERNELS_CONVERT_H
#define DG_OPS_KERNELS_CONVERT_H

#include "ops/kernels/family.h"

struct dg_convert_kernels {
    /* Rounds src [count] to bf16; NaN stays NaN. */
    void (*to_bf16)(int64_t count, const float *src, uint16_t *dst);
    /* What that rounding leaves out, exactly: dst = src - (src as bf16). dst may be src. */
    void (*rest)(int64_t count, const float *src, float *dst);
};
DG_KERNEL_FAMILY(convert);

#endif

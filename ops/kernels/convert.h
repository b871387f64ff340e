/* Conversions between types. */
#ifndef DG_OPS_KERNELS_CONVERT_H
#define DG_OPS_KERNELS_CONVERT_H

#include "ops/kernels/family.h"

struct dg_convert_kernels {
    /* Rounds src [count] to bf16; NaN stays NaN. */
    void (*to_bf16)(int64_t count, const float *src, uint16_t *dst);
};
DG_KERNEL_FAMILY(convert);

#endif

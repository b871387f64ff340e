/* What ops of a plan in bf16 share: operands that lie there as f32. */
#ifndef DG_OPS_DENSE_BF16_OPERAND_H
#define DG_OPS_DENSE_BF16_OPERAND_H

#include "ops/op.h"

/* An operand of a matmul: as it lies there if that is bf16, else rounded into scratch on every run. */
struct dg_half {
    int64_t count, at; /* numbers to round, 0: none; where in scratch */
};
/* Of a plan in f32: nothing will be rounded. */
struct dg_half dg_half_open(struct dg_prepare *p, const struct dg_desc *desc);
const void *dg_half_run(const struct dg_half *half, const struct dg_run *run, const void *operand);

#endif

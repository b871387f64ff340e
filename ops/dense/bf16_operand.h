/* Operands of matmuls in a plan in bf16. */
#ifndef DG_OPS_DENSE_BF16_OPERAND_H
#define DG_OPS_DENSE_BF16_OPERAND_H

#include "ops/op.h"

/* A matmul operand in bf16: the tensor itself if it is stored as bf16, otherwise a copy that each run rounds into scratch. */
struct dg_bf16_operand {
    int64_t count, at; /* how many numbers to round, 0: none; the copy's offset in scratch */
};
/* For the tensor `desc`; in a plan in f32 nothing is rounded. */
struct dg_bf16_operand dg_bf16_operand_make(struct dg_prepare *p, const struct dg_desc *desc);
/* The operand for this run: `tensor` or its rounded copy. */
const void *dg_bf16_operand_of(const struct dg_bf16_operand *operand, const struct dg_run *run, const void *tensor);

#endif

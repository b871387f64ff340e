#include "ops/dense/bf16_operand.h"

#include "ops/kernels/convert.h"

struct dg_bf16_operand dg_bf16_operand_make(struct dg_prepare *p, const struct dg_desc *desc)
{
    if (!p->call->bf16 || dg_is_bf16(desc)) return (struct dg_bf16_operand){0};
    int64_t count = dg_desc_count(desc);
    return (struct dg_bf16_operand){count, dg_op_scratch(p, count * dg_dtype_size(DG_BF16))};
}

const void *dg_bf16_operand_of(const struct dg_bf16_operand *operand, const struct dg_run *run, const void *tensor)
{
    if (!operand->count) return tensor;
    void *rounded = (char *)run->scratch + operand->at;
    dg_convert_kernels()->to_bf16(operand->count, tensor, rounded);
    return rounded;
}

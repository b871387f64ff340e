#include "ops/dense/bf16_operand.h"

#include "ops/kernels/convert.h"

struct dg_half dg_half_open(struct dg_prepare *p, const struct dg_desc *desc)
{
    if (!p->call->bf16 || dg_is_bf16(desc)) return (struct dg_half){0};
    int64_t count = dg_desc_count(desc);
    return (struct dg_half){count, dg_op_scratch(p, count * dg_dtype_size(DG_BF16))};
}

const void *dg_half_run(const struct dg_half *half, const struct dg_run *run, const void *operand)
{
    if (!half->count) return operand;
    void *rounded = (char *)run->scratch + half->at;
    dg_convert_kernels()->to_bf16(half->count, operand, rounded);
    return rounded;
}

#include "ops/dense/parts.h"

#include "ops/kernels/convert.h"

int dg_part_products(enum dg_math math, const struct dg_part_product **product)
{
    static const struct dg_part_product products[DG_MAX_PART_PRODUCTS] = {{0, 0}, {0, 1}, {1, 0},
                                                                          {1, 1}, {0, 2}, {2, 0}};
    *product = products;
    return math == DG_MATH_BF16X3 ? 3 : math == DG_MATH_BF16X6 ? 6 : 1;
}

struct dg_parts dg_parts_make(struct dg_prepare *p, int64_t count)
{
    struct dg_parts parts = {.parts = dg_part_count(p->call->math), .count = count};
    if (parts.parts == 1) return parts;
    parts.at = dg_op_scratch(p, parts.parts * count * dg_dtype_size(DG_BF16));
    parts.rest = dg_op_scratch(p, count * dg_dtype_size(DG_F32));
    return parts;
}

const uint16_t *dg_part(const struct dg_parts *parts, const struct dg_run *run, int part)
{
    return (const uint16_t *)((const char *)run->scratch + parts->at) + part * parts->count;
}

void dg_parts_fill(const struct dg_parts *parts, const struct dg_run *run, const float *tensor, int64_t count)
{
    uint16_t *made = (uint16_t *)((char *)run->scratch + parts->at);
    float *rest = (float *)((char *)run->scratch + parts->rest);
    for (int k = 0; k < parts->parts; k++) {
        dg_convert_kernels()->to_bf16(count, tensor, made + k * parts->count);
        if (k + 1 < parts->parts) dg_convert_kernels()->rest(count, tensor, rest);
        tensor = rest;
    }
}

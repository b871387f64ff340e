/* f32 operands of matmuls as sums of bf16 numbers, in plans whose products are made of bf16 parts (enum dg_math).
 *
 * x = x0 + x1 + ..., each part what bf16 holds of the rest: two parts have 16 bits of the 24 of x, three have them all. Products of
 * bf16 numbers are exact in f32, and sums are f32, so a b = a0 b0 + a0 b1 + a1 b0 is off by 3 * 2^-16 of |a| |b| at most, and with
 * three parts and the six largest products by about 2^-22. Numbers beyond what bf16 can round (above 3.39e38) and infinities give NaN. */
#ifndef DG_OPS_DENSE_PARTS_H
#define DG_OPS_DENSE_PARTS_H

#include "ops/op.h"

enum { DG_MAX_PARTS = 3, DG_MAX_PART_PRODUCTS = 6 };

/* Which part of one operand is multiplied by which of the other; their sum is the product. */
struct dg_part_product {
    int a, b;
};
/* Returns their number: 1, 3 or 6, the largest product first. Those with b = 0 come with a = 0, 1, ... in order. */
int dg_part_products(enum dg_math math, const struct dg_part_product **product);
/* The number of parts of an operand: 1 (the operand as it is), 2 or 3. */
static inline int dg_part_count(enum dg_math math)
{
    return math == DG_MATH_BF16X3 ? 2 : math == DG_MATH_BF16X6 ? 3 : 1;
}

/* An operand whose parts lie in scratch, one behind the other. */
struct dg_parts {
    int parts;               /* 1: none are made */
    int64_t count, at, rest; /* numbers; offsets in scratch of the parts, and of what is left */
};
/* Reserves scratch for the parts of a tensor of `count` numbers. */
struct dg_parts dg_parts_make(struct dg_prepare *p, int64_t count);
/* Fills the parts with those of the first `count` numbers of `tensor`. */
void dg_parts_fill(const struct dg_parts *parts, const struct dg_run *run, const float *tensor, int64_t count);
const uint16_t *dg_part(const struct dg_parts *parts, const struct dg_run *run, int part);

#endif

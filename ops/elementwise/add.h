/* What sums of two tensors share: operands, shapes, gradient. */
#ifndef DG_OPS_ELEMENTWISE_ADD_H
#define DG_OPS_ELEMENTWISE_ADD_H

#include "ops/op.h"

enum { DG_ADD_A, DG_ADD_B }; /* inputs */
enum { DG_ADD_DST };         /* output */

#define DG_ADD_INPUTS [DG_ADD_A] = {"a", DG_BF16_OK}, [DG_ADD_B] = {"b", DG_BF16_OK}
#define DG_ADD_OUTPUT [DG_ADD_DST] = {"dst", DG_BF16_OK, DG_REUSE(DG_ADD_A)}

struct dg_add_state {
    int64_t count; /* numbers */
    bool bf16[2], dst_bf16;
};

enum dg_status dg_add_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
enum dg_status dg_add_prepare(struct dg_prepare *p, struct dg_error *err);
/* dst = a + b, or with `relu` max(a + b, 0). */
enum dg_status dg_add_run(const struct dg_run *r, bool relu);
/* The gradient of the sum is that of each term. */
enum dg_status dg_add_gradient(struct dg_grad_builder *b, dg_value diff_sum);

#endif

/* add: dst = a + b, equal shapes. The residual connection. Gradient: diff_dst to both. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[0], &call->input[1])) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT, "shapes differ: %s and %s", dg_desc_text(a, sizeof a, &call->input[0]),
                       dg_desc_text(b, sizeof b, &call->input[1]));
    }
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    for (int i = 0; i < 2; i++)
        if (b->wants[i]) DG_TRY(b->give(b, i, b->diff_output[0]));
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    int64_t *count = dg_op_state(p, sizeof *count, err);
    if (!count) return DG_ERR_MEMORY;
    *count = dg_desc_count(&p->call->output[0]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    dg_kernels()->add(*(const int64_t *)r->state, r->input[0], r->input[1], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_add = {
    .name = "add",
    .in_yaml = true,
    .min_inputs = 2,
    .max_inputs = 2,
    .output = {{"dst", 0}},
    .infer = infer,
    .grad = grad,
    .inplace = {1},
    .prepare = prepare,
    .run = run,
};

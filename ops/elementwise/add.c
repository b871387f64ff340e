/* add: dst = a + b, equal shapes. The residual connection. Gradient: diff_dst to both.
 *
 * In a plan in bf16 each of the three may be stored as bf16. The residual stream of a transformer stays f32, because layer_norm
 * reads f32. */
#include "ops/elementwise/add.h"

#include "ops/kernels/add.h"

enum dg_status dg_add_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[DG_ADD_A], &call->input[DG_ADD_B])) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT, "shapes differ: %s and %s", dg_desc_text(a, sizeof a, &call->input[DG_ADD_A]),
                       dg_desc_text(b, sizeof b, &call->input[DG_ADD_B]));
    }
    output[DG_ADD_DST] = call->input[DG_ADD_A];
    return DG_OK;
}

enum dg_status dg_add_gradient(struct dg_grad_builder *b, dg_value diff)
{
    for (int i = 0; i < 2; i++)
        if (b->wants[i]) DG_TRY(b->add_gradient(b, i, diff));
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b) { return dg_add_gradient(b, b->diff_output[DG_ADD_DST]); }

enum dg_status dg_add_prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_add_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct dg_add_state){dg_desc_count(&p->call->output[DG_ADD_DST]),
                               {dg_is_bf16(&p->call->input[DG_ADD_A]), dg_is_bf16(&p->call->input[DG_ADD_B])},
                               dg_is_bf16(&p->call->output[DG_ADD_DST])};
    return DG_OK;
}

enum dg_status dg_add_run(const struct dg_run *r, bool relu)
{
    const struct dg_add_state *s = r->state;
    dg_add_kernels()->add(&(struct dg_add_args){.count = s->count,
                                                .relu = relu,
                                                .a_bf16 = s->bf16[DG_ADD_A],
                                                .a = r->input[DG_ADD_A],
                                                .b_bf16 = s->bf16[DG_ADD_B],
                                                .b = r->input[DG_ADD_B],
                                                .dst_bf16 = s->dst_bf16,
                                                .dst = r->output[DG_ADD_DST]});
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    return dg_add_run(r, false);
}

static const struct dg_operand inputs[] = {DG_ADD_INPUTS, {0}};
static const struct dg_operand outputs[] = {DG_ADD_OUTPUT, {0}};

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DG_ADD_DST] = dg_onnx_binary(b, "Add", b->input[DG_ADD_A], b->input[DG_ADD_B]);
}

const struct dg_op dg_op_add = {
    .name = "add",
    .in_yaml = true,
    .doc = "Sum of two values.",
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .infer = dg_add_infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = dg_add_prepare,
    .run = run,
};

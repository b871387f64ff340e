/* add_relu (a, b) -> dst = max(0, a + b): a sum and the ReLU on it, the end of a ResNet's block. */
#include "ops/elementwise/add.h"
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_add, dg_op_relu, dg_op_relu_grad, dg_op_add_relu;

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS], input[] = {b->diff_output[DG_ADD_DST], b->output[DG_ADD_DST]};
    DG_TRY(b->emit(b, &dg_op_relu_grad, NULL, input, 2, made));
    return dg_add_gradient(b, made[0]);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    return dg_add_run(r, true);
}

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DG_ADD_DST] = dg_onnx_unary(b, "Relu", dg_onnx_binary(b, "Add", b->input[DG_ADD_A], b->input[DG_ADD_B]));
}

static const struct dg_operand inputs[] = {DG_ADD_INPUTS, {0}};
static const struct dg_operand outputs[] = {DG_ADD_OUTPUT, {0}};

const struct dg_op dg_op_add_relu = {
    .name = "add_relu",
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .infer = dg_add_infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = dg_add_prepare,
    .run = run,
};

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    dg_copy_match(made, &m->producer);
    made->op = &dg_op_add_relu;
    made->output[DG_ADD_DST] = dg_output_of(&m->consumer, "dst");
    return true;
}

const struct dg_rewrite dg_fuse_add_relu = {
    .name = "add + relu", .producer = &dg_op_add, .consumer = &dg_op_relu, .phase = DG_FUSE_FORWARD, .build = build};

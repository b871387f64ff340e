/* relu: dst = max(0, src). relu_grad (diff_dst, dst) -> diff_src: zero where dst is 0, as in PyTorch.
 * Rewrites fuse it with a batch norm, a sum or a folded convolution before it (ops/fused/). */
#include "ops/kernels/relu.h"
#include "ops/op.h"

extern const struct dg_op dg_op_relu_grad;

enum { SRC };                     /* input */
enum { DST };                     /* output */
enum { GRAD_DIFF_DST, GRAD_DST }; /* inputs of the gradient */
enum { DIFF_SRC };                /* output of the gradient */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)err;
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_relu_grad, NULL, (dg_value[]){b->diff_output[DST], b->output[DST]}, 2, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_relu_kernels()->forward(s->count, s->bf16, r->input[SRC], r->output[DST]);
    return DG_OK;
}

static const struct dg_operand relu_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    {0},
};
static const struct dg_operand relu_outputs[] = {
    [DST] = {"dst", DG_BF16_OK, DG_REUSE(SRC)},
    {0},
};

static void onnx(struct dg_onnx_builder *b) { b->output[DST] = dg_onnx_unary(b, "Relu", b->input[SRC]); }

const struct dg_op dg_op_relu = {
    .name = "relu",
    .in_yaml = true,
    .doc = "Rectified linear unit.",
    .inputs = relu_inputs,
    .outputs = relu_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = dg_op_prepare_count,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[DIFF_SRC] = call->input[GRAD_DIFF_DST];
    if (dg_desc_equal(&call->input[GRAD_DIFF_DST], &call->input[GRAD_DST])) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "diff_dst and dst differ in shape");
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_relu_kernels()->backward(s->count, s->bf16, r->input[GRAD_DST], r->input[GRAD_DIFF_DST], r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand relu_grad_inputs[] = {
    [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK},
    [GRAD_DST] = {"dst", DG_BF16_OK},
    {0},
};
static const struct dg_operand relu_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK, DG_REUSE(GRAD_DIFF_DST)},
    {0},
};

const struct dg_op dg_op_relu_grad = {
    .name = "relu_grad",
    .inputs = relu_grad_inputs,
    .outputs = relu_grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = dg_op_prepare_count,
    .run = run_grad,
};

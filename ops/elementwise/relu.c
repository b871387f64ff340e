/* relu: dst = max(0, src). relu_grad (diff_dst, dst) -> diff_src: nothing where dst is 0, as in PyTorch.
 * The compiler fuses it into a batch norm, a sum or a folded convolution before it where it can (compiler/passes/fuse.c). */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

extern const struct dg_op dg_op_relu_grad;

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_relu_grad, NULL, (dg_value[]){b->diff_output[0], b->output[0]}, 2, made));
    return b->give(b, 0, made[0]);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_kernels()->relu_forward(s->count, s->half, r->input[0], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_relu = {
    .name = "relu",
    .in_yaml = true,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}},
    .tokens = DG_TOKENS_APART,
    .infer = infer,
    .grad = grad,
    .inplace = {1},
    .bf16_inputs = 1,
    .bf16_outputs = 1,
    .bf16_alike = true,
    .prepare = dg_op_prepare_count,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[0] = call->input[0];
    if (dg_desc_equal(&call->input[0], &call->input[1])) return dg_want_f32(&call->input[0], "diff_dst", err);
    return dg_fail(err, DG_ERR_INPUT, "diff_dst and dst differ in shape");
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_kernels()->relu_backward(s->count, s->half, r->input[1], r->input[0], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_relu_grad = {
    .name = "relu_grad",
    .min_inputs = 2,
    .max_inputs = 2,
    .output = {{"diff_src", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {1},
    .bf16_inputs = 3,
    .bf16_outputs = 1,
    .bf16_alike = true,
    .prepare = dg_op_prepare_count,
    .run = run_grad,
};

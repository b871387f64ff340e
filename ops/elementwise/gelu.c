/* gelu: x Phi(x), the exact (erf) form. gelu_grad (src, diff_dst) -> diff_src. */
#include "ops/elementwise/gelu.h"

#include "ops/kernels/gelu.h"

#include <math.h>

extern const struct dg_op dg_op_gelu_grad;

enum { SRC, ROWS };                             /* inputs */
enum { GRAD_ROWS = DG_GELU_GRAD_DIFF_DST + 1 }; /* the last input of gelu_grad */
enum { DST };                                   /* output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)err;
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_gelu_grad, NULL, (dg_value[]){b->input[SRC], b->diff_output[DST]}, 2, made));
    return b->add_gradient(b, SRC, made[DG_GELU_GRAD_DIFF_SRC]);
}

/* Numbers of the survivors. */
static int64_t count_of(const struct dg_op_count *s, const int64_t *row_map)
{
    return s->count / s->images * dg_survivors(row_map, s->images);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_gelu_kernels()->forward(count_of(s, r->input[ROWS]), s->bf16, r->input[SRC], r->output[DST]);
    return DG_OK;
}

static const struct dg_operand gelu_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand gelu_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)},
    {0},
};

/* x (1 + erf(x / sqrt 2)) / 2, in the order in which runtimes know it as one operation; Gelu itself came with opset 20. */
static void onnx(struct dg_onnx_builder *b)
{
    dg_onnx_value x = b->input[SRC], erf = dg_onnx_binary(b, "Div", x, dg_onnx_scalar(b, "sqrt2", sqrt(2)));
    erf = dg_onnx_binary(b, "Add", dg_onnx_unary(b, "Erf", erf), dg_onnx_scalar(b, "one", 1));
    b->output[DST] = dg_onnx_binary(b, "Mul", dg_onnx_binary(b, "Mul", x, erf), dg_onnx_scalar(b, "half", 0.5));
}

const struct dg_op dg_op_gelu = {
    .name = "gelu",
    .in_yaml = true,
    .doc = "Gaussian error linear unit, exact.",
    .inputs = gelu_inputs,
    .outputs = gelu_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = dg_op_prepare_count,
    .run = run,
};

enum dg_status dg_gelu_grad_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[DG_GELU_GRAD_SRC], &call->input[DG_GELU_GRAD_DIFF_DST]))
        return dg_fail(err, DG_ERR_INPUT, "shapes differ");
    output[DG_GELU_GRAD_DIFF_SRC] = call->input[DG_GELU_GRAD_SRC];
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_gelu_kernels()->backward(count_of(s, r->input[GRAD_ROWS]), s->bf16, r->input[DG_GELU_GRAD_SRC],
                                r->input[DG_GELU_GRAD_DIFF_DST], r->output[DG_GELU_GRAD_DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand gelu_grad_inputs[] = {
    DG_GELU_GRAD_INPUTS, [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand gelu_grad_outputs[] = {DG_GELU_GRAD_OUTPUT, {0}};

const struct dg_op dg_op_gelu_grad = {
    .name = "gelu_grad",
    .inputs = gelu_grad_inputs,
    .outputs = gelu_grad_outputs,
    .bf16_alike = true,
    .infer = dg_gelu_grad_infer,
    .grad = dg_no_gradient,
    .prepare = dg_op_prepare_count,
    .run = run_grad,
};

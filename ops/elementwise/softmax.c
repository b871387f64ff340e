/* softmax over the last dimension. softmax_grad (dst, diff_dst) -> diff_src. */
#include "ops/kernels/softmax.h"
#include "ops/op.h"

extern const struct dg_op dg_op_softmax_grad;

enum { SRC };                     /* input */
enum { DST };                     /* output */
enum { GRAD_DST, GRAD_DIFF_DST }; /* inputs of the gradient */
enum { DIFF_SRC };                /* output of the gradient */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have at least one dimension");
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_softmax_grad, NULL, (dg_value[]){b->output[DST], b->diff_output[DST]}, 2, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

struct state {
    int64_t rows, cols;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->rows = dg_desc_rows(&p->call->input[SRC]);
    s->cols = p->call->input[SRC].dim[p->call->input[SRC].ndim - 1];
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_softmax_kernels()->forward(s->rows, s->cols, r->input[SRC], r->output[DST]);
    return DG_OK;
}

static const struct dg_operand softmax_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand softmax_outputs[] = {
    [DST] = {"dst", 0, DG_REUSE(SRC)},
    {0},
};

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_softmax(b, b->input[SRC], b->call->input[SRC].ndim == 4 ? 1 : -1); /* channels */
}

const struct dg_op dg_op_softmax = {
    .name = "softmax",
    .in_yaml = true,
    .doc = "Softmax over the last dimension.",
    .inputs = softmax_inputs,
    .outputs = softmax_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[GRAD_DST].ndim < 1 || !dg_desc_equal(&call->input[GRAD_DST], &call->input[GRAD_DIFF_DST]))
        return dg_fail(err, DG_ERR_INPUT, "shapes differ");
    output[DIFF_SRC] = call->input[GRAD_DST];
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_softmax_kernels()->backward(s->rows, s->cols, r->input[GRAD_DST], r->input[GRAD_DIFF_DST], r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand softmax_grad_inputs[] = {
    [GRAD_DST] = {"dst"},
    [GRAD_DIFF_DST] = {"diff_dst"},
    {0},
};
static const struct dg_operand softmax_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", 0, DG_REUSE(GRAD_DIFF_DST)},
    {0},
};

const struct dg_op dg_op_softmax_grad = {
    .name = "softmax_grad",
    .inputs = softmax_grad_inputs,
    .outputs = softmax_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run_grad,
};

/* softmax over the last dimension. softmax_grad (dst, diff_dst) -> diff_src. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

extern const struct dg_op dg_op_softmax_grad;

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[0].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have at least one dimension");
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_softmax_grad, NULL, (dg_value[]){b->output[0], b->diff_output[0]}, 2, made));
    return b->give(b, 0, made[0]);
}

struct state {
    int64_t rows, cols;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->rows = dg_desc_rows(&p->call->input[0]);
    s->cols = p->call->input[0].dim[p->call->input[0].ndim - 1];
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->softmax_forward(s->rows, s->cols, r->input[0], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_softmax = {
    .name = "softmax",
    .in_yaml = true,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}},
    .infer = infer,
    .grad = grad,
    .inplace = {1},
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[0].ndim < 1 || !dg_desc_equal(&call->input[0], &call->input[1]))
        return dg_fail(err, DG_ERR_INPUT, "shapes differ");
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "dst", err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->softmax_backward(s->rows, s->cols, r->input[0], r->input[1], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_softmax_grad = {
    .name = "softmax_grad",
    .min_inputs = 2,
    .max_inputs = 2,
    .output = {{"diff_src", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {2},
    .prepare = prepare,
    .run = run_grad,
};

/* gelu: x Phi(x), the exact (erf) form. gelu_grad (src, diff_dst) -> diff_src.
 *
 * gelu_grad_sums (src, diff_dst, [acc_bias]) -> diff_src, diff_bias = acc_bias + the column sums of diff_src: the gradient of
 * the bias of the linear layer in front, where the compiler lets this op make it instead of reading diff_src again. */
#include "ops/dense/linear.h"
#include "ops/kernels/kernels.h"

extern const struct dg_op dg_op_gelu_grad, dg_op_gelu_grad_sums;

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_gelu_grad, NULL, (dg_value[]){b->input[0], b->diff_output[0]}, 2, made));
    return b->give(b, 0, made[0]);
}

static int64_t count_now(const struct dg_run *r)
{
    const struct dg_op_count *s = r->state;
    return s->count / s->images * dg_images(r, s->images);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_kernels()->gelu_forward(count_now(r), s->half, r->input[0], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_gelu = {
    .name = "gelu",
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
    .kept_inputs = 1,
    .kept_outputs = 1,
    .prepare = dg_op_prepare_count,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[0], &call->input[1])) return dg_fail(err, DG_ERR_INPUT, "shapes differ");
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "src", err);
}

static bool join_grad(struct dg_fusion *f)
{
    if (f->next != &dg_op_linear_grad_weights || f->next_input[DG_LINEAR_GRAD_DIFF_DST] != f->made) return false;
    if (!(f->next_wanted >> DG_LINEAR_GRAD_BIAS & 1)) return false;
    f->op = &dg_op_gelu_grad_sums;
    f->input[f->num_inputs++] = f->next_input[DG_LINEAR_GRAD_ACC_BIAS];
    f->next_input[DG_LINEAR_GRAD_ACC_BIAS] = DG_NO_VALUE;
    f->takes = 1 << DG_LINEAR_GRAD_BIAS;
    return true;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_op_count *s = r->state;
    dg_kernels()->gelu_backward(count_now(r), s->half, r->input[0], r->input[1], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_gelu_grad = {
    .name = "gelu_grad",
    .min_inputs = 2,
    .max_inputs = 2,
    .output = {{"diff_src", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .join = join_grad,
    .inplace = {2},
    .bf16_inputs = 3,
    .bf16_outputs = 1,
    .bf16_alike = true,
    .kept_inputs = 3,
    .kept_outputs = 1,
    .prepare = dg_op_prepare_count,
    .run = run_grad,
};

static enum dg_status infer_sums(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(infer_grad(call, output, err));
    if (output[0].ndim < 2) return dg_fail(err, DG_ERR_INPUT, "src must have at least 2 dimensions");
    output[1] = dg_desc_make(DG_F32, 1, &output[0].dim[output[0].ndim - 1]);
    if (dg_absent(&call->input[2]) || dg_desc_equal(&call->input[2], &output[1])) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "accumulator has another shape");
}

struct sums {
    int64_t images, each, cols; /* `each`: rows of an image */
    bool half;
};

static enum dg_status prepare_sums(struct dg_prepare *p, struct dg_error *err)
{
    struct sums *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[0];
    *s = (struct sums){src->dim[0], dg_desc_rows(src) / src->dim[0], src->dim[src->ndim - 1], dg_is_bf16(src)};
    dg_op_scratch(p, s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_sums(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct sums *s = r->state;
    dg_kernels()->gelu_backward_sums(dg_images(r, s->images) * s->each, s->cols, s->half, r->input[0], r->input[1],
                                     r->output[0], r->input[2], r->output[1], r->scratch, r->threads);
    return DG_OK;
}

const struct dg_op dg_op_gelu_grad_sums = {
    .name = "gelu_grad_sums",
    .min_inputs = 3,
    .max_inputs = 3,
    .output = {{"diff_src", 0}, {"diff_bias", 0}},
    .infer = infer_sums,
    .grad = dg_no_gradient,
    .inplace = {2, 3},
    .bf16_inputs = 3,
    .bf16_outputs = 1,
    .bf16_alike = true,
    .kept_inputs = 3,
    .kept_outputs = 1,
    .prepare = prepare_sums,
    .run = run_sums,
};

/* gelu: x Phi(x), the exact (erf) form. gelu_grad (src, diff_dst) -> diff_src.
 *
 * gelu_grad_sums (src, diff_dst, [acc_bias]) -> diff_src, diff_bias = acc_bias + the column sums of diff_src: the gradient of
 * the bias of the linear layer in front, where the compiler lets this op make it instead of reading diff_src again. */
#include "ops/kernels/gelu.h"
#include "ops/dense/linear.h"

extern const struct dg_op dg_op_gelu_grad, dg_op_gelu_grad_sums;

enum { SRC };                               /* input */
enum { DST };                               /* output */
enum { GRAD_SRC, GRAD_DIFF_DST, ACC_BIAS }; /* inputs of the gradients; the last of gelu_grad_sums only */
enum { DIFF_SRC, DIFF_BIAS };               /* outputs of the gradients */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[DST] = call->input[SRC];
    return dg_want_f32(&call->input[SRC], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_gelu_grad, NULL, (dg_value[]){b->input[SRC], b->diff_output[DST]}, 2, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
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
    dg_gelu_kernels()->forward(count_now(r), s->bf16, r->input[SRC], r->output[DST]);
    return DG_OK;
}

static const struct dg_operand gelu_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    {0},
};
static const struct dg_operand gelu_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)},
    {0},
};

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
    .prepare = dg_op_prepare_count,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[GRAD_SRC], &call->input[GRAD_DIFF_DST]))
        return dg_fail(err, DG_ERR_INPUT, "shapes differ");
    output[DIFF_SRC] = call->input[GRAD_SRC];
    return dg_want_f32(&call->input[GRAD_SRC], "src", err);
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
    dg_gelu_kernels()->backward(count_now(r), s->bf16, r->input[GRAD_SRC], r->input[GRAD_DIFF_DST],
                                r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand gelu_grad_inputs[] = {
    [GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    {0},
};
static const struct dg_operand gelu_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(GRAD_DIFF_DST)},
    {0},
};

const struct dg_op dg_op_gelu_grad = {
    .name = "gelu_grad",
    .inputs = gelu_grad_inputs,
    .outputs = gelu_grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .join = join_grad,
    .prepare = dg_op_prepare_count,
    .run = run_grad,
};

static enum dg_status infer_sums(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(infer_grad(call, output, err));
    if (output[DIFF_SRC].ndim < 2) return dg_fail(err, DG_ERR_INPUT, "src must have at least 2 dimensions");
    output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, &output[DIFF_SRC].dim[output[DIFF_SRC].ndim - 1]);
    return dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err);
}

struct sums {
    int64_t images, each, cols; /* `each`: rows of an image */
    bool half;
};

static enum dg_status prepare_sums(struct dg_prepare *p, struct dg_error *err)
{
    struct sums *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[GRAD_SRC];
    *s = (struct sums){src->dim[0], dg_desc_rows(src) / src->dim[0], src->dim[src->ndim - 1], dg_is_bf16(src)};
    dg_op_scratch(p, s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_sums(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct sums *s = r->state;
    dg_gelu_kernels()->backward_sums(&(struct dg_gelu_sums_args){.rows = dg_images(r, s->images) * s->each,
                                                                 .cols = s->cols,
                                                                 .bf16 = s->half,
                                                                 .src = r->input[GRAD_SRC],
                                                                 .diff_dst = r->input[GRAD_DIFF_DST],
                                                                 .diff_src = r->output[DIFF_SRC],
                                                                 .acc = r->input[ACC_BIAS],
                                                                 .sums = r->output[DIFF_BIAS],
                                                                 .partial = r->scratch,
                                                                 .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand gelu_grad_sums_inputs[] = {
    [GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    {0},
};
static const struct dg_operand gelu_grad_sums_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(GRAD_DIFF_DST)},
    [DIFF_BIAS] = {"diff_bias", 0, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_gelu_grad_sums = {
    .name = "gelu_grad_sums",
    .inputs = gelu_grad_sums_inputs,
    .outputs = gelu_grad_sums_outputs,
    .bf16_alike = true,
    .infer = infer_sums,
    .grad = dg_no_gradient,
    .prepare = prepare_sums,
    .run = run_sums,
};

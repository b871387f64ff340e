/* rms_norm over the last dimension (Zhang & Sennrich 2019): dst = src / sqrt(mean of squares + eps) * weight.
 *
 *   rms_norm      (src, weight) -> dst, [rstd] (one per row, for the backward)
 *   rms_norm_grad (src, diff_dst, weight, rstd, [acc_weight]) -> diff_src, [diff_weight], added to its accumulator */
#include "ops/kernels/bf16.h"
#include "ops/op.h"

#include <math.h>
#include <omp.h>

extern const struct dg_op dg_op_rms_norm_grad;

enum { EPS };                                                    /* attribute */
enum { SRC, WEIGHT };                                            /* inputs */
enum { DST, RSTD };                                              /* outputs */
enum { GRAD_SRC, DIFF_DST, GRAD_WEIGHT, GRAD_RSTD, ACC_WEIGHT }; /* inputs of the gradient */
enum { DIFF_SRC, DIFF_WEIGHT };                                  /* outputs of the gradient */

static const struct dg_attr_spec attrs[] = {
    [EPS] = {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-6, .max = 1, .doc = "added to the mean of squares"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (dg_want_rows(src, "input", err) != DG_OK) return -1;
    need[0] = (struct dg_param_need){.name = "weight",
                                     .desc = dg_desc_make(DG_F32, 1, &src->dim[src->ndim - 1]),
                                     .init = {DG_INIT_CONSTANT, 1},
                                     .trainable = true};
    return 1;
}

static enum dg_status check(const struct dg_desc *src, const struct dg_desc *weight, struct dg_error *err)
{
    DG_TRY(dg_want_rows(src, "input", err));
    if (weight->ndim == 1 && weight->dim[0] == src->dim[src->ndim - 1]) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "weight must have %lld elements", (long long)src->dim[src->ndim - 1]);
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(check(src, &call->input[WEIGHT], err));
    output[DST] = *src;
    output[RSTD] = dg_desc_make(DG_F32, 1, (int64_t[]){dg_desc_rows(src)});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[SRC], b->diff_output[DST], b->input[WEIGHT], b->output[RSTD],
                        b->gradient_so_far(b, WEIGHT)};
    DG_TRY(b->emit(b, &dg_op_rms_norm_grad, NULL, input, 5, made));
    if (b->wants[WEIGHT]) b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
    return b->wants[SRC] ? b->add_gradient(b, SRC, made[DIFF_SRC]) : DG_OK;
}

struct state {
    int64_t rows, cols;
    float eps;
    bool bf16; /* dst, in the backward diff_dst, is stored as bf16 */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    *s = (struct state){dg_desc_rows(src), src->dim[src->ndim - 1], (float)p->call->attr[EPS].f,
                        dg_is_bf16(&p->call->output[DST])};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC], *weight = r->input[WEIGHT];
    float *rstd = r->output[RSTD];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *x = src + row * s->cols;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < s->cols; c++) sum += x[c] * x[c];
        float scale = 1 / sqrtf(sum / (float)s->cols + s->eps);
        if (rstd) rstd[row] = scale;
        for (int64_t c = 0; c < s->cols; c++)
            dg_put(r->output[DST], s->bf16, row * s->cols + c, x[c] * scale * weight[c]);
    }
    return DG_OK;
}

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_onnx_attr axes[] = {DG_ONNX_INTS("axes", 1, -1), DG_ONNX_INT("keepdims", 1), {0}};
    int ndim = b->call->input[SRC].ndim;
    dg_onnx_value x = dg_onnx_channels_last(b, b->input[SRC], ndim), square = dg_onnx_binary(b, "Mul", x, x);
    dg_onnx_value mean = b->add_node(b, "ReduceMean", axes, &square, 1);
    mean = dg_onnx_unary(b, "Sqrt", dg_onnx_binary(b, "Add", mean, dg_onnx_scalar(b, "eps", b->call->attr[EPS].f)));
    dg_onnx_value scaled = dg_onnx_binary(b, "Mul", dg_onnx_binary(b, "Div", x, mean), b->input[WEIGHT]);
    b->output[DST] = dg_onnx_channels_first(b, scaled, ndim);
}

static const struct dg_operand inputs[] = {[SRC] = {"src"}, [WEIGHT] = {"weight", DG_PARAM}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK}, [RSTD] = {"rstd", DG_SAVED}, {0}};

const struct dg_op dg_op_rms_norm = {
    .name = "rms_norm",
    .in_yaml = true,
    .doc = "Division by the root of the mean of squares over the last dimension.",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .params = params,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[GRAD_SRC];
    DG_TRY(check(src, &call->input[GRAD_WEIGHT], err));
    struct dg_desc rstd = dg_desc_make(DG_F32, 1, (int64_t[]){dg_desc_rows(src)});
    if (!dg_desc_equal(src, &call->input[DIFF_DST]) || !dg_desc_equal(&call->input[GRAD_RSTD], &rstd))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_SRC] = *src;
    output[DIFF_WEIGHT] = call->input[GRAD_WEIGHT];
    return dg_want_accumulator(&call->input[ACC_WEIGHT], &output[DIFF_WEIGHT], err);
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[GRAD_SRC];
    *s = (struct state){dg_desc_rows(src), src->dim[src->ndim - 1], 0, dg_is_bf16(&p->call->input[DIFF_DST])};
    dg_op_scratch(p, s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

/* The gradient of one row; adds that of the weights to `sum`. */
static void row_back(const struct state *s, const struct dg_run *r, int64_t row, float *sum)
{
    const float *x = (const float *)r->input[GRAD_SRC] + row * s->cols, *weight = r->input[GRAD_WEIGHT];
    const void *dy = dg_at(r->input[DIFF_DST], s->bf16, row * s->cols);
    float *dx = (float *)r->output[DIFF_SRC] + row * s->cols, scale = ((const float *)r->input[GRAD_RSTD])[row],
          dot = 0;
    for (int64_t c = 0; c < s->cols; c++) {
        float g = dg_get(dy, s->bf16, c), unit = x[c] * scale;
        sum[c] += g * unit;
        dot += g * weight[c] * unit;
    }
    dot /= (float)s->cols;
    for (int64_t c = 0; c < s->cols; c++) dx[c] = scale * (dg_get(dy, s->bf16, c) * weight[c] - x[c] * scale * dot);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    float *partial = r->scratch, *diff_weight = r->output[DIFF_WEIGHT];
#pragma omp parallel num_threads(r->threads)
    {
        float *sum = partial + s->cols * omp_get_thread_num();
        for (int64_t c = 0; c < s->cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < s->rows; row++) row_back(s, r, row, sum);
    }
    if (!diff_weight) return DG_OK;
    dg_begin_sum(diff_weight, r->input[ACC_WEIGHT], s->cols);
    for (int t = 0; t < r->threads; t++)
        for (int64_t c = 0; c < s->cols; c++) diff_weight[c] += partial[s->cols * t + c];
    return DG_OK;
}

static const struct dg_operand grad_inputs[] = {
    [GRAD_SRC] = {"src"},   [DIFF_DST] = {"diff_dst", DG_BF16_OK},      [GRAD_WEIGHT] = {"weight"},
    [GRAD_RSTD] = {"rstd"}, [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL}, {0}};
static const struct dg_operand grad_outputs[] = {
    [DIFF_SRC] = {"diff_src"}, [DIFF_WEIGHT] = {"diff_weight", DG_OPTIONAL, DG_REUSE(ACC_WEIGHT)}, {0}};

const struct dg_op dg_op_rms_norm_grad = {
    .name = "rms_norm_grad",
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

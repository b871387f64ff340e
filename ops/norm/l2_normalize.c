/* l2_normalize: dst = src / max(||src||, eps) over the last dimension (torch.nn.functional.normalize).
 *
 *   l2_normalize      (src) -> dst, [norm] (one per row: max(||src||, eps), for the backward)
 *   l2_normalize_grad (dst, diff_dst, norm) -> diff_src = (diff_dst - dst <dst, diff_dst>) / norm */
#include "ops/op.h"

#include <math.h>

extern const struct dg_op dg_op_l2_normalize_grad;

enum { EPS };                                /* attribute */
enum { SRC };                                /* input */
enum { DST, NORM };                          /* outputs */
enum { GRAD_DST, GRAD_DIFF_DST, GRAD_NORM }; /* inputs of the gradient */
enum { DIFF_SRC };                           /* output of the gradient */

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-12, .min = 0, .max = 1, .doc = "smallest norm divided by"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 2, "input", err));
    output[DST] = *src;
    output[NORM] = dg_desc_make(DG_F32, 1, (int64_t[]){src->dim[0]});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->output[DST], b->diff_output[DST], b->output[NORM]};
    DG_TRY(b->emit(b, &dg_op_l2_normalize_grad, b->call->attr, input, 3, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

struct state {
    int64_t rows, cols;
    float eps;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){p->call->input[SRC].dim[0], p->call->input[SRC].dim[1], (float)p->call->attr[EPS].f};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC];
    float *dst = r->output[DST], *norm = r->output[NORM];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *x = src + row * s->cols;
        double square = 0;
        for (int64_t c = 0; c < s->cols; c++) square += (double)x[c] * (double)x[c];
        float n = (float)sqrt(square);
        if (n < s->eps) n = s->eps;
        for (int64_t c = 0; c < s->cols; c++) dst[row * s->cols + c] = x[c] / n;
        if (norm) norm[row] = n;
    }
    return DG_OK;
}

static const struct dg_operand l2_normalize_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand l2_normalize_outputs[] = {
    [DST] = {"dst"},
    [NORM] = {"norm", DG_SAVED},
    {0},
};

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_l2_normalize(b, b->input[SRC], b->call->attr[EPS].f);
}

const struct dg_op dg_op_l2_normalize = {
    .name = "l2_normalize",
    .in_yaml = true,
    .doc = "Scales every row to length one.",
    .attrs = attrs,
    .inputs = l2_normalize_inputs,
    .outputs = l2_normalize_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *dst = &call->input[GRAD_DST];
    DG_TRY(dg_want_ndim(dst, 2, "dst", err));
    struct dg_desc norms = dg_desc_make(DG_F32, 1, dst->dim);
    if (!dg_desc_equal(dst, &call->input[GRAD_DIFF_DST]) || !dg_desc_equal(&call->input[GRAD_NORM], &norms))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_SRC] = *dst;
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *dst = r->input[GRAD_DST], *diff_dst = r->input[GRAD_DIFF_DST], *norm = r->input[GRAD_NORM];
    float *diff_src = r->output[DIFF_SRC];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *y = dst + row * s->cols, *dy = diff_dst + row * s->cols;
        double dot = 0;
        if (norm[row] > s->eps) /* below, the divisor is a constant */
            for (int64_t c = 0; c < s->cols; c++) dot += (double)y[c] * (double)dy[c];
        for (int64_t c = 0; c < s->cols; c++) diff_src[row * s->cols + c] = (dy[c] - y[c] * (float)dot) / norm[row];
    }
    return DG_OK;
}

static const struct dg_operand l2_normalize_grad_inputs[] = {
    [GRAD_DST] = {"dst"},
    [GRAD_DIFF_DST] = {"diff_dst"},
    [GRAD_NORM] = {"norm"},
    {0},
};
static const struct dg_operand l2_normalize_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", 0, DG_REUSE(GRAD_DIFF_DST)},
    {0},
};

const struct dg_op dg_op_l2_normalize_grad = {
    .name = "l2_normalize_grad",
    .attrs = attrs,
    .inputs = l2_normalize_grad_inputs,
    .outputs = l2_normalize_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run_grad,
};

/* l2_normalize: dst = src / max(||src||, eps) over the last dimension (torch.nn.functional.normalize).
 *
 *   l2_normalize      (src) -> dst, [norm] (one per row: max(||src||, eps), for the backward)
 *   l2_normalize_grad (dst, diff_dst, norm) -> diff_src = (diff_dst - dst <dst, diff_dst>) / norm */
#include "ops/op.h"

#include <math.h>

extern const struct dg_op dg_op_l2_normalize_grad;

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-12, .min = 0, .max = 1, .doc = "smallest norm divided by"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    DG_TRY(dg_want_ndim(src, 2, "input", err));
    output[0] = *src;
    output[1] = dg_desc_make(DG_F32, 1, (int64_t[]){src->dim[0]});
    return dg_want_f32(src, "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->output[0], b->diff_output[0], b->output[1]};
    DG_TRY(b->emit(b, &dg_op_l2_normalize_grad, b->call->attr, input, 3, made));
    return b->give(b, 0, made[0]);
}

struct state {
    int64_t rows, cols;
    float eps;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){p->call->input[0].dim[0], p->call->input[0].dim[1], (float)p->call->attr[0].f};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[0];
    float *dst = r->output[0], *norm = r->output[1];
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

const struct dg_op dg_op_l2_normalize = {
    .name = "l2_normalize",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}, {"norm", DG_OUT_SAVED}},
    .infer = infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *dst = &call->input[0];
    DG_TRY(dg_want_ndim(dst, 2, "dst", err));
    struct dg_desc norms = dg_desc_make(DG_F32, 1, dst->dim);
    if (!dg_desc_equal(dst, &call->input[1]) || !dg_desc_equal(&call->input[2], &norms))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[0] = *dst;
    return dg_want_f32(dst, "dst", err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *dst = r->input[0], *diff_dst = r->input[1], *norm = r->input[2];
    float *diff_src = r->output[0];
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

const struct dg_op dg_op_l2_normalize_grad = {
    .name = "l2_normalize_grad",
    .attrs = attrs,
    .min_inputs = 3,
    .max_inputs = 3,
    .output = {{"diff_src", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {2},
    .prepare = prepare,
    .run = run_grad,
};

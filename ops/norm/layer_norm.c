/* layer_norm over the last dimension, biased variance, affine.
 *
 *   layer_norm      (src, weight, bias) -> dst, [mean], [rstd] (one per row, for the backward)
 *   layer_norm_grad (src, diff_dst, weight, mean, rstd, [acc_src], [acc_weight], [acc_bias])
 *                   -> diff_src, [diff_weight], [diff_bias], each added to its accumulator */
#include "ops/norm/layer_norm.h"

#include "ops/kernels/kernels.h"

extern const struct dg_op dg_op_layer_norm_grad;

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-5, .min = 0, .max = 1, .doc = "added to the variance"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    if (src->ndim < 2) {
        dg_fail(err, DG_ERR_INPUT, "input must have at least 2 dimensions");
        return -1;
    }
    struct dg_desc desc = dg_desc_make(DG_F32, 1, (int64_t[]){src->dim[src->ndim - 1]});
    need[0] = (struct dg_param_need){.name = "weight", .desc = desc, .init = {DG_INIT_CONSTANT, 1}, .trainable = true};
    need[1] = (struct dg_param_need){.name = "bias", .desc = desc, .init = {DG_INIT_CONSTANT, 0}, .trainable = true};
    return 2;
}

static bool vector_of(const struct dg_desc *desc, int64_t count)
{
    return desc->dtype == DG_F32 && desc->ndim == 1 && desc->dim[0] == count;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    DG_TRY(dg_want_f32(src, "input", err));
    if (src->ndim < 2) return dg_fail(err, DG_ERR_INPUT, "input must have at least 2 dimensions");
    int64_t cols = src->dim[src->ndim - 1];
    if (call->num_inputs != 3 || !vector_of(&call->input[1], cols) || !vector_of(&call->input[2], cols))
        return dg_fail(err, DG_ERR_INPUT, "weight and bias must have %lld elements", (long long)cols);
    output[0] = *src;
    output[1] = output[2] = dg_desc_make(DG_F32, 1, (int64_t[]){dg_desc_rows(src)});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[0],  b->diff_output[0], b->input[1],      b->output[1],
                        b->output[2], b->partial(b, 0),  b->partial(b, 1), b->partial(b, 2)};
    DG_TRY(b->emit(b, &dg_op_layer_norm_grad, NULL, input, 8, made));
    for (int i = 0; i < 3; i++)
        if (b->wants[i]) b->set(b, i, made[i]);
    return DG_OK;
}

struct state {
    int64_t images, each, cols; /* `each`: rows of an image */
    float eps;
    bool half; /* dst, in the backward diff_dst, is bf16 */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[0];
    s->images = src->dim[0];
    s->each = dg_desc_rows(src) / s->images;
    s->cols = src->dim[src->ndim - 1];
    s->eps = (float)p->call->attr[DG_LAYER_NORM_EPS].f;
    s->half = dg_is_bf16(&p->call->output[0]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->layer_norm_forward(dg_images(r, s->images) * s->each, s->cols, dg_kept_image(r->kept, s->images),
                                     s->each, r->input[0], r->input[1], r->input[2], s->eps, s->half, r->output[0],
                                     r->output[1], r->output[2]);
    return DG_OK;
}

const struct dg_op dg_op_layer_norm = {
    .name = "layer_norm",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}, {"mean", DG_OUT_SAVED}, {"rstd", DG_OUT_SAVED}},
    .params = params,
    .tokens = DG_TOKENS_APART,
    .infer = infer,
    .grad = grad,
    .bf16_outputs = 1,
    .kept_outputs = 1 << DG_LAYER_NORM_DST | 1 << DG_LAYER_NORM_MEAN | 1 << DG_LAYER_NORM_RSTD,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    int64_t cols = src->ndim < 2 ? 0 : src->dim[src->ndim - 1], rows = dg_desc_rows(src);
    output[0] = *src;
    output[1] = output[2] = dg_desc_make(DG_F32, 1, (int64_t[]){cols});
    bool ok = cols && dg_desc_equal(src, &call->input[1]) && vector_of(&call->input[2], cols) &&
              vector_of(&call->input[3], rows) && vector_of(&call->input[4], rows);
    for (int o = 0; o < 3; o++)
        ok = ok && (dg_absent(&call->input[5 + o]) || dg_desc_equal(&call->input[5 + o], &output[o]));
    return ok ? dg_want_f32(src, "src", err) : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->images = p->call->input[0].dim[0];
    s->each = dg_desc_rows(&p->call->input[0]) / s->images;
    s->cols = p->call->output[1].dim[0];
    s->half = dg_is_bf16(&p->call->input[1]);
    dg_op_scratch(p, 2 * s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->layer_norm_backward(s->images * s->each, s->cols, r->input[0], dg_kept_place(r->kept), s->each,
                                      s->half, r->input[1], r->input[2], r->input[3], r->input[4], r->input[5],
                                      r->input[6], r->input[7], r->output[0], r->output[1], r->output[2], r->scratch,
                                      r->threads);
    return DG_OK;
}

const struct dg_op dg_op_layer_norm_grad = {
    .name = "layer_norm_grad",
    .min_inputs = 8,
    .max_inputs = 8,
    .output = {{"diff_src", 0}, {"diff_weight", DG_OUT_OPTIONAL}, {"diff_bias", DG_OUT_OPTIONAL}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {6, 7, 8},
    .bf16_inputs = 2,
    .kept_inputs = 1 << 1 | 1 << 3 | 1 << 4, /* diff_dst, mean and rstd */
    .prepare = prepare_grad,
    .run = run_grad,
};

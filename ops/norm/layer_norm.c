/* layer_norm over the last dimension, biased variance, affine.
 *
 *   layer_norm      (src, weight, bias) -> dst, [mean], [rstd] (one per row, for the backward)
 *   layer_norm_grad (src, diff_dst, weight, mean, rstd, [acc_src], [acc_weight], [acc_bias])
 *                   -> diff_src, [diff_weight], [diff_bias], each added to its accumulator */
#include "ops/kernels/layer_norm.h"
#include "ops/op.h"

extern const struct dg_op dg_op_layer_norm_grad;

enum { EPS };                     /* attribute */
enum { SRC, WEIGHT, BIAS, ROWS }; /* inputs */
enum { DST, MEAN, RSTD };         /* outputs */
enum {
    GRAD_SRC,
    DIFF_DST,
    GRAD_WEIGHT,
    GRAD_MEAN,
    GRAD_RSTD,
    ACC_SRC,
    ACC_WEIGHT,
    ACC_BIAS,
    GRAD_ROWS
};                                         /* inputs of the gradient */
enum { DIFF_SRC, DIFF_WEIGHT, DIFF_BIAS }; /* outputs of the gradient */

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-5, .min = 0, .max = 1, .doc = "added to the variance"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (dg_want_rows(src, "input", err) != DG_OK) return -1;
    struct dg_desc desc = dg_desc_make(DG_F32, 1, (int64_t[]){src->dim[src->ndim - 1]});
    need[0] = (struct dg_param_need){.name = "weight", .desc = desc, .init = {DG_INIT_CONSTANT, 1}, .trainable = true};
    need[1] = (struct dg_param_need){.name = "bias", .desc = desc, .init = {DG_INIT_CONSTANT, 0}, .trainable = true};
    return 2;
}

static bool vector_of(const struct dg_desc *desc, int64_t count) { return desc->ndim == 1 && desc->dim[0] == count; }

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_rows(src, "input", err));
    int64_t cols = src->dim[src->ndim - 1];
    if (!vector_of(&call->input[WEIGHT], cols) || !vector_of(&call->input[BIAS], cols))
        return dg_fail(err, DG_ERR_INPUT, "weight and bias must have %lld elements", (long long)cols);
    output[DST] = *src;
    output[MEAN] = output[RSTD] = dg_desc_make(DG_F32, 1, (int64_t[]){dg_desc_rows(src)});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[SRC],
                        b->diff_output[DST],
                        b->input[WEIGHT],
                        b->output[MEAN],
                        b->output[RSTD],
                        b->gradient_so_far(b, SRC),
                        b->gradient_so_far(b, WEIGHT),
                        b->gradient_so_far(b, BIAS)};
    DG_TRY(b->emit(b, &dg_op_layer_norm_grad, NULL, input, 8, made));
    if (b->wants[SRC]) b->set_gradient(b, SRC, made[DIFF_SRC]);
    if (b->wants[WEIGHT]) b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
    if (b->wants[BIAS]) b->set_gradient(b, BIAS, made[DIFF_BIAS]);
    return DG_OK;
}

struct state {
    int64_t images, each, cols; /* `each`: rows of an image */
    float eps;
    bool bf16; /* dst, in the backward diff_dst, is stored as bf16 */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->images = src->dim[0];
    s->each = dg_desc_rows(src) / s->images;
    s->cols = src->dim[src->ndim - 1];
    s->eps = (float)p->call->attr[EPS].f;
    s->bf16 = dg_is_bf16(&p->call->output[DST]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_layer_norm_kernels()->forward(
        &(struct dg_layer_norm_args){.rows = dg_survivors(r->input[ROWS], s->images) * s->each,
                                     .cols = s->cols,
                                     .image_rows = s->each,
                                     .src_image = dg_row_images(r->input[ROWS], s->images),
                                     .src = r->input[SRC],
                                     .weight = r->input[WEIGHT],
                                     .bias = r->input[BIAS],
                                     .eps = s->eps,
                                     .dst_bf16 = s->bf16,
                                     .dst = r->output[DST],
                                     .mean = r->output[MEAN],
                                     .rstd = r->output[RSTD]});
    return DG_OK;
}

static const struct dg_operand layer_norm_inputs[] = {
    [SRC] = {"src"},
    [WEIGHT] = {"weight", DG_PARAM},
    [BIAS] = {"bias", DG_PARAM},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand layer_norm_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT},
    [MEAN] = {"mean", DG_SAVED | DG_COMPACT},
    [RSTD] = {"rstd", DG_SAVED | DG_COMPACT},
    {0},
};

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_layer_norm(b, b->input[SRC], b->call->input[SRC].ndim, b->input[WEIGHT], b->input[BIAS],
                                        b->call->attr[EPS].f);
}

const struct dg_op dg_op_layer_norm = {
    .name = "layer_norm",
    .in_yaml = true,
    .doc = "Normalisation over the last dimension.",
    .attrs = attrs,
    .inputs = layer_norm_inputs,
    .outputs = layer_norm_outputs,
    .reach = DG_REACH_ROW,
    .params = params,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[GRAD_SRC];
    int64_t cols = src->ndim < 2 ? 0 : src->dim[src->ndim - 1], rows = dg_desc_rows(src);
    output[DIFF_SRC] = *src;
    output[DIFF_WEIGHT] = output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, (int64_t[]){cols});
    bool ok = cols && dg_desc_equal(src, &call->input[DIFF_DST]) && vector_of(&call->input[GRAD_WEIGHT], cols) &&
              vector_of(&call->input[GRAD_MEAN], rows) && vector_of(&call->input[GRAD_RSTD], rows);
    if (!ok) return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    DG_TRY(dg_want_accumulator(&call->input[ACC_SRC], &output[DIFF_SRC], err));
    DG_TRY(dg_want_accumulator(&call->input[ACC_WEIGHT], &output[DIFF_WEIGHT], err));
    DG_TRY(dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err));
    return DG_OK;
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->images = p->call->input[GRAD_SRC].dim[0];
    s->each = dg_desc_rows(&p->call->input[GRAD_SRC]) / s->images;
    s->cols = p->call->output[DIFF_WEIGHT].dim[0];
    s->bf16 = dg_is_bf16(&p->call->input[DIFF_DST]);
    dg_op_scratch(p, 2 * s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_layer_norm_kernels()->backward(&(struct dg_layer_norm_grad_args){.rows = s->images * s->each,
                                                                        .cols = s->cols,
                                                                        .image_rows = s->each,
                                                                        .src = r->input[GRAD_SRC],
                                                                        .dst_image = dg_row_places(r->input[GRAD_ROWS]),
                                                                        .diff_dst_bf16 = s->bf16,
                                                                        .diff_dst = r->input[DIFF_DST],
                                                                        .weight = r->input[GRAD_WEIGHT],
                                                                        .mean = r->input[GRAD_MEAN],
                                                                        .rstd = r->input[GRAD_RSTD],
                                                                        .acc_src = r->input[ACC_SRC],
                                                                        .acc_weight = r->input[ACC_WEIGHT],
                                                                        .acc_bias = r->input[ACC_BIAS],
                                                                        .diff_src = r->output[DIFF_SRC],
                                                                        .diff_weight = r->output[DIFF_WEIGHT],
                                                                        .diff_bias = r->output[DIFF_BIAS],
                                                                        .partial = r->scratch,
                                                                        .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand layer_norm_grad_inputs[] = {
    [GRAD_SRC] = {"src"},
    [DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    [GRAD_WEIGHT] = {"weight"},
    [GRAD_MEAN] = {"mean", DG_COMPACT},
    [GRAD_RSTD] = {"rstd", DG_COMPACT},
    [ACC_SRC] = {"acc_src", DG_OPTIONAL},
    [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL},
    [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand layer_norm_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", 0, DG_REUSE(ACC_SRC)},
    [DIFF_WEIGHT] = {"diff_weight", DG_OPTIONAL, DG_REUSE(ACC_WEIGHT)},
    [DIFF_BIAS] = {"diff_bias", DG_OPTIONAL, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_layer_norm_grad = {
    .name = "layer_norm_grad",
    .inputs = layer_norm_grad_inputs,
    .outputs = layer_norm_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

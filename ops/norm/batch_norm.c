/* batch_norm: over all but the last dimension, of images [N,H,W,C] or rows [N,C] (Ioffe and Szegedy 2015; PyTorch's
 * BatchNorm1d and 2d).
 *
 *   batch_norm        (src, weight, bias, running_mean, running_var, num_batches_tracked) -> dst, [mean], [var]
 *   batch_norm_grad   (diff_dst, src, weight, mean, var, [dst], [acc_weight], [acc_bias])
 *                     -> [diff_src], diff_weight, diff_bias
 *   batch_norm_update (running_mean, running_var, num_batches_tracked, mean, var), in the commit
 *
 * In train mode the moments of the batch normalise (biased variance), and the commit moves the running moments (unbiased variance)
 * towards them. In eval mode the running moments normalise. With `relu`, which the compiler sets, the op applies the ReLU behind
 * it, and its gradient reads dst.
 *
 * Where processes share a step, the moments are those of the rows of all of them (PyTorch's SyncBatchNorm): each sends its own moments
 * to all, and in the backward its sums of the gradient. Gradients of weight and bias stay those of its own rows.
 *
 * In a plan in bf16 src, dst and their gradients may be stored as bf16, all of them or none; moments, weights and sums are f32. */
#include "ops/kernels/batch_norm.h"
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_batch_norm_grad, dg_op_batch_norm_update;

enum { EPS, MOMENTUM, USE_RELU };                               /* attributes */
enum { SRC, WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, TRACKED }; /* inputs */
enum { DST, MEAN, VAR };                                        /* outputs */
enum {
    DIFF_DST,
    GRAD_SRC,
    GRAD_WEIGHT,
    GRAD_MEAN,
    GRAD_VAR,
    GRAD_DST,
    ACC_WEIGHT,
    ACC_BIAS
};                                                        /* inputs of the gradient */
enum { DIFF_SRC, DIFF_WEIGHT, DIFF_BIAS };                /* outputs of the gradient */
enum { OLD_MEAN, OLD_VAR, COUNT, BATCH_MEAN, BATCH_VAR }; /* inputs of batch_norm_update */

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-5, .min = 0, .max = 1, .doc = "added to the variance"},
    {.name = "momentum",
     .type = DG_ATTR_FLOAT,
     .value.f = 0.1,
     .min = 0,
     .max = 1,
     .training = true,
     .doc = "share of the batch in the running statistics"},
    {.name = "relu", .type = DG_ATTR_BOOL, .max = 1, .internal = true, .doc = "the ReLU after it is fused"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (dg_want_rows(src, "input", err) != DG_OK) return -1;
    struct dg_desc channels = dg_desc_make(DG_F32, 1, &src->dim[src->ndim - 1]);
    struct dg_init zero = {DG_INIT_CONSTANT, 0}, one = {DG_INIT_CONSTANT, 1};
    need[0] = (struct dg_param_need){.name = "weight", .desc = channels, .init = one, .trainable = true};
    need[1] = (struct dg_param_need){.name = "bias", .desc = channels, .init = zero, .trainable = true};
    need[2] = (struct dg_param_need){.name = "running_mean", .desc = channels, .init = zero, .buffer = true};
    need[3] = (struct dg_param_need){.name = "running_var", .desc = channels, .init = one, .buffer = true};
    need[4] = (struct dg_param_need){
        .name = "num_batches_tracked", .desc = dg_desc_scalar(DG_I64), .init = zero, .buffer = true};
    return 5;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_rows(src, "input", err));
    if (call->train && dg_desc_rows(src) * dg_ranks(call) < 2)
        return dg_fail(err, DG_ERR_INPUT, "one value a channel has no variance: training needs more than one row");
    struct dg_desc channels = dg_desc_make(DG_F32, 1, &src->dim[src->ndim - 1]);
    bool fits = dg_desc_is_scalar(&call->input[TRACKED], DG_I64);
    for (int i = WEIGHT; fits && i <= RUNNING_VAR; i++) fits = dg_desc_equal(&call->input[i], &channels);
    if (!fits) return dg_fail(err, DG_ERR_INPUT, "weights or running statistics have the wrong shape");
    output[DST] = *src;
    output[MEAN] = output[VAR] = channels;
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (!b->call->train) return dg_fail(b->err, DG_ERR_UNSUPPORTED, "batch_norm has a gradient in train mode only");
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->diff_output[DST],
                        b->input[SRC],
                        b->input[WEIGHT],
                        b->output[MEAN],
                        b->output[VAR],
                        b->call->attr[USE_RELU].i ? b->output[DST] : DG_NO_VALUE,
                        b->gradient_so_far(b, WEIGHT),
                        b->gradient_so_far(b, BIAS)};
    DG_TRY(b->emit(b, &dg_op_batch_norm_grad, b->call->attr, input, 8, made));
    if (b->wants[WEIGHT]) b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
    if (b->wants[BIAS]) b->set_gradient(b, BIAS, made[DIFF_BIAS]);
    return b->wants[SRC] ? b->add_gradient(b, SRC, made[DIFF_SRC]) : DG_OK;
}

static enum dg_status commit(struct dg_grad_builder *b)
{
    union dg_attr attr[] = {{.f = b->call->attr[MOMENTUM].f},
                            {.i = dg_desc_rows(&b->call->input[SRC]) * dg_ranks(b->call)}};
    dg_value input[] = {b->input[RUNNING_MEAN], b->input[RUNNING_VAR], b->input[TRACKED], b->output[MEAN],
                        b->output[VAR]};
    return b->emit(b, &dg_op_batch_norm_update, attr, input, 5, NULL);
}

/* The moments are saved, so dst is what eval mode computes with them as running moments. */
static void recompute(struct dg_recompute *a)
{
    if (!a->train) return;
    a->train = false;
    a->input[RUNNING_MEAN] = a->output[MEAN];
    a->input[RUNNING_VAR] = a->output[VAR];
}

struct state {
    int64_t rows, cols, ranks;
    double eps;
    bool train, relu, bf16;
    int64_t mean_at, var_at, scale_at, partial_at, joined_at; /* offsets in scratch */
};

/* Two numbers a channel: moments, or sums of the gradient. */
static struct dg_joins joins(const struct dg_op_call *call)
{
    const struct dg_desc *src = &call->input[0];
    return (struct dg_joins){.times = 1, .bytes = 2 * src->dim[src->ndim - 1] * (int64_t)sizeof(float)};
}

static struct state *open_state(struct dg_prepare *p, const struct dg_desc *src, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return NULL;
    s->rows = dg_desc_rows(src);
    s->cols = src->dim[src->ndim - 1];
    s->eps = p->call->attr[EPS].f;
    s->relu = p->call->attr[USE_RELU].i;
    s->train = p->call->train;
    s->bf16 = dg_is_bf16(src);
    s->ranks = dg_ranks(p->call);
    if (s->ranks > 1) s->joined_at = dg_op_scratch(p, (s->ranks + 1) * joins(p->call).bytes);
    s->partial_at = dg_op_scratch(p, s->cols * p->threads * 2 * (int64_t)(sizeof(double) + sizeof(float)) +
                                         3 * s->cols * (int64_t)sizeof(float));
    return s;
}

static void *at(const struct dg_run *r, int64_t offset) { return (char *)r->scratch + offset; }

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, &p->call->input[SRC], err);
    if (!s) return DG_ERR_MEMORY;
    int64_t vector = s->cols * (int64_t)sizeof(float);
    s->scale_at = dg_op_scratch(p, vector);
    s->mean_at = dg_op_scratch(p, vector); /* used if the outputs mean and var are not wanted */
    s->var_at = dg_op_scratch(p, vector);
    return DG_OK;
}

/* Scratch: what this process sends [2, cols], then what all have sent [ranks, 2, cols]. */
static float *sent(const struct dg_run *r) { return at(r, ((const struct state *)r->state)->joined_at); }

static enum dg_status gather(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    int64_t count = 2 * s->cols;
    return r->peers->gather(r->peers->context, sent(r), count * (int64_t)sizeof(float), sent(r) + count, err);
}

/* The moments of equal numbers of rows become those of all. */
static enum dg_status join_moments(const struct dg_run *r, float *mean, float *var, struct dg_error *err)
{
    const struct state *s = r->state;
    int64_t cols = s->cols, vector = cols * (int64_t)sizeof(float);
    const float *all = sent(r) + 2 * cols;
    memcpy(sent(r), mean, (size_t)vector);
    memcpy(sent(r) + cols, var, (size_t)vector);
    DG_TRY(gather(r, err));
    for (int64_t c = 0; c < cols; c++) {
        double m = 0, v = 0;
        for (int64_t p = 0; p < s->ranks; p++) m += (double)all[2 * p * cols + c] / (double)s->ranks;
        for (int64_t p = 0; p < s->ranks; p++) {
            double apart = (double)all[2 * p * cols + c] - m;
            v += ((double)all[(2 * p + 1) * cols + c] + apart * apart) / (double)s->ranks;
        }
        mean[c] = (float)m;
        var[c] = (float)v;
    }
    return DG_OK;
}

/* sum [2, cols] of this process becomes that of all. */
static enum dg_status join_sums(const struct dg_run *r, double *sum, struct dg_error *err)
{
    const struct state *s = r->state;
    int64_t count = 2 * s->cols;
    const float *all = sent(r) + count;
    for (int64_t i = 0; i < count; i++) sent(r)[i] = (float)sum[i];
    DG_TRY(gather(r, err));
    for (int64_t i = 0; i < count; i++) {
        sum[i] = 0;
        for (int64_t p = 0; p < s->ranks; p++) sum[i] += (double)all[p * count + i];
    }
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *mean = r->input[RUNNING_MEAN], *var = r->input[RUNNING_VAR];
    if (s->train) {
        float *batch_mean = r->output[MEAN] ? r->output[MEAN] : at(r, s->mean_at);
        float *batch_var = r->output[VAR] ? r->output[VAR] : at(r, s->var_at);
        dg_batch_norm_kernels()->moments(&(struct dg_batch_norm_moments_args){.rows = s->rows,
                                                                              .cols = s->cols,
                                                                              .bf16 = s->bf16,
                                                                              .src = r->input[SRC],
                                                                              .mean = batch_mean,
                                                                              .var = batch_var,
                                                                              .partial = at(r, s->partial_at),
                                                                              .threads = r->threads});
        if (s->ranks > 1) DG_TRY(join_moments(r, batch_mean, batch_var, err));
        mean = batch_mean;
        var = batch_var;
    }
    dg_batch_norm_kernels()->apply(&(struct dg_batch_norm_apply_args){.rows = s->rows,
                                                                      .cols = s->cols,
                                                                      .bf16 = s->bf16,
                                                                      .src = r->input[SRC],
                                                                      .mean = mean,
                                                                      .var = var,
                                                                      .weight = r->input[WEIGHT],
                                                                      .bias = r->input[BIAS],
                                                                      .eps = s->eps,
                                                                      .relu = s->relu,
                                                                      .dst = r->output[DST],
                                                                      .scale = at(r, s->scale_at)});
    return DG_OK;
}

static const struct dg_operand batch_norm_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    [WEIGHT] = {"weight", DG_PARAM},
    [BIAS] = {"bias", DG_PARAM},
    [RUNNING_MEAN] = {"running_mean", DG_PARAM},
    [RUNNING_VAR] = {"running_var", DG_PARAM},
    [TRACKED] = {"num_batches_tracked", DG_PARAM, .dtype = DG_I64},
    {0},
};
static const struct dg_operand batch_norm_outputs[] = {
    [DST] = {"dst", DG_BF16_OK, DG_REUSE(SRC)},
    [MEAN] = {"mean", DG_SAVED},
    [VAR] = {"var", DG_SAVED},
    {0},
};

/* BatchNormalization has the channels second, as images and rows have them there; tokens are turned. */
static void onnx(struct dg_onnx_builder *b)
{
    static const int64_t turn[] = {0, 2, 1};
    const struct dg_onnx_attr attr[] = {DG_ONNX_FLOAT("epsilon", b->call->attr[EPS].f), {0}};
    bool tokens = b->call->input[SRC].ndim == 3;
    dg_onnx_value input[] = {tokens ? dg_onnx_transpose(b, b->input[SRC], 3, turn) : b->input[SRC], b->input[WEIGHT],
                             b->input[BIAS], b->input[RUNNING_MEAN], b->input[RUNNING_VAR]};
    dg_onnx_value dst = b->add_node(b, "BatchNormalization", attr, input, 5);
    if (tokens) dst = dg_onnx_transpose(b, dst, 3, turn);
    b->output[DST] = b->call->attr[USE_RELU].i ? dg_onnx_unary(b, "Relu", dst) : dst;
}

const struct dg_op dg_op_batch_norm = {
    .name = "batch_norm",
    .in_yaml = true,
    .doc = "Normalisation of each channel over the batch (training) or by running statistics (evaluation).",
    .attrs = attrs,
    .inputs = batch_norm_inputs,
    .outputs = batch_norm_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_BATCH,
    .joins = joins,
    .params = params,
    .infer = infer,
    .grad = grad,
    .commit = commit,
    .recompute = recompute,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

/* --- gradient --- */

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *in = call->input;
    bool fits = in[DIFF_DST].ndim >= 2 && dg_desc_equal(&in[DIFF_DST], &in[GRAD_SRC]) &&
                (dg_absent(&in[GRAD_DST]) || dg_desc_equal(&in[DIFF_DST], &in[GRAD_DST]));
    struct dg_desc channels = dg_desc_make(DG_F32, 1, &in[DIFF_DST].dim[fits ? in[DIFF_DST].ndim - 1 : 0]);
    static const int vectors[] = {GRAD_WEIGHT, GRAD_MEAN, GRAD_VAR, ACC_WEIGHT, ACC_BIAS};
    for (int i = 0; fits && i < 5; i++) fits = dg_absent(&in[vectors[i]]) || dg_desc_equal(&in[vectors[i]], &channels);
    if (!fits || (call->attr[USE_RELU].i && dg_absent(&in[GRAD_DST])))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_SRC] = in[DIFF_DST];
    output[DIFF_WEIGHT] = output[DIFF_BIAS] = channels;
    return DG_OK;
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->input[GRAD_SRC], err) ? DG_OK : DG_ERR_MEMORY;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const struct dg_batch_norm_grad_args args = {.rows = s->rows,
                                                 .cols = s->cols,
                                                 .all_rows = s->rows * s->ranks,
                                                 .bf16 = s->bf16,
                                                 .src = r->input[GRAD_SRC],
                                                 .mean = r->input[GRAD_MEAN],
                                                 .var = r->input[GRAD_VAR],
                                                 .weight = r->input[GRAD_WEIGHT],
                                                 .eps = s->eps,
                                                 .dst = s->relu ? r->input[GRAD_DST] : NULL,
                                                 .diff_dst = r->input[DIFF_DST],
                                                 .acc_weight = r->input[ACC_WEIGHT],
                                                 .acc_bias = r->input[ACC_BIAS],
                                                 .diff_src = r->output[DIFF_SRC],
                                                 .diff_weight = r->output[DIFF_WEIGHT],
                                                 .diff_bias = r->output[DIFF_BIAS],
                                                 .partial = at(r, s->partial_at),
                                                 .threads = r->threads};
    dg_batch_norm_kernels()->backward_sums(&args);
    if (!args.diff_src) return DG_OK;
    if (s->ranks > 1) DG_TRY(join_sums(r, args.partial, err));
    dg_batch_norm_kernels()->backward_src(&args);
    return DG_OK;
}

static const struct dg_operand batch_norm_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst", DG_BF16_OK},
    [GRAD_SRC] = {"src", DG_BF16_OK},
    [GRAD_WEIGHT] = {"weight"},
    [GRAD_MEAN] = {"mean"},
    [GRAD_VAR] = {"var"},
    [GRAD_DST] = {"dst", DG_BF16_OK | DG_OPTIONAL},
    [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL},
    [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    {0},
};
static const struct dg_operand batch_norm_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL | DG_BF16_OK, DG_REUSE(DIFF_DST)},
    [DIFF_WEIGHT] = {"diff_weight", DG_OPTIONAL, DG_REUSE(ACC_WEIGHT)},
    [DIFF_BIAS] = {"diff_bias", DG_OPTIONAL, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .attrs = attrs,
    .inputs = batch_norm_grad_inputs,
    .outputs = batch_norm_grad_outputs,
    .bf16_alike = true,
    .joins = joins,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

/* --- batch_norm_update --- */

enum { UPDATE_MOMENTUM, UPDATE_COUNT }; /* attributes */
static const struct dg_attr_spec update_attrs[] = {
    {.name = "momentum", .type = DG_ATTR_FLOAT, .required = true, .max = 1, .internal = true},
    {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 2, .max = 1e15, .internal = true},
    {0},
};

static enum dg_status infer_update(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool fits = in[OLD_MEAN].ndim == 1 && dg_desc_is_scalar(&in[COUNT], DG_I64);
    static const int vectors[] = {OLD_VAR, BATCH_MEAN, BATCH_VAR};
    for (int i = 0; i < 3; i++) fits = fits && dg_desc_equal(&in[vectors[i]], &in[OLD_MEAN]);
    return fits ? DG_OK : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

struct update {
    int64_t cols;
    double momentum, unbiased;
};

static enum dg_status prepare_update(struct dg_prepare *p, struct dg_error *err)
{
    struct update *u = dg_op_state(p, sizeof *u, err);
    if (!u) return DG_ERR_MEMORY;
    double count = (double)p->call->attr[UPDATE_COUNT].i;
    *u = (struct update){p->call->input[OLD_MEAN].dim[0], p->call->attr[UPDATE_MOMENTUM].f, count / (count - 1)};
    return DG_OK;
}

static enum dg_status run_update(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct update *u = r->state;
    float *running_mean = r->input[OLD_MEAN], *running_var = r->input[OLD_VAR];
    const float *mean = r->input[BATCH_MEAN], *var = r->input[BATCH_VAR];
    for (int64_t c = 0; c < u->cols; c++) {
        running_mean[c] = (float)((1 - u->momentum) * (double)running_mean[c] + u->momentum * (double)mean[c]);
        running_var[c] =
            (float)((1 - u->momentum) * (double)running_var[c] + u->momentum * ((double)var[c] * u->unbiased));
    }
    ++*(int64_t *)r->input[COUNT];
    return DG_OK;
}

static const struct dg_operand batch_norm_update_inputs[] = {
    [OLD_MEAN] = {"running_mean", DG_UPDATED},
    [OLD_VAR] = {"running_var", DG_UPDATED},
    [COUNT] = {"num_batches_tracked", DG_UPDATED, .dtype = DG_I64},
    [BATCH_MEAN] = {"mean"},
    [BATCH_VAR] = {"var"},
    {0},
};

const struct dg_op dg_op_batch_norm_update = {
    .name = "batch_norm_update",
    .attrs = update_attrs,
    .inputs = batch_norm_update_inputs,
    .infer = infer_update,
    .grad = dg_no_gradient,
    .prepare = prepare_update,
    .run = run_update,
};

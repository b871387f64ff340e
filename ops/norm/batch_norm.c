/* batch_norm: over all but the last dimension, of images [N,H,W,C] or rows [N,C] (Ioffe and Szegedy 2015; PyTorch's
 * BatchNorm1d and 2d).
 *
 *   batch_norm        (src, weight, bias, running_mean, running_var, num_batches_tracked) -> dst, [mean], [var]
 *   batch_norm_grad   (diff_dst, src, weight, mean, var, [dst], [acc_weight], [acc_bias])
 *                     -> [diff_src], diff_weight, diff_bias
 *   batch_norm_update (running_mean, running_var, num_batches_tracked, mean, var): what a step leaves, in the commit
 *
 * In train mode the batch's own moments normalise (biased variance) and are kept for the commit, which moves the running
 * ones (unbiased variance) towards them; in eval mode the running ones normalise. With `relu`, which the compiler sets, the
 * ReLU behind it is part of the op, and its gradient looks at dst.
 *
 * In bf16, src, dst and their gradients may be bf16, all or none; moments, weights and sums never are. */
#include "ops/norm/batch_norm.h"

#include "ops/kernels/kernels.h"

extern const struct dg_op dg_op_relu, dg_op_batch_norm_grad, dg_op_batch_norm_update;

static const struct dg_attr_spec attrs[] = {
    {.name = "eps", .type = DG_ATTR_FLOAT, .value.f = 1e-5, .min = 0, .max = 1, .doc = "added to the variance"},
    {.name = "momentum",
     .type = DG_ATTR_FLOAT,
     .value.f = 0.1,
     .min = 0,
     .max = 1,
     .doc = "share of the batch in the running statistics"},
    {.name = "relu", .type = DG_ATTR_BOOL, .max = 1, .internal = true, .doc = "the ReLU after it is fused"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    if (src->ndim < 2) {
        dg_fail(err, DG_ERR_INPUT, "input must have at least 2 dimensions");
        return -1;
    }
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
    const struct dg_desc *src = &call->input[DG_NORM_SRC];
    DG_TRY(dg_want_f32(src, "input", err));
    if (src->ndim < 2) return dg_fail(err, DG_ERR_INPUT, "input must have at least 2 dimensions");
    if (call->train && dg_desc_rows(src) < 2)
        return dg_fail(err, DG_ERR_INPUT, "one value a channel has no variance: training needs more than one row");
    struct dg_desc channels = dg_desc_make(DG_F32, 1, &src->dim[src->ndim - 1]);
    bool fits = call->num_inputs == DG_NORM_INPUTS && call->input[DG_NORM_TRACKED].dtype == DG_I64 &&
                !call->input[DG_NORM_TRACKED].ndim;
    for (int i = DG_NORM_WEIGHT; fits && i <= DG_NORM_RUNNING_VAR; i++)
        fits = dg_desc_equal(&call->input[i], &channels);
    if (!fits) return dg_fail(err, DG_ERR_INPUT, "weights or running statistics have the wrong shape");
    output[0] = *src;
    output[1] = output[2] = channels;
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (!b->call->train) return dg_fail(b->err, DG_ERR_UNSUPPORTED, "batch_norm has a gradient in train mode only");
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->diff_output[0],
                        b->input[DG_NORM_SRC],
                        b->input[DG_NORM_WEIGHT],
                        b->output[1],
                        b->output[2],
                        b->call->attr[DG_NORM_RELU].i ? b->output[0] : DG_NO_VALUE,
                        b->partial(b, DG_NORM_WEIGHT),
                        b->partial(b, DG_NORM_BIAS)};
    DG_TRY(b->emit(b, &dg_op_batch_norm_grad, b->call->attr, input, 8, made));
    if (b->wants[DG_NORM_WEIGHT]) b->set(b, DG_NORM_WEIGHT, made[1]);
    if (b->wants[DG_NORM_BIAS]) b->set(b, DG_NORM_BIAS, made[2]);
    return b->wants[DG_NORM_SRC] ? b->give(b, DG_NORM_SRC, made[0]) : DG_OK;
}

static bool absorb(struct dg_fusion *f)
{
    if (f->next != &dg_op_relu || f->attr[DG_NORM_RELU].i) return false;
    f->attr[DG_NORM_RELU].i = true;
    return true;
}

static enum dg_status commit(struct dg_grad_builder *b)
{
    union dg_attr attr[] = {{.f = b->call->attr[DG_NORM_MOMENTUM].f},
                            {.i = dg_desc_rows(&b->call->input[DG_NORM_SRC])}};
    dg_value input[] = {b->input[DG_NORM_RUNNING_MEAN], b->input[DG_NORM_RUNNING_VAR], b->input[DG_NORM_TRACKED],
                        b->output[1], b->output[2]};
    return b->emit(b, &dg_op_batch_norm_update, attr, input, 5, NULL);
}

/* By the moments of the batch, as an evaluation by the running ones. */
static void again(struct dg_again *a)
{
    if (!a->train) return;
    a->train = false;
    a->input[DG_NORM_RUNNING_MEAN] = a->output[1];
    a->input[DG_NORM_RUNNING_VAR] = a->output[2];
}

struct state {
    int64_t rows, cols;
    double eps;
    bool train, relu, half;
    int64_t mean_at, var_at, scale_at, partial_at; /* offsets in scratch */
};

static struct state *open_state(struct dg_prepare *p, const struct dg_desc *src, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return NULL;
    s->rows = dg_desc_rows(src);
    s->cols = src->dim[src->ndim - 1];
    s->eps = p->call->attr[DG_NORM_EPS].f;
    s->relu = p->call->attr[DG_NORM_RELU].i;
    s->train = p->call->train;
    s->half = dg_is_bf16(src);
    s->partial_at = dg_op_scratch(p, s->cols * p->threads * 2 * (int64_t)(sizeof(double) + sizeof(float)) +
                                         3 * s->cols * (int64_t)sizeof(float));
    return s;
}

static void *at(const struct dg_run *r, int64_t offset) { return (char *)r->scratch + offset; }

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, &p->call->input[DG_NORM_SRC], err);
    if (!s) return DG_ERR_MEMORY;
    int64_t vector = s->cols * (int64_t)sizeof(float);
    s->scale_at = dg_op_scratch(p, vector);
    s->mean_at = dg_op_scratch(p, vector); /* where nobody keeps the moments */
    s->var_at = dg_op_scratch(p, vector);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *mean = r->input[DG_NORM_RUNNING_MEAN], *var = r->input[DG_NORM_RUNNING_VAR];
    if (s->train) {
        float *batch_mean = r->output[1] ? r->output[1] : at(r, s->mean_at);
        float *batch_var = r->output[2] ? r->output[2] : at(r, s->var_at);
        dg_kernels()->batch_norm_moments(s->rows, s->cols, s->half, r->input[DG_NORM_SRC], batch_mean, batch_var,
                                         at(r, s->partial_at), r->threads);
        mean = batch_mean;
        var = batch_var;
    }
    dg_kernels()->batch_norm_apply(s->rows, s->cols, s->half, r->input[DG_NORM_SRC], mean, var,
                                   r->input[DG_NORM_WEIGHT], r->input[DG_NORM_BIAS], s->eps, s->relu, r->output[0],
                                   at(r, s->scale_at));
    return DG_OK;
}

const struct dg_op dg_op_batch_norm = {
    .name = "batch_norm",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}, {"mean", DG_OUT_SAVED}, {"var", DG_OUT_SAVED}},
    .couples_rows = true,
    .params = params,
    .infer = infer,
    .grad = grad,
    .commit = commit,
    .absorb = absorb,
    .again = again,
    .inplace = {1},
    .bf16_inputs = 1 << DG_NORM_SRC,
    .bf16_outputs = 1,
    .bf16_alike = true,
    .prepare = prepare,
    .run = run,
};

/* --- gradient --- */

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *in = call->input;
    bool fits =
        in[0].ndim >= 2 && dg_desc_equal(&in[0], &in[1]) && (dg_absent(&in[5]) || dg_desc_equal(&in[0], &in[5]));
    struct dg_desc channels = dg_desc_make(DG_F32, 1, &in[0].dim[fits ? in[0].ndim - 1 : 0]);
    for (int i = 2; fits && i < 8; i++)
        fits = i == 5 || (i > 5 && dg_absent(&in[i])) || dg_desc_equal(&in[i], &channels);
    if (!fits || (call->attr[DG_NORM_RELU].i && dg_absent(&in[5])))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[0] = in[0];
    output[1] = output[2] = channels;
    return dg_want_f32(&in[0], "diff_dst", err);
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->input[1], err) ? DG_OK : DG_ERR_MEMORY;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->batch_norm_backward(s->rows, s->cols, s->half, r->input[1], r->input[3], r->input[4], r->input[2],
                                      s->eps, s->relu ? r->input[5] : NULL, r->input[0], r->input[6], r->input[7],
                                      r->output[0], r->output[1], r->output[2], at(r, s->partial_at), r->threads);
    return DG_OK;
}

const struct dg_op dg_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .attrs = attrs,
    .min_inputs = 8,
    .max_inputs = 8,
    .output = {{"diff_src", DG_OUT_OPTIONAL}, {"diff_weight", DG_OUT_OPTIONAL}, {"diff_bias", DG_OUT_OPTIONAL}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {1, 7, 8},
    .bf16_inputs = 1 << 0 | 1 << 1 | 1 << 5, /* diff_dst, src, dst */
    .bf16_outputs = 1,
    .bf16_alike = true,
    .prepare = prepare_grad,
    .run = run_grad,
};

/* --- what the step leaves --- */

static const struct dg_attr_spec update_attrs[] = {
    {.name = "momentum", .type = DG_ATTR_FLOAT, .required = true, .max = 1, .internal = true},
    {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 2, .max = 1e15, .internal = true},
    {0},
};

static enum dg_status infer_update(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool fits = in[0].dtype == DG_F32 && in[0].ndim == 1 && in[2].dtype == DG_I64 && !in[2].ndim;
    for (int i = 1; i < 5; i++) fits = fits && (i == 2 || dg_desc_equal(&in[i], &in[0]));
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
    double count = (double)p->call->attr[1].i;
    *u = (struct update){p->call->input[0].dim[0], p->call->attr[0].f, count / (count - 1)};
    return DG_OK;
}

static enum dg_status run_update(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct update *u = r->state;
    float *running_mean = r->input[0], *running_var = r->input[1];
    const float *mean = r->input[3], *var = r->input[4];
    for (int64_t c = 0; c < u->cols; c++) {
        running_mean[c] = (float)((1 - u->momentum) * (double)running_mean[c] + u->momentum * (double)mean[c]);
        running_var[c] =
            (float)((1 - u->momentum) * (double)running_var[c] + u->momentum * ((double)var[c] * u->unbiased));
    }
    ++*(int64_t *)r->input[2];
    return DG_OK;
}

const struct dg_op dg_op_batch_norm_update = {
    .name = "batch_norm_update",
    .attrs = update_attrs,
    .min_inputs = 5,
    .max_inputs = 5,
    .infer = infer_update,
    .grad = dg_no_gradient,
    .writes = 1 << 0 | 1 << 1 | 1 << 2,
    .prepare = prepare_update,
    .run = run_update,
};

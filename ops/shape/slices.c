/* Ops for a step whose batch is cut into slices of images, which run one after another and add up.
 *
 *   take_images (src [V*B,...]) -> dst [V*b,...]: the slice's b images of each of V views
 *   gather_images (src [V*b,...]) -> dst [V*B,...]: the images of all slices, where each of so many processes has one
 *   zeros_like  (like) -> dst, zeros of the same shape and type: where a sum over slices begins
 *   add_mean    (sum, part) -> dst = sum + part / slices: after all slices the mean of their parts
 *
 * Rows are view-major: row r is image r % batch of view r / batch. */
#include "ops/op.h"

#include <string.h>

enum { SRC };       /* input of take_images, gather_images and zeros_like */
enum { SUM, PART }; /* inputs of add_mean */
enum { DST };       /* output */

/* --- take_images --- */

static enum dg_status infer_take(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (src->ndim < 1 || src->dim[0] % dg_slices(call))
        return dg_fail(err, DG_ERR_INPUT, "the rows cannot be cut into %lld slices", (long long)dg_slices(call));
    output[DST] = *src;
    output[DST].dim[0] /= dg_slices(call);
    return DG_OK;
}

struct take {
    int64_t views, slices;
    size_t slice; /* bytes of one view's images */
};

static enum dg_status prepare_take(struct dg_prepare *p, struct dg_error *err)
{
    struct take *t = dg_op_state(p, sizeof *t, err);
    if (!t) return DG_ERR_MEMORY;
    const struct dg_desc *dst = &p->call->output[DST];
    int64_t images = p->batch > 0 ? p->batch : dst->dim[0];
    if (dst->dim[0] % images) return dg_fail(err, DG_ERR_INPUT, "%d images do not divide the rows", p->batch);
    t->views = dst->dim[0] / images;
    t->slice = (size_t)(dg_desc_bytes(dst) / t->views);
    t->slices = dg_slices(p->call);
    return DG_OK;
}

static enum dg_status run_take(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct take *t = r->state;
    int64_t held = r->step->input_slices ? r->step->input_slices : t->slices,
            at = r->step->slice - r->step->input_first;
    const char *src = r->input[SRC];
    for (int64_t v = 0; v < t->views; v++)
        memcpy((char *)r->output[DST] + (size_t)v * t->slice, src + (size_t)(v * held + at) * t->slice, t->slice);
    return DG_OK;
}

static const struct dg_operand take_images_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand take_images_outputs[] = {
    [DST] = {"dst"},
    {0},
};

const struct dg_op dg_op_take_images = {
    .name = "take_images",
    .inputs = take_images_inputs,
    .outputs = take_images_outputs,
    .infer = infer_take,
    .grad = dg_stop_gradient, /* crops are data */
    .prepare = prepare_take,
    .run = run_take,
};

/* --- gather_images --- */

enum { VIEWS }; /* attribute */

static const struct dg_attr_spec gather_images_attrs[] = {
    {.name = "views", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .internal = true},
    {0},
};

static enum dg_status infer_gather(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (src->ndim < 1 || src->dim[0] % call->attr[VIEWS].i)
        return dg_fail(err, DG_ERR_INPUT, "the rows are no %lld views", (long long)call->attr[VIEWS].i);
    output[DST] = *src;
    output[DST].dim[0] *= dg_ranks(call);
    return DG_OK;
}

static struct dg_joins gather_joins(const struct dg_op_call *call)
{
    return (struct dg_joins){.times = call->attr[VIEWS].i, .bytes = dg_desc_bytes(&call->input[SRC])};
}

struct gather {
    int64_t views, ranks, view; /* view: bytes of one view's images of a process */
};

static enum dg_status prepare_gather(struct dg_prepare *p, struct dg_error *err)
{
    struct gather *g = dg_op_state(p, sizeof *g, err);
    if (!g) return DG_ERR_MEMORY;
    g->views = p->call->attr[VIEWS].i;
    g->ranks = dg_ranks(p->call);
    g->view = dg_desc_bytes(&p->call->input[SRC]) / g->views;
    return DG_OK;
}

static enum dg_status run_gather(const struct dg_run *r, struct dg_error *err)
{
    const struct gather *g = r->state;
    const char *src = r->input[SRC];
    char *dst = r->output[DST];
    if (g->ranks < 2) memcpy(dst, src, (size_t)(g->views * g->view));
    for (int64_t v = 0; v < g->views && g->ranks > 1; v++)
        DG_TRY(r->peers->gather(r->peers->context, src + v * g->view, g->view, dst + v * g->ranks * g->view, err));
    return DG_OK;
}

static const struct dg_operand gather_images_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand gather_images_outputs[] = {
    [DST] = {"dst"},
    {0},
};

const struct dg_op dg_op_gather_images = {
    .name = "gather_images",
    .attrs = gather_images_attrs,
    .inputs = gather_images_inputs,
    .outputs = gather_images_outputs,
    .joins = gather_joins,
    .infer = infer_gather,
    .grad = dg_stop_gradient, /* targets are the teacher's */
    .prepare = prepare_gather,
    .run = run_gather,
};

/* --- zeros_like --- */

static enum dg_status infer_zeros(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)err;
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status prepare_zeros(struct dg_prepare *p, struct dg_error *err)
{
    size_t *bytes = dg_op_state(p, sizeof *bytes, err);
    if (!bytes) return DG_ERR_MEMORY;
    *bytes = (size_t)dg_desc_bytes(&p->call->output[DST]);
    return DG_OK;
}

static enum dg_status run_zeros(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    memset(r->output[DST], 0, *(const size_t *)r->state);
    return DG_OK;
}

static const struct dg_operand zeros_like_inputs[] = {
    [SRC] = {"like", .dtype = DG_ANY_DTYPE},
    {0},
};
static const struct dg_operand zeros_like_outputs[] = {
    [DST] = {"dst", .dtype = DG_ANY_DTYPE},
    {0},
};

const struct dg_op dg_op_zeros_like = {
    .name = "zeros_like",
    .inputs = zeros_like_inputs,
    .outputs = zeros_like_outputs,
    .infer = infer_zeros,
    .grad = dg_stop_gradient,
    .prepare = prepare_zeros,
    .run = run_zeros,
};

/* --- add_mean --- */

static enum dg_status infer_mean(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *sum = &call->input[SUM];
    if (!dg_desc_equal(sum, &call->input[PART]) || (sum->dtype != DG_F32 && sum->dtype != DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "sum and part must be f32 or f64 and of one shape");
    output[DST] = *sum;
    return DG_OK;
}

struct mean {
    int64_t count, slices;
    bool f64;
};

static enum dg_status prepare_mean(struct dg_prepare *p, struct dg_error *err)
{
    struct mean *m = dg_op_state(p, sizeof *m, err);
    if (!m) return DG_ERR_MEMORY;
    const struct dg_desc *dst = &p->call->output[DST];
    *m = (struct mean){.count = dg_desc_count(dst), .slices = dg_slices(p->call), .f64 = dst->dtype == DG_F64};
    return DG_OK;
}

static enum dg_status run_mean(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct mean *m = r->state;
    if (m->f64) {
        const double *sum = r->input[SUM], *part = r->input[PART];
        double *dst = r->output[DST];
        for (int64_t i = 0; i < m->count; i++) dst[i] = sum[i] + part[i] / (double)m->slices;
    } else {
        const float *sum = r->input[SUM], *part = r->input[PART];
        float *dst = r->output[DST];
        for (int64_t i = 0; i < m->count; i++) dst[i] = sum[i] + part[i] / (float)m->slices;
    }
    return DG_OK;
}

static const struct dg_operand add_mean_inputs[] = {
    [SUM] = {"sum", .dtype = DG_ANY_DTYPE},
    [PART] = {"part", .dtype = DG_ANY_DTYPE},
    {0},
};
static const struct dg_operand add_mean_outputs[] = {
    [DST] = {"dst", 0, DG_REUSE(SUM), .dtype = DG_ANY_DTYPE},
    {0},
};

const struct dg_op dg_op_add_mean = {
    .name = "add_mean",
    .inputs = add_mean_inputs,
    .outputs = add_mean_outputs,
    .infer = infer_mean,
    .grad = dg_stop_gradient,
    .prepare = prepare_mean,
    .run = run_mean,
};

/* Pooling of NHWC images.
 *
 *   max_pool        (src [N,H,W,C]) -> dst [N,OH,OW,C], [winners]: which element of its window each output is, a byte
 *   max_pool_grad   (diff_dst, winners) -> diff_src
 *   avg_pool        (src) -> dst; avg_pool_grad (diff_dst) -> diff_src
 *   global_avg_pool (src [N,H,W,C]) -> dst [N,C]; global_avg_pool_grad (diff_dst) -> diff_src
 *
 * Windows are oneDNN's; the mean of a whole image is our own. In bf16, images may be bf16; that mean stays f32. */
#include "ops/kernels/pool.h"
#include "ops/dnnl/dnnl.h"
#include "ops/op.h"

#include <stdlib.h>

extern const struct dg_op dg_op_max_pool_grad, dg_op_avg_pool_grad, dg_op_global_avg_pool_grad;

enum { SRC };                    /* input */
enum { DST, WINNERS };           /* outputs; the second of max_pool only */
enum { DIFF_DST, GRAD_WINNERS }; /* inputs of the gradients; the second of max_pool_grad only */
enum { DIFF_SRC };               /* output of the gradients */

enum { KERNEL, STRIDE, PAD, COUNT_PAD, HEIGHT = COUNT_PAD, WIDTH, COUNT_PAD_GRAD }; /* attributes */
enum { MAX_AREA = 15 }; /* a window has at most 15 x 15 elements, so that a byte names one */

#define WINDOW                                                                                                         \
    {.name = "kernel", .type = DG_ATTR_INT, .required = true, .min = 1, .max = MAX_AREA, .doc = "window, pixels"},     \
        {.name = "stride", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1024, .doc = "step, pixels"},           \
    {                                                                                                                  \
        .name = "pad", .type = DG_ATTR_INT, .max = MAX_AREA / 2, .doc = "border around the image, pixels"              \
    }
#define IMAGE_SIZE                                                                                                     \
    {.name = "height", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true},             \
    {                                                                                                                  \
        .name = "width", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true             \
    }
#define COUNTS                                                                                                         \
    {                                                                                                                  \
        .name = "count_include_pad", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1,                                     \
        .doc = "the border counts in the mean, as zeros"                                                               \
    }

static const struct dg_attr_spec max_attrs[] = {WINDOW, {0}};
static const struct dg_attr_spec max_grad_attrs[] = {WINDOW, IMAGE_SIZE, {0}};
static const struct dg_attr_spec avg_attrs[] = {WINDOW, COUNTS, {0}};
static const struct dg_attr_spec avg_grad_attrs[] = {WINDOW, IMAGE_SIZE, COUNTS, {0}};

/* The geometry of pooling `src`, which is f32; dst's size by PyTorch's rule without ceil_mode. */
static enum dg_status spec_of(const struct dg_desc *src, const union dg_attr *attr, struct dg_pool_spec *spec,
                              struct dg_error *err)
{
    DG_TRY(dg_want_ndim(src, 4, "input", err));
    *spec = (struct dg_pool_spec){.images = src->dim[0],
                                  .height = src->dim[1],
                                  .width = src->dim[2],
                                  .channels = src->dim[3],
                                  .window = {attr[KERNEL].i, attr[STRIDE].i, attr[PAD].i, 1}};
    int64_t kernel = spec->window.kernel, pad = spec->window.pad;
    if (2 * pad > kernel)
        return dg_fail(err, DG_ERR_INPUT, "pad %lld is more than half of kernel %lld", (long long)pad,
                       (long long)kernel);
    for (int d = 1; d < 3; d++) {
        int64_t room = src->dim[d] + 2 * pad - kernel;
        if (room < 0)
            return dg_fail(err, DG_ERR_INPUT, "a window of %lld pixels does not fit into %s %lld", (long long)kernel,
                           d == 1 ? "height" : "width", (long long)src->dim[d]);
        *(d == 1 ? &spec->out_height : &spec->out_width) = room / spec->window.stride + 1;
    }
    return DG_OK;
}

static struct dg_desc out_desc(const struct dg_pool_spec *s, enum dg_dtype dtype)
{
    return dg_desc_make(dtype, 4, (int64_t[]){s->images, s->out_height, s->out_width, s->channels});
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    struct dg_pool_spec spec;
    DG_TRY(spec_of(&call->input[SRC], call->attr, &spec, err));
    output[DST] = out_desc(&spec, DG_F32);
    if (dg_op_num_outputs(call->op) > 1) output[WINNERS] = out_desc(&spec, DG_U8);
    return DG_OK;
}

/* The geometry of the forward whose diff_dst this is. */
static enum dg_status grad_spec_of(const struct dg_op_call *call, struct dg_pool_spec *spec, struct dg_error *err)
{
    struct dg_desc wide = dg_desc_wide(&call->input[DIFF_DST]), *diff_dst = &wide;
    DG_TRY(dg_want_ndim(diff_dst, 4, "diff_dst", err));
    struct dg_desc src = dg_desc_make(
        DG_F32, 4, (int64_t[]){diff_dst->dim[0], call->attr[HEIGHT].i, call->attr[WIDTH].i, diff_dst->dim[3]});
    DG_TRY(spec_of(&src, call->attr, spec, err));
    spec->prop_kind = DG_BACKWARD_DATA;
    struct dg_desc dst = out_desc(spec, DG_F32), winners = out_desc(spec, DG_U8);
    if (dg_desc_equal(diff_dst, &dst) && (call->num_inputs < 2 || dg_desc_equal(&call->input[GRAD_WINNERS], &winners)))
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "diff_dst or winners has the wrong shape");
}

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    struct dg_pool_spec s;
    DG_TRY(grad_spec_of(call, &s, err));
    output[DIFF_SRC] = dg_desc_make(DG_F32, 4, (int64_t[]){s.images, s.height, s.width, s.channels});
    return DG_OK;
}

static enum dg_status emit_grad(struct dg_grad_builder *b, const struct dg_op *op, dg_value winners)
{
    const union dg_attr *attr = b->call->attr;
    const struct dg_desc *src = &b->call->input[SRC];
    union dg_attr with_size[] = {attr[KERNEL], attr[STRIDE], attr[PAD], {.i = src->dim[1]}, {.i = src->dim[2]}, {0}};
    if (winners == DG_NO_VALUE) with_size[COUNT_PAD_GRAD] = attr[COUNT_PAD];
    dg_value made[DG_MAX_OUTPUTS], input[] = {b->diff_output[DST], winners};
    DG_TRY(b->emit(b, op, with_size, input, winners == DG_NO_VALUE ? 1 : 2, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

static enum dg_status grad_max(struct dg_grad_builder *b)
{
    return emit_grad(b, &dg_op_max_pool_grad, b->output[WINNERS]);
}
static enum dg_status grad_avg(struct dg_grad_builder *b) { return emit_grad(b, &dg_op_avg_pool_grad, DG_NO_VALUE); }

struct state {
    struct dg_pooling pooling;
    int64_t dnnl_at, winners_at; /* offsets in scratch */
};

static void release(void *state)
{
    if (state) dg_pooling_close(&((struct state *)state)->pooling);
    free(state);
}

static enum dg_status open_pooling(struct dg_prepare *p, struct dg_pool_spec *spec, enum dg_pool pool,
                                   struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    spec->pool = pool;
    spec->bf16 = dg_is_bf16(&p->call->input[SRC]);
    DG_TRY(dg_pooling_open(p->engine, spec, &s->pooling, err));
    s->dnnl_at = dg_op_scratch(p, s->pooling.scratch_bytes);
    return DG_OK;
}

static enum dg_status prepare_max(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_pool_spec spec;
    struct dg_desc wide = dg_desc_wide(&p->call->input[SRC]);
    DG_TRY(spec_of(&wide, p->call->attr, &spec, err));
    DG_TRY(open_pooling(p, &spec, DG_POOL_MAX, err));
    struct dg_desc winners = out_desc(&spec, DG_U8); /* oneDNN writes them even if they are not wanted */
    ((struct state *)p->state)->winners_at = dg_op_scratch(p, dg_desc_bytes(&winners));
    return DG_OK;
}

static enum dg_status prepare_avg(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_pool_spec spec;
    struct dg_desc wide = dg_desc_wide(&p->call->input[SRC]);
    DG_TRY(spec_of(&wide, p->call->attr, &spec, err));
    return open_pooling(p, &spec, p->call->attr[COUNT_PAD].i ? DG_POOL_AVG : DG_POOL_AVG_NO_PAD, err);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    char *scratch = r->scratch;
    void *winners = !s->pooling.winners ? NULL : r->output[WINNERS] ? r->output[WINNERS] : scratch + s->winners_at;
    return dg_pooling_run(&s->pooling, r->stream, r->input[SRC], r->output[DST], winners, scratch + s->dnnl_at, err);
}

static enum dg_status prepare_max_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_pool_spec spec;
    DG_TRY(grad_spec_of(p->call, &spec, err));
    return open_pooling(p, &spec, DG_POOL_MAX, err);
}

static enum dg_status prepare_avg_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_pool_spec spec;
    DG_TRY(grad_spec_of(p->call, &spec, err));
    return open_pooling(p, &spec, p->call->attr[COUNT_PAD_GRAD].i ? DG_POOL_AVG : DG_POOL_AVG_NO_PAD, err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    return dg_pooling_run(&s->pooling, r->stream, r->output[DIFF_SRC], r->input[DIFF_DST],
                          s->pooling.winners ? r->input[GRAD_WINNERS] : NULL, (char *)r->scratch + s->dnnl_at, err);
}

static const struct dg_operand max_pool_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    {0},
};
static const struct dg_operand max_pool_outputs[] = {
    [DST] = {"dst", DG_BF16_OK},
    [WINNERS] = {"winners", DG_SAVED, .dtype = DG_U8},
    {0},
};

/* A window's attributes; `counts`: of avg_pool alone. */
static void add_pool(struct dg_onnx_builder *b, const char *type, bool counts)
{
    const union dg_attr *a = b->call->attr;
    int64_t k = a[KERNEL].i, s = a[STRIDE].i, p = a[PAD].i;
    struct dg_onnx_attr attr[] = {DG_ONNX_INTS("kernel_shape", 2, k, k),
                                  DG_ONNX_INTS("strides", 2, s, s),
                                  DG_ONNX_INTS("pads", 4, p, p, p, p),
                                  DG_ONNX_INT("count_include_pad", counts ? a[COUNT_PAD].i : 0),
                                  {0}};
    if (!counts) attr[3] = (struct dg_onnx_attr){0};
    b->output[DST] = b->add_node(b, type, attr, &b->input[SRC], 1);
}

static void onnx_max(struct dg_onnx_builder *b) { add_pool(b, "MaxPool", false); }
static void onnx_avg(struct dg_onnx_builder *b) { add_pool(b, "AveragePool", true); }

const struct dg_op dg_op_max_pool = {
    .name = "max_pool",
    .in_yaml = true,
    .doc = "Largest of each window of an image.",
    .attrs = max_attrs,
    .inputs = max_pool_inputs,
    .outputs = max_pool_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad_max,
    .onnx = onnx_max,
    .prepare = prepare_max,
    .run = run,
    .release = release,
};

static const struct dg_operand max_pool_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst", DG_BF16_OK},
    [GRAD_WINNERS] = {"winners", .dtype = DG_U8},
    {0},
};
static const struct dg_operand max_pool_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK},
    {0},
};

const struct dg_op dg_op_max_pool_grad = {
    .name = "max_pool_grad",
    .attrs = max_grad_attrs,
    .inputs = max_pool_grad_inputs,
    .outputs = max_pool_grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_max_grad,
    .run = run_grad,
    .release = release,
};

static const struct dg_operand avg_pool_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    {0},
};
static const struct dg_operand avg_pool_outputs[] = {
    [DST] = {"dst", DG_BF16_OK},
    {0},
};

const struct dg_op dg_op_avg_pool = {
    .name = "avg_pool",
    .in_yaml = true,
    .doc = "Mean of each window of an image.",
    .attrs = avg_attrs,
    .inputs = avg_pool_inputs,
    .outputs = avg_pool_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad_avg,
    .onnx = onnx_avg,
    .prepare = prepare_avg,
    .run = run,
    .release = release,
};

static const struct dg_operand avg_pool_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst", DG_BF16_OK},
    {0},
};
static const struct dg_operand avg_pool_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK},
    {0},
};

const struct dg_op dg_op_avg_pool_grad = {
    .name = "avg_pool_grad",
    .attrs = avg_grad_attrs,
    .inputs = avg_pool_grad_inputs,
    .outputs = avg_pool_grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_avg_grad,
    .run = run_grad,
    .release = release,
};

/* --- the mean of an image --- */

static enum dg_status infer_global(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 4, "input", err));
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], src->dim[3]});
    return DG_OK;
}

static enum dg_status grad_global(struct dg_grad_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    union dg_attr size[] = {{.i = src->dim[1]}, {.i = src->dim[2]}};
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_global_avg_pool_grad, size, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

struct global_state {
    int64_t images, pixels, channels;
    bool bf16; /* of the image */
};

static enum dg_status prepare_global(struct dg_prepare *p, struct dg_error *err)
{
    struct global_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *image = p->call->input[SRC].ndim == 4 ? &p->call->input[SRC] : &p->call->output[DST];
    *s = (struct global_state){image->dim[0], image->dim[1] * image->dim[2], image->dim[3], dg_is_bf16(image)};
    return DG_OK;
}

static enum dg_status run_global(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct global_state *s = r->state;
    dg_pool_kernels()->global_mean(s->images, s->pixels, s->channels, s->bf16, r->input[SRC], r->output[DST]);
    return DG_OK;
}

static const struct dg_operand global_avg_pool_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    {0},
};
static const struct dg_operand global_avg_pool_outputs[] = {
    [DST] = {"dst"},
    {0},
};

static void onnx_global(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_unary(b, "Flatten", dg_onnx_unary(b, "GlobalAveragePool", b->input[SRC]));
}

const struct dg_op dg_op_global_avg_pool = {
    .name = "global_avg_pool",
    .in_yaml = true,
    .doc = "Mean over all pixels of an image.",
    .inputs = global_avg_pool_inputs,
    .outputs = global_avg_pool_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_global,
    .grad = grad_global,
    .onnx = onnx_global,
    .prepare = prepare_global,
    .run = run_global,
};

enum { IMAGE_HEIGHT, IMAGE_WIDTH }; /* attributes of global_avg_pool_grad */
static const struct dg_attr_spec global_grad_attrs[] = {IMAGE_SIZE, {0}};

static enum dg_status infer_global_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    DG_TRY(dg_want_ndim(diff_dst, 2, "diff_dst", err));
    output[DIFF_SRC] = dg_desc_make(
        DG_F32, 4,
        (int64_t[]){diff_dst->dim[0], call->attr[IMAGE_HEIGHT].i, call->attr[IMAGE_WIDTH].i, diff_dst->dim[1]});
    return DG_OK;
}

static enum dg_status run_global_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct global_state *s = r->state;
    dg_pool_kernels()->global_mean_backward(s->images, s->pixels, s->channels, r->input[DIFF_DST], s->bf16,
                                            r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand global_avg_pool_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"},
    {0},
};
static const struct dg_operand global_avg_pool_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK},
    {0},
};

const struct dg_op dg_op_global_avg_pool_grad = {
    .name = "global_avg_pool_grad",
    .attrs = global_grad_attrs,
    .inputs = global_avg_pool_grad_inputs,
    .outputs = global_avg_pool_grad_outputs,
    .infer = infer_global_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_global,
    .run = run_global_grad,
};

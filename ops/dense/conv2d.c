/* conv2d: 2-D convolution of an NHWC image; weight [out, in / groups, kh, kw] as in PyTorch.
 *
 *   conv2d              (src [N,H,W,C], weight, [bias], [batch norm: its five parameters], [addend], [packed]) -> dst [N,OH,OW,out]
 *   conv2d_grad_src     (diff_dst, weight, [packed]) -> diff_src
 *   conv2d_grad_weights (src, diff_dst, [acc_weight], [acc_bias]) -> diff_weight, [diff_bias]
 *
 * There are four algorithms. AS_IS: a window of 1x1 at stride 1 is a matmul on the pixels. IM2COL: windows that do not overlap
 * (patch embedding, 1x1 at stride 2) are copied out in the order c, ky, kx of the weight and multiplied, which is up to twice as
 * fast as oneDNN's convolution. WINOGRAD: 3x3 at stride 1 in f32 with 16 products instead of 36
 * (winograd.h). DIRECT: oneDNN's convolution; some gradients of weights are a kernel of our own (see is_outer_faster). Weights are
 * packed for each run, in evaluation once; those of the first two may be packed once a step (packed_weights.h).
 *
 * Evaluation plans may fold the batch norm that follows into the weights, and add another tensor and apply a ReLU before the result is
 * stored (ops/fused/conv_bn.c). */
#include "ops/dense/bf16_operand.h"
#include "ops/dense/packed_weights.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/add.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/column_sum.h"
#include "ops/kernels/grad_weights.h"
#include "ops/kernels/im2col.h"
#include "ops/kernels/winograd.h"
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_op dg_op_conv2d_grad_src, dg_op_conv2d_grad_weights;

enum { SRC, WEIGHT, BIAS, NORM_WEIGHT, NORM_BIAS, NORM_MEAN, NORM_VAR, NORM_TRACKED, ADDEND, PACKED }; /* inputs */
enum { DST };                                                                                          /* output */
enum { GRAD_DIFF_DST, GRAD_WEIGHT, GRAD_PACKED };         /* inputs of conv2d_grad_src */
enum { DIFF_SRC };                                        /* output of conv2d_grad_src */
enum { OUTER_SRC, OUTER_DIFF_DST, ACC_WEIGHT, ACC_BIAS }; /* inputs of conv2d_grad_weights */
enum { DIFF_WEIGHT, DIFF_BIAS };                          /* outputs of conv2d_grad_weights */

/* Attributes; the backward ops have the first seven, conv2d_grad_src then the image's size. */
enum { OUT, KERNEL, STRIDE, PAD, GROUPS, DILATION, WITH_BIAS, FOLD, EPS, RELU, HEIGHT = FOLD, WIDTH };

#define GEOMETRY                                                                                                       \
    {.name = "out", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .doc = "output channels"},        \
        {.name = "kernel", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1024, .doc = "window, pixels"},     \
        {.name = "stride", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1024, .doc = "step, pixels"},           \
        {.name = "pad", .type = DG_ATTR_INT, .max = 1024, .doc = "zeros around the image, pixels"},                    \
        {.name = "groups", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1 << 20, .doc = "channel groups"},      \
        {.name = "dilation", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1024, .doc = "step in the window"},   \
    {                                                                                                                  \
        .name = "bias", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1, .doc = "add a bias"                              \
    }

static const struct dg_attr_spec attrs[] = {
    GEOMETRY,
    {.name = "fold", .type = DG_ATTR_BOOL, .max = 1, .internal = true, .doc = "the batch norm after it is folded in"},
    {.name = "eps", .type = DG_ATTR_FLOAT, .max = 1, .internal = true, .doc = "of that batch norm"},
    {.name = "relu", .type = DG_ATTR_BOOL, .max = 1, .internal = true, .doc = "the ReLU after it is fused"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    if (dg_want_ndim(&call->input[SRC], 4, "input", err) != DG_OK) return -1;
    int64_t k = call->attr[KERNEL].i, groups = call->attr[GROUPS].i, channels = call->input[SRC].dim[3];
    if (channels % groups || call->attr[OUT].i % groups) {
        dg_fail(err, DG_ERR_INPUT, "groups %lld does not divide both %lld input and %lld output channels",
                (long long)groups, (long long)channels, (long long)call->attr[OUT].i);
        return -1;
    }
    int64_t in = channels / groups;
    struct dg_init uniform = {DG_INIT_UNIFORM, 1.0 / sqrt((double)(in * k * k))}; /* PyTorch's nn.Conv2d */
    need[0] = (struct dg_param_need){.name = "weight",
                                     .desc = dg_desc_make(DG_F32, 4, (int64_t[]){call->attr[OUT].i, in, k, k}),
                                     .init = uniform,
                                     .init_from_yaml = true,
                                     .trainable = true};
    if (!call->attr[WITH_BIAS].i) return 1;
    need[1] = (struct dg_param_need){.name = "bias",
                                     .desc = dg_desc_make(DG_F32, 1, (int64_t[]){call->attr[OUT].i}),
                                     .init = uniform,
                                     .init_if_replaced = {DG_INIT_CONSTANT, 0},
                                     .trainable = true};
    return 2;
}

/* The sizes of one convolution and its algorithm, from the image and the attributes. */
struct shape {
    int64_t images, height, width, channels, out_height, out_width, out, groups, rows, columns;
    struct dg_window window;
    enum { AS_IS, IM2COL, WINOGRAD, DIRECT } algo; /* shape_of() does not choose WINOGRAD */
};

static enum dg_status shape_of(const struct dg_desc *src, const union dg_attr *attr, struct shape *s,
                               struct dg_error *err)
{
    *s = (struct shape){.images = src->dim[0],
                        .height = src->dim[1],
                        .width = src->dim[2],
                        .channels = src->dim[3],
                        .out = attr[OUT].i,
                        .groups = attr[GROUPS].i,
                        .window = {attr[KERNEL].i, attr[STRIDE].i, attr[PAD].i, attr[DILATION].i}};
    int64_t k = s->window.kernel, size[] = {s->height, s->width}, *out[] = {&s->out_height, &s->out_width};
    bool touching = k == s->window.stride && !s->window.pad && s->window.dilation == 1;
    for (int d = 0; d < 2; d++) {
        const char *name = d ? "width" : "height";
        int64_t reach = s->window.dilation * (k - 1) + 1, room = size[d] + 2 * s->window.pad - reach;
        if (touching && size[d] % k) /* PyTorch would ignore the rest of the image silently */
            return dg_fail(err, DG_ERR_INPUT, "kernel %lld does not divide %s %lld", (long long)k, name,
                           (long long)size[d]);
        if (room < 0)
            return dg_fail(err, DG_ERR_INPUT, "a window of %lld pixels does not fit into %s %lld with pad %lld",
                           (long long)reach, name, (long long)size[d], (long long)s->window.pad);
        *out[d] = room / s->window.stride + 1;
    }
    if (s->window.pad > s->window.dilation * (k - 1))
        return dg_fail(err, DG_ERR_INPUT, "pad %lld: some windows of %lld pixels would see nothing but zeros",
                       (long long)s->window.pad, (long long)(s->window.dilation * (k - 1) + 1));
    s->algo = DIRECT;
    if (s->groups == 1 && !s->window.pad && s->window.dilation * (k - 1) < k && k <= s->window.stride)
        s->algo = s->window.stride == 1 ? AS_IS : IM2COL;
    s->rows = s->images * s->out_height * s->out_width;
    s->columns = s->channels / s->groups * k * k;
    return DG_OK;
}

static struct dg_desc weight_desc(const struct shape *s)
{
    return dg_desc_make(DG_F32, 4, (int64_t[]){s->out, s->channels / s->groups, s->window.kernel, s->window.kernel});
}

static struct dg_desc dst_desc(const struct shape *s)
{
    return dg_desc_make(DG_F32, 4, (int64_t[]){s->images, s->out_height, s->out_width, s->out});
}

/* Turns DIRECT into WINOGRAD where that is the faster of the two: not where much of the patches is outside of the image, as at 3 x 3
 * pixels. How many images there are does not count, so that it does not change an image's numbers here. */
static void choose_winograd(struct shape *s, bool bf16)
{
    int64_t covered = dg_round_up(s->out_height, 2) * dg_round_up(s->out_width, 2);
    bool possible = s->algo == DIRECT && !bf16 && s->groups == 1 && s->window.kernel == 3 && s->window.stride == 1 &&
                    s->window.dilation == 1 && s->channels % DG_WINOGRAD_CHANNELS == 0 &&
                    s->out % DG_WINOGRAD_CHANNELS == 0;
    if (possible && 4 * s->out_height * s->out_width >= 3 * covered) s->algo = WINOGRAD;
}

/* Is the operand of that shape if it is to be there, else absent? */
static bool there(const struct dg_desc *desc, const struct dg_desc *want, bool wanted)
{
    return wanted ? dg_desc_equal(desc, want) : dg_absent(desc);
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    struct shape s;
    DG_TRY(dg_want_ndim(src, 4, "input", err));
    DG_TRY(shape_of(src, call->attr, &s, err));
    struct dg_desc weight = weight_desc(&s), vector = dg_desc_make(DG_F32, 1, &s.out), counter = dg_desc_scalar(DG_I64);
    bool fits = src->dim[3] % s.groups == 0 && dg_desc_equal(&call->input[WEIGHT], &weight) &&
                there(&call->input[BIAS], &vector, call->attr[WITH_BIAS].i);
    for (int i = NORM_WEIGHT; i <= NORM_VAR; i++) fits = fits && there(&call->input[i], &vector, call->attr[FOLD].i);
    fits = fits && there(&call->input[NORM_TRACKED], &counter, call->attr[FOLD].i); /* for its name only */
    if (!fits) return dg_fail(err, DG_ERR_INPUT, "weight or bias has the wrong shape");
    output[DST] = dst_desc(&s);
    struct dg_desc addend = dg_desc_wide(&call->input[ADDEND]);
    if (!there(&addend, &output[DST], !dg_absent(&addend)))
        return dg_fail(err, DG_ERR_INPUT, "addend has not the shape of dst");
    return dg_packed_check(&call->input[PACKED], &call->input[WEIGHT], err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    const union dg_attr *attr = b->call->attr;
    bool bias = attr[WITH_BIAS].i;
    dg_value made[DG_MAX_OUTPUTS];
    if (attr[FOLD].i || attr[RELU].i || !dg_absent(&b->call->input[ADDEND]))
        return dg_fail(b->err, DG_ERR_INTERNAL, "a folded convolution has no gradient");
    if (b->wants[WEIGHT] || (bias && b->wants[BIAS])) {
        dg_value input[] = {b->input[SRC], b->diff_output[DST], b->gradient_so_far(b, WEIGHT),
                            bias ? b->gradient_so_far(b, BIAS) : DG_NO_VALUE};
        DG_TRY(b->emit(b, &dg_op_conv2d_grad_weights, attr, input, 4, made));
        b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
        if (bias) b->set_gradient(b, BIAS, made[DIFF_BIAS]);
    }
    if (b->wants[SRC]) {
        union dg_attr with_size[DG_MAX_ATTRS] = {{0}};
        memcpy(with_size, attr, (WITH_BIAS + 1) * sizeof *attr);
        with_size[HEIGHT].i = b->call->input[SRC].dim[1];
        with_size[WIDTH].i = b->call->input[SRC].dim[2];
        DG_TRY(b->emit(b, &dg_op_conv2d_grad_src, with_size, (dg_value[]){b->diff_output[DST], b->input[WEIGHT]}, 2,
                       made));
        DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    }
    return DG_OK;
}

static struct dg_cost cost_of(const struct dg_desc *dst, const struct dg_desc *weight)
{
    double flops = dg_product_flops(dst, weight);
    return (struct dg_cost){flops, flops};
}

static struct dg_cost cost(const struct dg_op_call *call) { return cost_of(&call->output[DST], &call->input[WEIGHT]); }

struct state {
    struct shape shape;
    struct dg_gemm gemm; /* AS_IS and IM2COL */
    struct dg_conv conv; /* DIRECT */
    bool turned;         /* WINOGRAD of grad_src: channels and `out` change places, and windows are turned */
    struct dg_post post; /* of the forward convolution */
    bool bias, fold, bf16;
    bool packed_once, packed_before; /* once a session; by another op */
    bool outer;                      /* grad_weights runs our own kernel; with DIRECT it reads windows in place */
    struct dg_windows windows;
    bool src_bf16, addend_bf16, dst_bf16; /* stored as bf16 */
    bool diff_bf16;                       /* grad_weights: diff_dst is stored as bf16 */
    struct dg_bf16_operand operand;       /* src; in grad_src diff_dst */
    struct dg_bf16_operand diff_dst;      /* of grad_weights */
    float eps;
    int64_t packed_bytes; /* size of the packed weights; a folded bias follows them */
    int64_t im2col_at, packed_at, plain_at, partial_at, dnnl_at, winograd_at; /* offsets in scratch */
};

static void release(void *state)
{
    if (state) {
        dg_gemm_close(&((struct state *)state)->gemm);
        dg_conv_close(&((struct state *)state)->conv);
    }
    free(state);
}

static struct dg_conv_spec conv_spec(const struct shape *s, enum dg_prop_kind prop_kind)
{
    return (struct dg_conv_spec){.prop_kind = prop_kind,
                                 .images = s->images,
                                 .height = s->height,
                                 .width = s->width,
                                 .channels = s->channels,
                                 .out_height = s->out_height,
                                 .out_width = s->out_width,
                                 .out = s->out,
                                 .groups = s->groups,
                                 .window = s->window};
}

static float *at(const struct dg_run *r, int64_t offset) { return (float *)((char *)r->scratch + offset); }

/* Reserves scratch for what becomes of src: the matrix of im2col, or a copy in bf16. */
static void open_src(struct dg_prepare *p, struct state *s)
{
    s->bf16 = p->call->bf16;
    s->src_bf16 = dg_is_bf16(&p->call->input[SRC]);
    if (s->shape.algo == IM2COL)
        s->im2col_at = dg_op_scratch(p, s->shape.rows * s->shape.columns * dg_dtype_size(s->bf16 ? DG_BF16 : DG_F32));
    else
        s->operand = dg_bf16_operand_make(p, &p->call->input[SRC]);
}

/* What the product or the convolution reads: the windows as rows of a matrix with IM2COL, otherwise the image. */
static const void *operand_of(const struct dg_run *r, const struct state *s)
{
    const struct shape *h = &s->shape;
    if (h->algo != IM2COL) return dg_bf16_operand_of(&s->operand, r, r->input[SRC]);
    dg_im2col_kernels()->im2col(&(struct dg_im2col_args){.images = h->images,
                                                         .height = h->height,
                                                         .width = h->width,
                                                         .channels = h->channels,
                                                         .kernel = h->window.kernel,
                                                         .stride = h->window.stride,
                                                         .src_bf16 = s->src_bf16,
                                                         .src = r->input[SRC],
                                                         .dst_bf16 = s->bf16,
                                                         .dst = at(r, s->im2col_at)});
    return at(r, s->im2col_at);
}

static void open_winograd(struct dg_prepare *p, struct state *s, bool turned)
{
    s->turned = turned;
    s->packed_bytes = 16 * s->shape.channels * s->shape.out * (int64_t)sizeof(float);
    s->winograd_at =
        dg_op_scratch(p, dg_winograd_kernels()->scratch(turned ? s->shape.out : s->shape.channels, p->threads));
}

static void pack_winograd(const struct state *s, const float *weight, float *packed)
{
    int64_t of_channel = 9, of_out = 9 * s->shape.channels;
    struct dg_winograd_pack_args args = {.channels = s->shape.channels,
                                         .out = s->shape.out,
                                         .weight = weight,
                                         .channel_step = of_channel,
                                         .out_step = of_out,
                                         .packed = packed};
    if (s->turned) {
        args.channels = s->shape.out;
        args.out = s->shape.channels;
        args.channel_step = of_out;
        args.out_step = of_channel;
        args.turned = true;
    }
    dg_winograd_kernels()->pack(&args);
}

static void run_winograd(const struct dg_run *r, const struct state *s, const float *src, const float *packed,
                         const float *bias, float *dst)
{
    const struct shape *h = &s->shape;
    dg_winograd_kernels()->convolve(&(struct dg_winograd_args){.images = h->images,
                                                               .height = s->turned ? h->out_height : h->height,
                                                               .width = s->turned ? h->out_width : h->width,
                                                               .channels = s->turned ? h->out : h->channels,
                                                               .out = s->turned ? h->channels : h->out,
                                                               .pad = s->turned ? 2 - h->window.pad : h->window.pad,
                                                               .src = src,
                                                               .packed = packed,
                                                               .bias = bias,
                                                               .add = s->post.sum,
                                                               .relu = s->post.relu,
                                                               .dst = dst,
                                                               .scratch = at(r, s->winograd_at),
                                                               .threads = r->threads});
}

static struct dg_packing packing(const struct dg_op_call *call)
{
    struct shape s;
    struct dg_error err;
    bool known = shape_of(&call->input[SRC], call->attr, &s, &err) == DG_OK;
    return (struct dg_packing){known && s.algo != DIRECT ? &dg_op_pack_weights : NULL, known ? s.rows : 0};
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const union dg_attr *attr = p->call->attr;
    DG_TRY(shape_of(&p->call->input[SRC], attr, &s->shape, err));
    s->bias = attr[WITH_BIAS].i;
    s->fold = attr[FOLD].i;
    s->eps = (float)attr[EPS].f;
    s->packed_once = p->constant_params;
    if (s->fold && !s->packed_once)
        return dg_fail(err, DG_ERR_INTERNAL, "a folded convolution outside an evaluation entry");
    bool bias = s->bias || s->fold;
    struct dg_post post = {.sum = !dg_absent(&p->call->input[ADDEND]), .relu = attr[RELU].i};
    s->post = post;
    s->addend_bf16 = post.sum && dg_is_bf16(&p->call->input[ADDEND]);
    s->dst_bf16 = dg_is_bf16(&p->call->output[DST]);
    open_src(p, s);
    choose_winograd(&s->shape, s->bf16);
    if (s->shape.algo == WINOGRAD) {
        open_winograd(p, s, false);
    } else if (s->shape.algo == DIRECT) {
        struct dg_conv_spec spec = conv_spec(&s->shape, DG_FORWARD);
        spec.bias = bias;
        spec.post = post;
        spec.bf16 = s->bf16;
        spec.bf16_result = s->dst_bf16;
        DG_TRY(dg_conv_open(p->engine, &spec, &s->conv, err));
        s->packed_bytes = s->conv.packed_bytes;
    } else {
        struct dg_gemm_spec spec = {.m = s->shape.rows,
                                    .n = s->shape.out,
                                    .k = s->shape.columns,
                                    .weights_row = 1,
                                    .weights_col = s->shape.columns,
                                    .bias = bias,
                                    .post = post,
                                    .bf16 = s->bf16,
                                    .bf16_dst = s->dst_bf16,
                                    .packs = true};
        DG_TRY(dg_gemm_open(p->engine, &spec, &s->gemm, err));
        s->packed_bytes = s->gemm.packed_bytes;
    }
    s->packed_bytes = dg_round_up(s->packed_bytes, 64);
    s->packed_before = dg_packed_fits(p, &p->call->input[PACKED], DG_PACKED_FOR_DST, &s->gemm);
    if (s->packed_once) {
        p->packed_bytes = s->packed_bytes + s->shape.out * (int64_t)sizeof(float);
        p->packed_layout = s->shape.algo == DIRECT ? s->conv.packed_layout : s->gemm.packed_layout;
        if (s->fold && p->packed_layout) p->packed_layout = dg_fnv1a(p->packed_layout, &s->eps, sizeof s->eps);
    } else if (!s->packed_before) {
        s->packed_at = dg_op_scratch(p, s->packed_bytes);
    }
    if (s->fold) s->plain_at = dg_op_scratch(p, s->shape.out * s->shape.columns * (int64_t)sizeof(float));
    s->dnnl_at = dg_op_scratch(p, s->gemm.scratch_bytes + s->conv.scratch_bytes);
    return DG_OK;
}

static enum dg_status pack_weights(const struct dg_run *r, struct state *s, const float *weight, void *packed,
                                   struct dg_error *err)
{
    if (s->shape.algo == WINOGRAD) {
        pack_winograd(s, weight, packed);
        return DG_OK;
    }
    if (s->shape.algo != DIRECT) return dg_gemm_pack(&s->gemm, r->stream, weight, packed, at(r, s->dnnl_at), err);
    return dg_conv_reorder(&s->conv, r->stream, (void *)(uintptr_t)weight, packed, at(r, s->dnnl_at), err);
}

/* Batch norm on running statistics is y = (x - mean) g / sqrt(var + eps) + b, a scale and a shift of each output channel, which
 * the weights and a bias can have instead. `input` are the op's, weight has [out, columns]. */
static void fold_norm(const void *const *input, int64_t out, int64_t columns, float eps, float *scaled, float *folded)
{
    const float *weight = input[WEIGHT], *bias = input[BIAS], *g = input[NORM_WEIGHT], *b = input[NORM_BIAS],
                *mean = input[NORM_MEAN], *var = input[NORM_VAR];
    for (int64_t o = 0; o < out; o++) {
        double scale = (double)g[o] / sqrt((double)var[o] + (double)eps);
        for (int64_t c = 0; c < columns; c++)
            scaled[o * columns + c] = (float)((double)weight[o * columns + c] * scale);
        folded[o] = (float)((double)b[o] + ((bias ? (double)bias[o] : 0) - (double)mean[o]) * scale);
    }
}

static enum dg_status pack(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    if (!s->packed_once) return DG_OK;
    const float *weight = r->input[WEIGHT];
    if (s->fold) {
        float *scaled = at(r, s->plain_at), *folded = (float *)((char *)r->packed + s->packed_bytes);
        fold_norm((const void *const *)r->input, s->shape.out, s->shape.columns, s->eps, scaled, folded);
        weight = scaled;
    }
    return pack_weights(r, s, weight, r->packed, err);
}

/* The convolution adds to what dst holds: the addend, which lies there already if it dies here. */
static void put_addend(const struct dg_run *r, const struct state *s)
{
    const void *addend = r->input[ADDEND];
    void *dst = r->output[DST];
    if (!addend || addend == dst) return;
    int64_t count = s->shape.rows * s->shape.out;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dg_put(dst, s->dst_bf16, i, dg_get(addend, s->addend_bf16, i));
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    void *weights = s->packed_once ? r->packed : s->packed_before ? r->input[PACKED] : at(r, s->packed_at);
    const float *bias = s->fold   ? (const float *)((char *)r->packed + s->packed_bytes)
                        : s->bias ? r->input[BIAS]
                                  : NULL;
    if (!s->packed_once && !s->packed_before) DG_TRY(pack_weights(r, s, r->input[WEIGHT], weights, err));
    const void *src = operand_of(r, s);
    put_addend(r, s);
    if (s->shape.algo == WINOGRAD) {
        run_winograd(r, s, src, weights, bias, r->output[DST]);
        return DG_OK;
    }
    if (s->shape.algo == DIRECT)
        return dg_conv_run(&s->conv, r->stream, src, weights, bias, r->output[DST], at(r, s->dnnl_at), err);
    return dg_gemm_run(&s->gemm, r->stream, src, weights, bias, r->output[DST], at(r, s->dnnl_at), err);
}

/* The weight and the bias with the batch norm in them, as constants. */
static void add_folded(struct dg_onnx_builder *b, dg_onnx_value *weight, dg_onnx_value *bias)
{
    const struct dg_desc *desc = &b->call->input[WEIGHT];
    int64_t out = desc->dim[0], columns = dg_desc_count(desc) / out;
    float *scaled = dg_onnx_room(b, out * (columns + 1));
    if (!scaled) return;
    fold_norm(b->data, out, columns, (float)b->call->attr[EPS].f, scaled, scaled + out * columns);
    *weight = b->add_floats(b, "weight.folded", 4, desc->dim, scaled);
    *bias = b->add_floats(b, "bias.folded", 1, &out, scaled + out * columns);
    free(scaled);
}

static void onnx(struct dg_onnx_builder *b)
{
    const union dg_attr *a = b->call->attr;
    int64_t k = a[KERNEL].i, s = a[STRIDE].i, p = a[PAD].i, d = a[DILATION].i;
    const struct dg_onnx_attr attr[] = {DG_ONNX_INTS("kernel_shape", 2, k, k), DG_ONNX_INTS("strides", 2, s, s),
                                        DG_ONNX_INTS("pads", 4, p, p, p, p),   DG_ONNX_INTS("dilations", 2, d, d),
                                        DG_ONNX_INT("group", a[GROUPS].i),     {0}};
    dg_onnx_value input[] = {b->input[SRC], b->input[WEIGHT], b->input[BIAS]};
    if (a[FOLD].i) add_folded(b, &input[1], &input[2]);
    dg_onnx_value dst = b->add_node(b, "Conv", attr, input, input[2] == DG_ONNX_NONE ? 2 : 3);
    if (b->input[ADDEND] != DG_ONNX_NONE) dst = dg_onnx_binary(b, "Add", dst, b->input[ADDEND]);
    b->output[DST] = a[RELU].i ? dg_onnx_unary(b, "Relu", dst) : dst;
}

static const struct dg_operand conv2d_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    [WEIGHT] = {"weight", DG_PARAM},
    [BIAS] = {"bias", DG_PARAM | DG_OPTIONAL},
    [NORM_WEIGHT] = {"norm_weight", DG_PARAM | DG_OPTIONAL},
    [NORM_BIAS] = {"norm_bias", DG_PARAM | DG_OPTIONAL},
    [NORM_MEAN] = {"norm_mean", DG_PARAM | DG_OPTIONAL},
    [NORM_VAR] = {"norm_var", DG_PARAM | DG_OPTIONAL},
    [NORM_TRACKED] = {"norm_tracked", DG_PARAM | DG_OPTIONAL, .dtype = DG_I64},
    [ADDEND] = {"addend", DG_BF16_OK | DG_OPTIONAL | DG_INTERNAL},
    [PACKED] = {"packed", DG_BF16_OK | DG_OPTIONAL | DG_INTERNAL},
    {0},
};
static const struct dg_operand conv2d_outputs[] = {
    [DST] = {"dst", DG_BF16_OK, DG_REUSE(ADDEND)},
    {0},
};

const struct dg_op dg_op_conv2d = {
    .name = "conv2d",
    .in_yaml = true,
    .doc = "2-D convolution of images.",
    .attrs = attrs,
    .inputs = conv2d_inputs,
    .outputs = conv2d_outputs,
    .reach = DG_REACH_IMAGE,
    .params = params,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .packing = packing,
    .onnx = onnx,
    .prepare = prepare,
    .pack = pack,
    .run = run,
    .release = release,
};

/* --- diff_src --- */

static const struct dg_attr_spec grad_src_attrs[] = {
    GEOMETRY,
    {.name = "height", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true},
    {.name = "width", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true},
    {0},
};

static enum dg_status shape_of_grad_src(const struct dg_op_call *call, struct shape *s, struct dg_error *err)
{
    struct dg_desc wide = dg_desc_wide(&call->input[GRAD_DIFF_DST]), *diff_dst = &wide;
    const struct dg_desc *weight = &call->input[GRAD_WEIGHT];
    DG_TRY(dg_want_ndim(diff_dst, 4, "diff_dst", err));
    DG_TRY(dg_want_ndim(weight, 4, "weight", err));
    struct dg_desc src = dg_desc_make(DG_F32, 4,
                                      (int64_t[]){diff_dst->dim[0], call->attr[HEIGHT].i, call->attr[WIDTH].i,
                                                  weight->dim[1] * call->attr[GROUPS].i});
    DG_TRY(shape_of(&src, call->attr, s, err));
    struct dg_desc dst = dst_desc(s), want = weight_desc(s);
    if (s->algo == IM2COL) s->algo = DIRECT; /* the input image needs no gradient; at 1x1, stride 2 oneDNN is as fast */
    if (dg_desc_equal(diff_dst, &dst) && dg_desc_equal(weight, &want)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "diff_dst or weight has the wrong shape");
}

static enum dg_status infer_grad_src(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    struct shape s;
    DG_TRY(shape_of_grad_src(call, &s, err));
    output[DIFF_SRC] = dg_desc_make(DG_F32, 4, (int64_t[]){s.images, s.height, s.width, s.channels});
    return dg_packed_check(&call->input[GRAD_PACKED], &call->input[GRAD_WEIGHT], err);
}

static struct dg_cost cost_grad_src(const struct dg_op_call *call)
{
    return cost_of(&call->input[GRAD_DIFF_DST], &call->input[GRAD_WEIGHT]);
}

static struct dg_packing packing_grad_src(const struct dg_op_call *call)
{
    struct shape s;
    struct dg_error err;
    bool known = shape_of_grad_src(call, &s, &err) == DG_OK;
    return (struct dg_packing){known && s.algo != DIRECT ? &dg_op_pack_weights_grad_src : NULL, known ? s.rows : 0};
}

static enum dg_status prepare_grad_src(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    DG_TRY(shape_of_grad_src(p->call, &s->shape, err));
    s->operand = dg_bf16_operand_make(p, &p->call->input[GRAD_DIFF_DST]);
    bool result_bf16 = dg_is_bf16(&p->call->output[DIFF_SRC]);
    choose_winograd(&s->shape, p->call->bf16);
    if (s->shape.algo == WINOGRAD) {
        open_winograd(p, s, true);
    } else if (s->shape.algo == DIRECT) {
        struct dg_conv_spec spec = conv_spec(&s->shape, DG_BACKWARD_DATA);
        spec.bf16 = p->call->bf16;
        spec.bf16_result = result_bf16;
        DG_TRY(dg_conv_open(p->engine, &spec, &s->conv, err));
        s->packed_bytes = s->conv.packed_bytes;
    } else {
        struct dg_gemm_spec spec = {.m = s->shape.rows,
                                    .n = s->shape.columns,
                                    .k = s->shape.out,
                                    .weights_row = s->shape.columns,
                                    .weights_col = 1,
                                    .bf16 = p->call->bf16,
                                    .bf16_dst = result_bf16,
                                    .packs = true};
        DG_TRY(dg_gemm_open(p->engine, &spec, &s->gemm, err));
        s->packed_bytes = s->gemm.packed_bytes;
    }
    s->packed_before = dg_packed_fits(p, &p->call->input[GRAD_PACKED], DG_PACKED_FOR_DIFF_SRC, &s->gemm);
    if (!s->packed_before) s->packed_at = dg_op_scratch(p, s->packed_bytes);
    s->dnnl_at = dg_op_scratch(p, s->gemm.scratch_bytes + s->conv.scratch_bytes);
    return DG_OK;
}

static enum dg_status run_grad_src(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    float *packed = s->packed_before ? r->input[GRAD_PACKED] : at(r, s->packed_at), *scratch = at(r, s->dnnl_at);
    if (!s->packed_before) DG_TRY(pack_weights(r, s, r->input[GRAD_WEIGHT], packed, err));
    const void *diff_dst = dg_bf16_operand_of(&s->operand, r, r->input[GRAD_DIFF_DST]);
    if (s->shape.algo == WINOGRAD) {
        run_winograd(r, s, diff_dst, packed, NULL, r->output[DIFF_SRC]);
        return DG_OK;
    }
    if (s->shape.algo == DIRECT)
        return dg_conv_run(&s->conv, r->stream, r->output[DIFF_SRC], packed, NULL, diff_dst, scratch, err);
    return dg_gemm_run(&s->gemm, r->stream, diff_dst, packed, NULL, r->output[DIFF_SRC], scratch, err);
}

static const struct dg_operand conv2d_grad_src_inputs[] = {
    [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK},
    [GRAD_WEIGHT] = {"weight"},
    [GRAD_PACKED] = {"packed", DG_BF16_OK | DG_OPTIONAL | DG_INTERNAL},
    {0},
};
static const struct dg_operand conv2d_grad_src_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK},
    {0},
};

const struct dg_op dg_op_conv2d_grad_src = {
    .name = "conv2d_grad_src",
    .attrs = grad_src_attrs,
    .inputs = conv2d_grad_src_inputs,
    .outputs = conv2d_grad_src_outputs,
    .infer = infer_grad_src,
    .grad = dg_no_gradient,
    .cost = cost_grad_src,
    .packing = packing_grad_src,
    .prepare = prepare_grad_src,
    .run = run_grad_src,
    .release = release,
};

/* --- diff_weight, diff_bias --- */

static const struct dg_attr_spec grad_weights_attrs[] = {GEOMETRY, {0}};

static enum dg_status infer_grad_weights(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[OUTER_SRC];
    struct shape s;
    DG_TRY(dg_want_ndim(src, 4, "src", err));
    DG_TRY(shape_of(src, call->attr, &s, err));
    struct dg_desc want = dst_desc(&s);
    if (src->dim[3] % s.groups || s.out % s.groups || !dg_desc_equal(&call->input[OUTER_DIFF_DST], &want))
        return dg_fail(err, DG_ERR_INPUT, "diff_dst has the wrong shape");
    output[DIFF_WEIGHT] = weight_desc(&s);
    output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, &s.out);
    DG_TRY(dg_want_accumulator(&call->input[ACC_WEIGHT], &output[DIFF_WEIGHT], err));
    return dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err);
}

static struct dg_cost cost_grad_weights(const struct dg_op_call *call)
{
    return cost_of(&call->input[OUTER_DIFF_DST], &call->output[DIFF_WEIGHT]);
}

/* True where oneDNN's gradient of weights is slower than our own kernel that reads windows in place, by a sixth and up to twice:
 * with a stride, and in bf16 on images of a few pixels. */
static bool is_outer_faster(const struct state *s)
{
    const struct shape *h = &s->shape;
    bool possible = h->algo == DIRECT && h->groups == 1 && h->channels >= 32 && h->window.kernel <= 3;
    return possible && (h->window.stride > 1 || (s->bf16 && h->out_width < 5));
}

static const struct dg_windows *windows_of(const struct state *s)
{
    return s->shape.algo == DIRECT ? &s->windows : NULL;
}

static enum dg_status prepare_grad_weights(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    DG_TRY(shape_of(&p->call->input[OUTER_SRC], p->call->attr, &s->shape, err));
    open_src(p, s);
    choose_winograd(&s->shape, s->bf16);
    s->outer = s->shape.algo == DIRECT ? is_outer_faster(s) : s->bf16;
    if (s->outer) {
        const struct shape *h = &s->shape;
        s->diff_bf16 = dg_is_bf16(&p->call->input[OUTER_DIFF_DST]);
        s->windows = (struct dg_windows){.height = h->height,
                                         .width = h->width,
                                         .channels = h->channels,
                                         .out_height = h->out_height,
                                         .out_width = h->out_width,
                                         .kernel = h->window.kernel,
                                         .stride = h->window.stride,
                                         .pad = h->window.pad,
                                         .dilation = h->window.dilation};
        int64_t bytes = dg_grad_weights_kernels()->scratch(h->columns, h->out, windows_of(s), p->threads);
        s->partial_at = dg_op_scratch(p, bytes);
        return DG_OK;
    }
    if (s->shape.algo == DIRECT) {
        struct dg_conv_spec spec = conv_spec(&s->shape, DG_BACKWARD_WEIGHTS);
        spec.bf16 = s->bf16;
        s->diff_dst = dg_bf16_operand_make(p, &p->call->input[OUTER_DIFF_DST]);
        DG_TRY(dg_conv_open(p->engine, &spec, &s->conv, err));
        s->packed_at = dg_op_scratch(p, s->conv.packed_bytes);
        s->plain_at = dg_op_scratch(p, s->shape.out * s->shape.columns * (int64_t)sizeof(float));
    }
    if (s->shape.algo == WINOGRAD)
        s->winograd_at = dg_op_scratch(p, dg_winograd_kernels()->grad_scratch(s->shape.channels, s->shape.out));
    s->partial_at = dg_op_scratch(p, s->shape.out * p->threads * (int64_t)sizeof(float));
    s->dnnl_at = dg_op_scratch(p, s->conv.scratch_bytes);
    return DG_OK;
}

static enum dg_status run_grad_weights(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    int64_t out = s->shape.out, columns = s->shape.columns;
    float *diff_weight = r->output[DIFF_WEIGHT];
    const float *acc = r->input[ACC_WEIGHT];
    const void *src = operand_of(r, s);
    if (s->outer) {
        dg_grad_weights_kernels()->grad_weights(&(struct dg_grad_weights_args){.bf16 = s->bf16,
                                                                               .rows = s->shape.rows,
                                                                               .in = columns,
                                                                               .out = out,
                                                                               .windows = windows_of(s),
                                                                               .src_bf16 = s->bf16,
                                                                               .src = src,
                                                                               .diff_dst_bf16 = s->diff_bf16,
                                                                               .diff_dst = r->input[OUTER_DIFF_DST],
                                                                               .acc_weight = acc,
                                                                               .acc_bias = r->input[ACC_BIAS],
                                                                               .diff_weight = diff_weight,
                                                                               .diff_bias = r->output[DIFF_BIAS],
                                                                               .scratch = at(r, s->partial_at),
                                                                               .threads = r->threads});
        return DG_OK;
    }
    const void *diff_dst = dg_bf16_operand_of(&s->diff_dst, r, r->input[OUTER_DIFF_DST]);
    if (s->shape.algo == DIRECT) {
        float *packed = at(r, s->packed_at), *plain = acc ? at(r, s->plain_at) : diff_weight;
        float *scratch = at(r, s->dnnl_at);
        DG_TRY(dg_conv_run(&s->conv, r->stream, src, packed, NULL, diff_dst, scratch, err));
        DG_TRY(dg_conv_reorder(&s->conv, r->stream, plain, packed, scratch, err));
        if (acc)
            dg_add_kernels()->add(
                &(struct dg_add_args){.count = out * columns, .a = acc, .b = plain, .dst = diff_weight});
    } else if (s->shape.algo == WINOGRAD) {
        const struct shape *h = &s->shape;
        dg_winograd_kernels()->grad_weights(&(struct dg_winograd_grad_args){.images = h->images,
                                                                            .height = h->height,
                                                                            .width = h->width,
                                                                            .channels = h->channels,
                                                                            .out = out,
                                                                            .pad = h->window.pad,
                                                                            .src = src,
                                                                            .diff_dst = diff_dst,
                                                                            .acc = acc,
                                                                            .diff_weight = diff_weight,
                                                                            .scratch = at(r, s->winograd_at)});
    } else {
        if (acc && acc != diff_weight) memcpy(diff_weight, acc, (size_t)(out * columns) * sizeof *acc);
        DG_TRY(dg_sgemm(true, false, out, columns, s->shape.rows, r->input[OUTER_DIFF_DST], out, src, columns,
                        acc ? 1 : 0, diff_weight, columns, err));
    }
    if (r->output[DIFF_BIAS])
        dg_column_sum_kernels()->column_sum(&(struct dg_column_sum_args){.rows = s->shape.rows,
                                                                         .cols = out,
                                                                         .src_bf16 = s->bf16,
                                                                         .src = diff_dst,
                                                                         .acc = r->input[ACC_BIAS],
                                                                         .dst = r->output[DIFF_BIAS],
                                                                         .partial = at(r, s->partial_at),
                                                                         .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand conv2d_grad_weights_inputs[] = {
    [OUTER_SRC] = {"src", DG_BF16_OK},
    [OUTER_DIFF_DST] = {"diff_dst", DG_BF16_OK},
    [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL},
    [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    {0},
};
static const struct dg_operand conv2d_grad_weights_outputs[] = {
    [DIFF_WEIGHT] = {"diff_weight", 0, DG_REUSE(ACC_WEIGHT)},
    [DIFF_BIAS] = {"diff_bias", DG_OPTIONAL, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_conv2d_grad_weights = {
    .name = "conv2d_grad_weights",
    .attrs = grad_weights_attrs,
    .inputs = conv2d_grad_weights_inputs,
    .outputs = conv2d_grad_weights_outputs,
    .infer = infer_grad_weights,
    .grad = dg_no_gradient,
    .cost = cost_grad_weights,
    .prepare = prepare_grad_weights,
    .run = run_grad_weights,
    .release = release,
};

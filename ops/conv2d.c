/* conv2d: 2-D convolution of an NHWC image; weight [out, in, kh, kw] as in PyTorch.
 *
 *   conv2d              (src [N,H,W,C], weight, [bias]) -> dst [N,OH,OW,out]
 *   conv2d_grad_weights (src, diff_dst, [acc_weight], [acc_bias]) -> diff_weight, [diff_bias]
 *
 * What runs today is the patch embedding, kernel == stride without padding: its patches do not overlap, so copying them
 * out (columns in the order c, ky, kx of the weight) makes it a plain matmul, twice as fast as oneDNN's convolution. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"
#include "ops/seam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_op dg_op_conv2d_grad_weights;

enum { OUT, KERNEL, STRIDE, PAD, GROUPS, BIAS }; /* attributes */

static const struct dg_attr_spec attrs[] = {
    {.name = "out", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .doc = "output channels"},
    {.name = "kernel", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1024, .doc = "window, pixels"},
    {.name = "stride", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1024, .doc = "step, pixels"},
    {.name = "pad", .type = DG_ATTR_INT, .value.i = 0, .min = 0, .max = 1024, .doc = "zeros around the image, pixels"},
    {.name = "groups", .type = DG_ATTR_INT, .value.i = 1, .min = 1, .max = 1 << 20, .doc = "channel groups"},
    {.name = "bias", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1, .doc = "add a bias"},
    {0},
};

static enum dg_status supported(const union dg_attr *attr, struct dg_error *err)
{
    if (attr[KERNEL].i == attr[STRIDE].i && !attr[PAD].i && attr[GROUPS].i == 1) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "convolution with kernel %lld, stride %lld, pad %lld, groups %lld: only patches (kernel equal to "
                   "stride, no pad, one group) can run",
                   (long long)attr[KERNEL].i, (long long)attr[STRIDE].i, (long long)attr[PAD].i,
                   (long long)attr[GROUPS].i);
}

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    if (dg_want_ndim(&call->input[0], 4, "input", err) != DG_OK) return -1;
    int64_t k = call->attr[KERNEL].i, in = call->input[0].dim[3] / call->attr[GROUPS].i;
    struct dg_init uniform = {DG_INIT_UNIFORM, 1.0 / sqrt((double)(in * k * k))}; /* PyTorch's nn.Conv2d */
    need[0] = (struct dg_param_need){.name = "weight",
                                     .desc = dg_desc_make(DG_F32, 4, (int64_t[]){call->attr[OUT].i, in, k, k}),
                                     .init = uniform,
                                     .init_from_yaml = true,
                                     .trainable = true};
    if (!call->attr[BIAS].i) return 1;
    need[1] = (struct dg_param_need){.name = "bias",
                                     .desc = dg_desc_make(DG_F32, 1, (int64_t[]){call->attr[OUT].i}),
                                     .init = uniform,
                                     .init_if_replaced = {DG_INIT_CONSTANT, 0},
                                     .trainable = true};
    return 2;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    DG_TRY(dg_want_ndim(src, 4, "input", err));
    DG_TRY(dg_want_f32(src, "input", err));
    DG_TRY(supported(call->attr, err));
    int64_t k = call->attr[KERNEL].i;
    if (src->dim[1] % k)
        return dg_fail(err, DG_ERR_INPUT, "kernel %lld does not divide height %lld", (long long)k,
                       (long long)src->dim[1]);
    if (src->dim[2] % k)
        return dg_fail(err, DG_ERR_INPUT, "kernel %lld does not divide width %lld", (long long)k,
                       (long long)src->dim[2]);
    struct dg_desc weight = dg_desc_make(DG_F32, 4, (int64_t[]){call->attr[OUT].i, src->dim[3], k, k});
    if (call->num_inputs != 2 + !!call->attr[BIAS].i || !dg_desc_equal(&call->input[1], &weight) ||
        (call->attr[BIAS].i && dg_desc_count(&call->input[2]) != call->attr[OUT].i))
        return dg_fail(err, DG_ERR_INPUT, "weight or bias has the wrong shape");
    output[0] = dg_desc_make(DG_F32, 4, (int64_t[]){src->dim[0], src->dim[1] / k, src->dim[2] / k, call->attr[OUT].i});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (b->wants[0])
        return dg_fail(b->err, DG_ERR_UNSUPPORTED, "conv2d has no gradient for its source, only for its weights");
    bool bias = b->call->attr[BIAS].i;
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[0], b->diff_output[0], b->partial(b, 1), bias ? b->partial(b, 2) : DG_NO_VALUE};
    DG_TRY(b->emit(b, &dg_op_conv2d_grad_weights, b->call->attr, input, 4, made));
    b->set(b, 1, made[0]);
    if (bias) b->set(b, 2, made[1]);
    return DG_OK;
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    const struct dg_desc *dst = &call->output[0];
    int64_t k = call->attr[KERNEL].i;
    double flops = 2.0 * (double)dg_desc_count(dst) * (double)(call->input[0].dim[3] * k * k);
    return (struct dg_cost){flops, flops};
}

struct state {
    int64_t images, height, width, channels, kernel, rows, columns, out;
    struct dg_gemm gemm;
    bool packed_once;
    int64_t patches, packed_at, scratch; /* offsets in scratch */
};

static struct state *open_state(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return NULL;
    const struct dg_desc *src = &p->call->input[0];
    s->images = src->dim[0];
    s->height = src->dim[1];
    s->width = src->dim[2];
    s->channels = src->dim[3];
    s->kernel = p->call->attr[KERNEL].i;
    s->rows = s->images * (s->height / s->kernel) * (s->width / s->kernel);
    s->columns = s->channels * s->kernel * s->kernel;
    s->out = p->call->attr[OUT].i;
    s->patches = dg_op_scratch(p, s->rows * s->columns * (int64_t)sizeof(float));
    return s;
}

static float *copy_patches(const struct dg_run *r)
{
    const struct state *s = r->state;
    float *patches = (float *)((char *)r->scratch + s->patches);
    dg_kernels()->patches(s->images, s->height, s->width, s->channels, s->kernel, r->input[0], patches);
    return patches;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, err);
    if (!s) return DG_ERR_MEMORY;
    struct dg_gemm_spec spec = {.m = s->rows,
                                .n = s->out,
                                .k = s->columns,
                                .weights_row = 1,
                                .weights_col = s->columns,
                                .bias = p->call->attr[BIAS].i,
                                .packs = true};
    DG_TRY(dg_gemm_open(p->engine, &spec, &s->gemm, err));
    s->packed_once = p->constant_params;
    if (s->packed_once)
        p->packed_bytes = s->gemm.packed_bytes;
    else
        s->packed_at = dg_op_scratch(p, s->gemm.packed_bytes);
    s->scratch = dg_op_scratch(p, s->gemm.scratch_bytes);
    return DG_OK;
}

static enum dg_status pack(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    if (!s->packed_once) return DG_OK;
    return dg_gemm_pack(&s->gemm, r->stream, r->input[1], r->packed, (char *)r->scratch + s->scratch, err);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    char *scratch = r->scratch;
    float *patches = copy_patches(r);
    void *weights = s->packed_once ? r->packed : scratch + s->packed_at;
    if (!s->packed_once) DG_TRY(dg_gemm_pack(&s->gemm, r->stream, r->input[1], weights, scratch + s->scratch, err));
    return dg_gemm_run(&s->gemm, r->stream, patches, weights, s->gemm.bias ? r->input[2] : NULL, r->output[0],
                       scratch + s->scratch, err);
}

static void release(void *state)
{
    if (state) dg_gemm_close(&((struct state *)state)->gemm);
    free(state);
}

const struct dg_op dg_op_conv2d = {
    .name = "conv2d",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}},
    .params = params,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .prepare = prepare,
    .pack = pack,
    .run = run,
    .release = release,
};

static enum dg_status infer_grad_weights(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0], *diff_dst = &call->input[1];
    int64_t k = call->attr[KERNEL].i, out = call->attr[OUT].i;
    DG_TRY(dg_want_ndim(src, 4, "src", err));
    DG_TRY(supported(call->attr, err));
    struct dg_desc want = dg_desc_make(DG_F32, 4, (int64_t[]){src->dim[0], src->dim[1] / k, src->dim[2] / k, out});
    if (!dg_desc_equal(diff_dst, &want)) return dg_fail(err, DG_ERR_INPUT, "diff_dst has the wrong shape");
    output[0] = dg_desc_make(DG_F32, 4, (int64_t[]){out, src->dim[3], k, k});
    output[1] = dg_desc_make(DG_F32, 1, (int64_t[]){out});
    for (int o = 0; o < 2; o++)
        if (!dg_absent(&call->input[2 + o]) && !dg_desc_equal(&call->input[2 + o], &output[o]))
            return dg_fail(err, DG_ERR_INPUT, "accumulator has another shape");
    return DG_OK;
}

static struct dg_cost cost_grad_weights(const struct dg_op_call *call)
{
    int64_t k = call->attr[KERNEL].i;
    double flops = 2.0 * (double)dg_desc_count(&call->input[1]) * (double)(call->input[0].dim[3] * k * k);
    return (struct dg_cost){flops, flops};
}

static enum dg_status prepare_grad_weights(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, err);
    if (!s) return DG_ERR_MEMORY;
    s->scratch = dg_op_scratch(p, s->out * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_grad_weights(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    float *patches = copy_patches(r), *diff_weight = r->output[0];
    const float *acc = r->input[2];
    if (acc && acc != diff_weight) memcpy(diff_weight, acc, (size_t)(s->out * s->columns) * sizeof *acc);
    DG_TRY(dg_sgemm(true, false, s->out, s->columns, s->rows, r->input[1], s->out, patches, s->columns, acc ? 1 : 0,
                    diff_weight, s->columns, err));
    if (r->output[1])
        dg_kernels()->column_sum(s->rows, s->out, r->input[1], r->input[3], r->output[1],
                                 (float *)((char *)r->scratch + s->scratch), r->threads);
    return DG_OK;
}

const struct dg_op dg_op_conv2d_grad_weights = {
    .name = "conv2d_grad_weights",
    .attrs = attrs,
    .min_inputs = 4,
    .max_inputs = 4,
    .output = {{"diff_weight", 0}, {"diff_bias", DG_OUT_OPTIONAL}},
    .infer = infer_grad_weights,
    .grad = dg_no_gradient,
    .cost = cost_grad_weights,
    .inplace = {3, 4},
    .prepare = prepare_grad_weights,
    .run = run_grad_weights,
    .release = release,
};

/* Cross-covariance attention (El-Nouby et al. 2021, XCiT) on the packed projection src [N,T,3D], channels [Q | K | V], each
 * head-major: in each head the channels of q attend to those of k by their cosines over the tokens, times a learned temperature.
 *
 *   cross_covariance_attention      (src, temperature [heads,1,1]) -> dst [N,T,D]
 *   cross_covariance_attention_grad (src, diff_dst, temperature, [acc]) -> diff_src, [diff_temperature]
 *
 * A task is one head of one image; the backward computes the probabilities, of width x width, again. */
#include "ops/kernels/cross_covariance.h"
#include "ops/kernels/bf16.h"
#include "ops/op.h"

#include <omp.h>

extern const struct dg_op dg_op_cross_covariance_attention_grad;

enum { HEADS, TEMPERATURE_NAME };                              /* attributes; the second of the forward only */
enum { SRC, TEMPERATURE, ROWS };                               /* inputs */
enum { DST };                                                  /* output */
enum { GRAD_SRC, DIFF_DST, GRAD_TEMPERATURE, ACC, GRAD_ROWS }; /* inputs of the gradient */
enum { DIFF_SRC, DIFF_TEMPERATURE };                           /* outputs of the gradient */

static const struct dg_attr_spec attrs[] = {
    [HEADS] = {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .doc = "number of heads"},
    [TEMPERATURE_NAME] = {.name = "temperature",
                          .type = DG_ATTR_PARAM,
                          .required = true,
                          .doc = "parameter [heads, 1, 1]"},
    {0},
};

static enum dg_status check(const struct dg_op_call *call, int temperature, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    int64_t heads = call->attr[HEADS].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (src->dim[2] % (3 * heads))
        return dg_fail(err, DG_ERR_INPUT, "input width %lld is not 3 x %lld heads x their width",
                       (long long)src->dim[2], (long long)heads);
    struct dg_desc want = dg_desc_make(DG_F32, 3, (int64_t[]){heads, 1, 1});
    if (dg_desc_equal(&call->input[temperature], &want)) return DG_OK;
    char a[96], b[96];
    return dg_fail(err, DG_ERR_INPUT, "temperature must be %s, got %s", dg_desc_text(a, sizeof a, &want),
                   dg_desc_text(b, sizeof b, &call->input[temperature]));
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, TEMPERATURE, err));
    output[DST] = call->input[SRC];
    output[DST].dim[2] /= 3;
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[SRC], b->diff_output[DST], b->input[TEMPERATURE], b->gradient_so_far(b, TEMPERATURE)};
    DG_TRY(b->emit(b, &dg_op_cross_covariance_attention_grad, b->call->attr, input, 4, made));
    if (b->wants[SRC]) DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    if (b->wants[TEMPERATURE]) b->set_gradient(b, TEMPERATURE, made[DIFF_TEMPERATURE]);
    return DG_OK;
}

/* Two products forward, five backward, of which one is made again. */
static double product_flops(const struct dg_op_call *call)
{
    const struct dg_desc *src = &call->input[SRC];
    double dim = (double)src->dim[2] / 3;
    return 2.0 * (double)src->dim[0] * (double)src->dim[1] * dim * dim / (double)call->attr[HEADS].i;
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    return (struct dg_cost){2 * product_flops(call), 2 * product_flops(call)};
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    return (struct dg_cost){5 * product_flops(call), 4 * product_flops(call)};
}

struct state {
    int64_t images, tokens, heads, width; /* width of a head */
    bool bf16;
    int64_t per_thread, partial; /* bytes of scratch; where the gradients of temperatures lie */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    int64_t heads = p->call->attr[HEADS].i, width = src->dim[2] / 3 / heads;
    *s = (struct state){src->dim[0],     src->dim[1],
                        heads,           width,
                        dg_is_bf16(src), dg_round_up(dg_cross_covariance_kernels()->scratch(src->dim[1], width), 64)};
    dg_op_scratch(p, s->per_thread * p->threads);
    s->partial = dg_op_scratch(p, s->images * heads * (int64_t)sizeof(float));
    return DG_OK;
}

/* Where the head of a task, an image and head, begins in a tensor of rows of `ld` numbers. */
static int64_t place_of(const struct state *s, int64_t task, int64_t ld)
{
    return task / s->heads * s->tokens * ld + task % s->heads * s->width;
}

static struct dg_cross_covariance_head head_of(const struct state *s, int64_t task, const void *src,
                                               const float *temperature)
{
    int64_t dim = s->heads * s->width;
    const void *q = dg_at(src, s->bf16, place_of(s, task, 3 * dim));
    return (struct dg_cross_covariance_head){.bf16 = s->bf16,
                                             .tokens = s->tokens,
                                             .width = s->width,
                                             .q = q,
                                             .k = dg_at(q, s->bf16, dim),
                                             .v = dg_at(q, s->bf16, 2 * dim),
                                             .ld = 3 * dim,
                                             .ld_dst = dim,
                                             .temperature = temperature[task % s->heads]};
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    int64_t tasks = dg_survivors(r->input[ROWS], s->images) * s->heads;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t task = 0; task < tasks; task++) {
        struct dg_cross_covariance_head head = head_of(s, task, r->input[SRC], r->input[TEMPERATURE]);
        void *dst = dg_at_out(r->output[DST], s->bf16, place_of(s, task, head.ld_dst));
        dg_cross_covariance_kernels()->forward(&head, dst, (char *)r->scratch + s->per_thread * omp_get_thread_num());
    }
    return DG_OK;
}

/* q, k and v as [N, heads, width, T], k turned. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    int64_t heads = b->call->attr[HEADS].i, dim = src->dim[2] / 3;
    dg_onnx_value part[3],
        parts = dg_onnx_reshape(b, b->input[SRC], 5, (int64_t[]){0, src->dim[1], 3, heads, dim / heads});
    parts = dg_onnx_transpose(b, parts, 5, (int64_t[]){2, 0, 3, 4, 1});
    for (int i = 0; i < 3; i++) part[i] = dg_onnx_take(b, parts, 0, i);
    for (int i = 0; i < 2; i++) part[i] = dg_onnx_l2_normalize(b, part[i], 1e-12);
    part[1] = dg_onnx_transpose(b, part[1], 4, (int64_t[]){0, 1, 3, 2});
    dg_onnx_value scores = dg_onnx_binary(b, "MatMul", part[0], part[1]);
    scores = dg_onnx_softmax(b, dg_onnx_binary(b, "Mul", scores, b->input[TEMPERATURE]), -1);
    dg_onnx_value sums = dg_onnx_binary(b, "MatMul", scores, part[2]);
    sums = dg_onnx_transpose(b, sums, 4, (int64_t[]){0, 3, 1, 2});
    b->output[DST] = dg_onnx_reshape(b, sums, 3, (int64_t[]){0, src->dim[1], dim});
}

static const struct dg_operand inputs[] = {[SRC] = {"src", DG_BF16_OK | DG_COMPACT},
                                           [TEMPERATURE] = {"temperature", DG_PARAM},
                                           [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                           {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK | DG_COMPACT}, {0}};

const struct dg_op dg_op_cross_covariance_attention = {
    .name = "cross_covariance_attention",
    .in_yaml = true,
    .doc = "Attention of channels to channels, on q, k and v, side by side in the last dimension.",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .cost = cost,
    .prepare = prepare,
    .run = run,
};

static const struct dg_attr_spec grad_attrs[] = {
    [HEADS] = {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .internal = true},
    {0},
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, GRAD_TEMPERATURE, err));
    struct dg_desc dst = call->input[GRAD_SRC];
    dst.dim[2] /= 3;
    if (!dg_desc_equal(&call->input[DIFF_DST], &dst)) return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_SRC] = call->input[GRAD_SRC];
    output[DIFF_TEMPERATURE] = call->input[GRAD_TEMPERATURE];
    return dg_want_accumulator(&call->input[ACC], &output[DIFF_TEMPERATURE], err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    int64_t tasks = dg_survivors(r->input[GRAD_ROWS], s->images) * s->heads, dim = s->heads * s->width;
    float *partial = (float *)((char *)r->scratch + s->partial), *diff = r->output[DIFF_TEMPERATURE];
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t task = 0; task < tasks; task++) {
        struct dg_cross_covariance_head head = head_of(s, task, r->input[GRAD_SRC], r->input[GRAD_TEMPERATURE]);
        void *diff_q = dg_at_out(r->output[DIFF_SRC], s->bf16, place_of(s, task, head.ld));
        partial[task] = dg_cross_covariance_kernels()->backward(
            &head, dg_at(r->input[DIFF_DST], s->bf16, place_of(s, task, head.ld_dst)), diff_q,
            dg_at_out(diff_q, s->bf16, dim), dg_at_out(diff_q, s->bf16, 2 * dim),
            (char *)r->scratch + s->per_thread * omp_get_thread_num());
    }
    if (!diff) return DG_OK;
    dg_begin_sum(diff, r->input[ACC], s->heads);
    for (int64_t task = 0; task < tasks; task++) diff[task % s->heads] += partial[task];
    return DG_OK;
}

static const struct dg_operand grad_inputs[] = {[GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT},
                                                [DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
                                                [GRAD_TEMPERATURE] = {"temperature"},
                                                [ACC] = {"acc", DG_OPTIONAL},
                                                [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                                {0}};
static const struct dg_operand grad_outputs[] = {[DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT},
                                                 [DIFF_TEMPERATURE] = {"diff_temperature", DG_OPTIONAL, DG_REUSE(ACC)},
                                                 {0}};

const struct dg_op dg_op_cross_covariance_attention_grad = {
    .name = "cross_covariance_attention_grad",
    .attrs = grad_attrs,
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare,
    .run = run_grad,
};

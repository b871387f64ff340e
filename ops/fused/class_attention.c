/* class_attention: the attention of one query token over all tokens of an image, from the input of the projection in front of it.
 * It replaces a linear layer and an attention of which one token's result is read, as in the last block of a network that ends in
 * its class token.
 *
 *   class_attention      (src [B, T, in], weight [3D, in], [bias [3D]], [rows]) -> dst [B, D]
 *   class_attention_grad (src, weight, [bias], diff_dst, [acc_weight], [acc_bias], [rows])
 *                        -> [diff_src], [diff_weight], [diff_bias]
 *
 * With one query q per head, keys and values are never computed: with k = Wk x + bk and v = Wv x + bv,
 *
 *   <q, k> = <Wk' q, x> + <q, bk>,     sum of p v = Wv (sum of p x) + bv,
 *
 * and softmax cancels <q, bk>, which is the same for all tokens. So one vector as wide as src stands for all keys and one for all
 * values, and a token costs two products with such vectors instead of a row of the projection. The gradient of bk is zero.
 *
 * All arithmetic is f32, also in a plan in bf16; src, dst and their gradients may be stored as bf16. The backward computes the
 * forward's intermediate results again, which costs next to nothing. Images are processed in groups, so that scratch does not grow
 * with the batch. */
#include "ops/kernels/class_attention.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/softmax.h"
#include "ops/op_rewrite.h"

#include <math.h>
#include <stdlib.h>

extern const struct dg_op dg_op_linear, dg_op_attention, dg_op_class_attention, dg_op_class_attention_grad;

enum { GROUP = 64 }; /* images at a time */

enum { HEADS, QUERY };                                     /* attributes */
enum { SRC, WEIGHT, BIAS, ROWS };                          /* inputs */
enum { DIFF_DST = ROWS, ACC_WEIGHT, ACC_BIAS, GRAD_ROWS }; /* further inputs of the gradient */
enum { DIFF_SRC, DIFF_WEIGHT, DIFF_BIAS };                 /* outputs of the gradient */
enum { DST };

static const struct dg_attr_spec attrs[] = {
    {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .doc = "number of heads"},
    {.name = "query", .type = DG_ATTR_INT, .required = true, .max = 1 << 24, .doc = "the query token"},
    {0},
};

static enum dg_status check_inputs(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC], *weight = &call->input[WEIGHT], *bias = &call->input[BIAS];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(dg_want_ndim(weight, 2, "weight", err));
    struct dg_desc vector = dg_desc_make(DG_F32, 1, weight->dim);
    if (weight->dim[1] != src->dim[2]) return dg_fail(err, DG_ERR_INPUT, "the weight does not fit the input");
    if (!dg_absent(bias) && !dg_desc_equal(bias, &vector))
        return dg_fail(err, DG_ERR_INPUT, "bias must have %lld elements", (long long)weight->dim[0]);
    if (weight->dim[0] % (3 * call->attr[HEADS].i))
        return dg_fail(err, DG_ERR_INPUT, "weight of %lld rows is not 3 x %lld heads", (long long)weight->dim[0],
                       (long long)call->attr[HEADS].i);
    return dg_want_token(src, call->attr[QUERY].i, err);
}

static struct dg_desc result_of(const struct dg_op_call *call)
{
    return dg_desc_make(DG_F32, 2, (int64_t[]){call->input[SRC].dim[0], call->input[WEIGHT].dim[0] / 3});
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_inputs(call, err));
    output[DST] = result_of(call);
    return DG_OK;
}

/* FLOPs of the products with the three parts of the weight, and of those with the tokens. */
static double weight_flops(const struct dg_op_call *call)
{
    return (double)call->input[SRC].dim[0] * 2 * (double)dg_desc_count(&call->input[WEIGHT]);
}
static double token_flops(const struct dg_op_call *call)
{
    return 4 * (double)call->attr[HEADS].i * (double)dg_desc_count(&call->input[SRC]);
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = weight_flops(call) + token_flops(call);
    return (struct dg_cost){flops, flops};
}

struct state {
    int64_t images, tokens, in, dim, heads, width; /* width of a head */
    int64_t query;
    float scale;
    int src_bf16, dst_bf16, diff_bf16; /* stored as bf16: src; dst or diff_dst; diff_src */
    /* Where in scratch what a group's images have is: [in], [dim], [heads, in], [heads, tokens], [heads, in], [dim] each; dst is
     * diff_dst in the backward. */
    int64_t query_tokens, queries, keys, probs, sums, dst;
    int64_t diff_query_tokens, diff_queries, diff_keys, diff_probs, diff_sums;
    int64_t row; /* [in] of each thread */
};

static int64_t room(struct dg_prepare *p, int64_t group, int64_t each)
{
    return dg_op_scratch(p, group * each * (int64_t)sizeof(float));
}

static enum dg_status open_state(struct dg_prepare *p, bool backward, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_op_call *call = p->call;
    s->images = call->input[SRC].dim[0];
    s->tokens = call->input[SRC].dim[1];
    s->in = call->input[SRC].dim[2];
    s->dim = call->input[WEIGHT].dim[0] / 3;
    s->heads = call->attr[HEADS].i;
    s->width = s->dim / s->heads;
    s->query = call->attr[QUERY].i;
    s->scale = (float)(1.0 / sqrt((double)s->width));
    s->src_bf16 = dg_is_bf16(&call->input[SRC]);
    s->dst_bf16 = dg_is_bf16(backward ? &call->input[DIFF_DST] : &call->output[DST]);
    s->diff_bf16 = backward && dg_is_bf16(&call->output[DIFF_SRC]);
    int64_t group = s->images < GROUP ? s->images : GROUP;
    s->query_tokens = room(p, group, s->in);
    s->queries = room(p, group, s->dim);
    s->keys = room(p, group, s->heads * s->in);
    s->probs = room(p, group, s->heads * s->tokens);
    s->sums = room(p, group, s->heads * s->in);
    s->dst = room(p, group, s->dim);
    if (!backward) return DG_OK;
    s->diff_sums = room(p, group, s->heads * s->in);
    s->diff_probs = room(p, group, s->heads * s->tokens);
    s->diff_keys = room(p, group, s->heads * s->in);
    s->diff_queries = room(p, group, s->dim);
    s->diff_query_tokens = room(p, group, s->in);
    s->row = room(p, p->threads, s->in);
    return DG_OK;
}

static float *at(const struct dg_run *r, int64_t offset) { return (float *)((char *)r->scratch + offset); }

/* Rows [part * dim + head * width ..) of the weight: the part of queries, keys or values that is a head's. */
enum part { QUERIES, KEYS, VALUES };
static int64_t rows_of(const struct state *s, enum part part, int64_t head)
{
    return (part * s->dim + head * s->width) * s->in;
}

/* wide[n, heads, in] = by_head[n, dim] W, head by head with its rows of the weight. */
static enum dg_status to_wide(const struct state *s, int64_t n, const float *by_head, const float *weight,
                              enum part part, float *wide, struct dg_error *err)
{
    for (int64_t h = 0; h < s->heads; h++)
        DG_TRY(dg_sgemm(false, false, n, s->in, s->width, by_head + h * s->width, s->dim, weight + rows_of(s, part, h),
                        s->in, 0, wide + h * s->in, s->heads * s->in, err));
    return DG_OK;
}

/* by_head[n, dim] = wide[n, heads, in] W', likewise. */
static enum dg_status to_by_head(const struct state *s, int64_t n, const float *wide, const float *weight,
                                 enum part part, float *by_head, struct dg_error *err)
{
    for (int64_t h = 0; h < s->heads; h++)
        DG_TRY(dg_sgemm(false, true, n, s->width, s->in, wide + h * s->in, s->heads * s->in,
                        weight + rows_of(s, part, h), s->in, 0, by_head + h * s->width, s->dim, err));
    return DG_OK;
}

/* The kernels' shape for n images. */
static struct dg_class_attention_shape shape_of(const struct state *s, int64_t n)
{
    return (struct dg_class_attention_shape){.images = n, .heads = s->heads, .tokens = s->tokens, .cols = s->in};
}

/* The forward for n images: scaled queries, key vectors, probabilities, and weighted sums of tokens. */
static enum dg_status attend(const struct state *s, const struct dg_run *r, int64_t n, const void *src,
                             struct dg_error *err)
{
    const float *weight = r->input[WEIGHT], *bias = r->input[BIAS];
    float *query_tokens = at(r, s->query_tokens), *queries = at(r, s->queries), *probs = at(r, s->probs);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < s->in; c++)
            query_tokens[i * s->in + c] = dg_get(src, s->src_bf16, (i * s->tokens + s->query) * s->in + c);
    DG_TRY(dg_sgemm(false, true, n, s->dim, s->in, query_tokens, s->in, weight, s->in, 0, queries, s->dim, err));
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < s->dim; c++)
            queries[i * s->dim + c] = s->scale * (queries[i * s->dim + c] + (bias ? bias[c] : 0));
    DG_TRY(to_wide(s, n, queries, weight, KEYS, at(r, s->keys), err));
    struct dg_class_attention_shape shape = shape_of(s, n);
    dg_class_attention_kernels()->scores(&shape, at(r, s->keys), s->src_bf16, src, probs);
    dg_softmax_kernels()->forward(n * s->heads, s->tokens, probs, probs);
    dg_class_attention_kernels()->sums(&shape, probs, s->src_bf16, src, at(r, s->sums));
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err) { return open_state(p, false, err); }

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *bias = r->input[BIAS];
    float *dst = at(r, s->dst);
    int64_t images = dg_survivors(r->input[ROWS], s->images);
    for (int64_t first = 0; first < images; first += GROUP) {
        int64_t n = images - first < GROUP ? images - first : GROUP;
        DG_TRY(attend(s, r, n, dg_at(r->input[SRC], s->src_bf16, first * s->tokens * s->in), err));
        DG_TRY(to_by_head(s, n, at(r, s->sums), r->input[WEIGHT], VALUES, dst, err));
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < s->dim; c++)
                dg_put(r->output[DST], s->dst_bf16, (first + i) * s->dim + c,
                       dst[i * s->dim + c] + (bias ? bias[VALUES * s->dim + c] : 0));
    }
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    bool bias = b->input[BIAS] != DG_NO_VALUE;
    dg_value input[] = {b->input[SRC],
                        b->input[WEIGHT],
                        b->input[BIAS],
                        b->diff_output[DST],
                        b->gradient_so_far(b, WEIGHT),
                        bias ? b->gradient_so_far(b, BIAS) : DG_NO_VALUE};
    DG_TRY(b->emit(b, &dg_op_class_attention_grad, b->call->attr, input, 6, made));
    if (b->wants[WEIGHT]) b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
    if (bias && b->wants[BIAS]) b->set_gradient(b, BIAS, made[DIFF_BIAS]);
    return b->wants[SRC] ? b->add_gradient(b, SRC, made[DIFF_SRC]) : DG_OK;
}

static const struct dg_operand class_attention_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [WEIGHT] = {"weight"},
    [BIAS] = {"bias", DG_OPTIONAL},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand class_attention_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT},
    {0},
};

/* A part of the weight, by heads: [heads, width, in]; `turned`: [heads, in, width]. */
static dg_onnx_value add_part(struct dg_onnx_builder *b, const char *what, enum part part, bool turned)
{
    int64_t heads = b->call->attr[HEADS].i, dim = b->call->input[WEIGHT].dim[0] / 3, in = b->call->input[WEIGHT].dim[1];
    const float *weight = (const float *)b->data[WEIGHT] + part * dim * in;
    int64_t shape[] = {heads, turned ? in : dim / heads, turned ? dim / heads : in};
    if (!turned) return b->add_floats(b, what, 3, shape, weight);
    float *made = dg_onnx_room(b, dim * in);
    if (!made) return DG_ONNX_NONE;
    for (int64_t d = 0; d < dim; d++)
        for (int64_t c = 0; c < in; c++) made[(d / shape[2] * in + c) * shape[2] + d % shape[2]] = weight[d * in + c];
    dg_onnx_value value = b->add_floats(b, what, 3, shape, made);
    free(made);
    return value;
}

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC], *weight = &b->call->input[WEIGHT];
    int64_t heads = b->call->attr[HEADS].i, dim = weight->dim[0] / 3, in = src->dim[2];
    const float *bias = b->data[BIAS];
    dg_onnx_value q = dg_onnx_take(b, b->input[SRC], 1, b->call->attr[QUERY].i);
    q = dg_onnx_binary(b, "MatMul", q, dg_onnx_transposed(b, "query.T", b->data[WEIGHT], dim, in));
    if (bias) q = dg_onnx_binary(b, "Add", q, b->add_floats(b, "query.bias", 1, &dim, bias));
    q = dg_onnx_binary(b, "Mul", q, dg_onnx_scalar(b, "scale", 1 / sqrt((double)dim / (double)heads)));
    q = dg_onnx_reshape(b, q, 4, (int64_t[]){0, heads, 1, dim / heads});
    dg_onnx_value keys = dg_onnx_binary(b, "MatMul", q, add_part(b, "key", KEYS, false)); /* [N, heads, 1, in] */
    keys = dg_onnx_reshape(b, keys, 3, (int64_t[]){0, heads, in});
    dg_onnx_value tokens = dg_onnx_transpose(b, b->input[SRC], 3, (int64_t[]){0, 2, 1});
    dg_onnx_value probs = dg_onnx_softmax(b, dg_onnx_binary(b, "MatMul", keys, tokens), -1); /* [N, heads, T] */
    dg_onnx_value sums = dg_onnx_binary(b, "MatMul", probs, b->input[SRC]);
    sums = dg_onnx_reshape(b, sums, 4, (int64_t[]){0, heads, 1, in});
    dg_onnx_value dst = dg_onnx_binary(b, "MatMul", sums, add_part(b, "value.T", VALUES, true));
    dst = dg_onnx_reshape(b, dst, 2, (int64_t[]){0, dim});
    if (bias) dst = dg_onnx_binary(b, "Add", dst, b->add_floats(b, "value.bias", 1, &dim, bias + VALUES * dim));
    b->output[DST] = dst;
}

const struct dg_op dg_op_class_attention = {
    .name = "class_attention",
    .attrs = attrs,
    .inputs = class_attention_inputs,
    .outputs = class_attention_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_inputs(call, err));
    struct dg_desc want = result_of(call);
    if (!dg_desc_equal(&call->input[DIFF_DST], &want)) return dg_fail(err, DG_ERR_INPUT, "diff_dst does not fit");
    output[DIFF_SRC] = call->input[SRC];
    output[DIFF_WEIGHT] = call->input[WEIGHT];
    output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, call->input[WEIGHT].dim);
    DG_TRY(dg_want_accumulator(&call->input[ACC_WEIGHT], &output[DIFF_WEIGHT], err));
    return dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err);
}

/* The forward's products are computed again, and the gradients take twice as many. */
static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double forward = cost(call).flops;
    return (struct dg_cost){3 * forward, 2 * forward};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err) { return open_state(p, true, err); }

/* The backward for n images: gradients of the sums of tokens, the probabilities, the key vectors, the queries and their tokens. */
static enum dg_status attend_backward(const struct state *s, const struct dg_run *r, int64_t n, const void *src,
                                      struct dg_error *err)
{
    const float *weight = r->input[WEIGHT];
    float *diff_sums = at(r, s->diff_sums), *diff_probs = at(r, s->diff_probs), *diff_queries = at(r, s->diff_queries);
    DG_TRY(to_wide(s, n, at(r, s->dst), weight, VALUES, diff_sums, err));
    struct dg_class_attention_shape shape = shape_of(s, n);
    dg_class_attention_kernels()->scores(&shape, diff_sums, s->src_bf16, src, diff_probs);
    dg_softmax_kernels()->backward(n * s->heads, s->tokens, at(r, s->probs), diff_probs, diff_probs);
    dg_class_attention_kernels()->sums(&shape, diff_probs, s->src_bf16, src, at(r, s->diff_keys));
    DG_TRY(to_by_head(s, n, at(r, s->diff_keys), weight, KEYS, diff_queries, err));
    for (int64_t c = 0; c < n * s->dim; c++) diff_queries[c] *= s->scale;
    return dg_sgemm(false, false, n, s->in, s->dim, diff_queries, s->dim, weight, s->in, 0, at(r, s->diff_query_tokens),
                    s->in, err);
}

static enum dg_status add_weight(const struct state *s, const struct dg_run *r, int64_t n, struct dg_error *err)
{
    float *diff_weight = r->output[DIFF_WEIGHT];
    DG_TRY(dg_sgemm(true, false, s->dim, s->in, n, at(r, s->diff_queries), s->dim, at(r, s->query_tokens), s->in, 1,
                    diff_weight, s->in, err));
    for (int64_t h = 0; h < s->heads; h++) {
        DG_TRY(dg_sgemm(true, false, s->width, s->in, n, at(r, s->queries) + h * s->width, s->dim,
                        at(r, s->diff_keys) + h * s->in, s->heads * s->in, 1, diff_weight + rows_of(s, KEYS, h), s->in,
                        err));
        DG_TRY(dg_sgemm(true, false, s->width, s->in, n, at(r, s->dst) + h * s->width, s->dim,
                        at(r, s->sums) + h * s->in, s->heads * s->in, 1, diff_weight + rows_of(s, VALUES, h), s->in,
                        err));
    }
    return DG_OK;
}

static void add_bias(const struct state *s, const struct dg_run *r, int64_t n)
{
    float *diff_bias = r->output[DIFF_BIAS];
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < s->dim; c++) {
            diff_bias[QUERIES * s->dim + c] += at(r, s->diff_queries)[i * s->dim + c];
            diff_bias[VALUES * s->dim + c] += at(r, s->dst)[i * s->dim + c];
        }
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    int64_t images = dg_survivors(r->input[GRAD_ROWS], s->images);
    if (r->output[DIFF_WEIGHT]) dg_begin_sum(r->output[DIFF_WEIGHT], r->input[ACC_WEIGHT], 3 * s->dim * s->in);
    if (r->output[DIFF_BIAS]) dg_begin_sum(r->output[DIFF_BIAS], r->input[ACC_BIAS], 3 * s->dim);
    for (int64_t first = 0; first < images; first += GROUP) {
        int64_t n = images - first < GROUP ? images - first : GROUP, from = first * s->tokens * s->in;
        const void *src = dg_at(r->input[SRC], s->src_bf16, from);
        DG_TRY(attend(s, r, n, src, err));
        for (int64_t c = 0; c < n * s->dim; c++)
            at(r, s->dst)[c] = dg_get(r->input[DIFF_DST], s->dst_bf16, first * s->dim + c);
        DG_TRY(attend_backward(s, r, n, src, err));
        if (r->output[DIFF_WEIGHT]) DG_TRY(add_weight(s, r, n, err));
        if (r->output[DIFF_BIAS]) add_bias(s, r, n);
        if (r->output[DIFF_SRC])
            dg_class_attention_kernels()->backward(
                &(struct dg_class_attention_grad_args){.shape = shape_of(s, n),
                                                       .diff_scores = at(r, s->diff_probs),
                                                       .vectors = at(r, s->keys),
                                                       .weights = at(r, s->probs),
                                                       .diff_sums = at(r, s->diff_sums),
                                                       .query = s->query,
                                                       .diff_query = at(r, s->diff_query_tokens),
                                                       .scratch = at(r, s->row),
                                                       .threads = r->threads,
                                                       .diff_src_bf16 = s->diff_bf16,
                                                       .diff_src = dg_at_out(r->output[DIFF_SRC], s->diff_bf16, from)});
    }
    return DG_OK;
}

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    bool one_query = dg_attr_of(&m->consumer, "query").i >= 0;
    if (!one_query || dg_is_wanted(&m->consumer, "probs") || dg_is_wanted(&m->consumer, "lse")) return false;
    made->op = &dg_op_class_attention;
    made->attr[HEADS] = dg_attr_of(&m->consumer, "heads");
    made->attr[QUERY] = dg_attr_of(&m->consumer, "query");
    made->input[SRC] = dg_input_of(&m->producer, "src");
    made->input[WEIGHT] = dg_input_of(&m->producer, "weight");
    made->input[BIAS] = dg_input_of(&m->producer, "bias");
    made->output[DST] = dg_output_of(&m->consumer, "dst");
    return true;
}

const struct dg_rewrite dg_fuse_class_attention = {.name = "linear + attention",
                                                   .producer = &dg_op_linear,
                                                   .consumer = &dg_op_attention,
                                                   .phase = DG_FUSE_FORWARD,
                                                   .build = build};

/* --- gradient --- */

static const struct dg_operand class_attention_grad_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [WEIGHT] = {"weight"},
    [BIAS] = {"bias", DG_OPTIONAL},
    [DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL},
    [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand class_attention_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL | DG_BF16_OK | DG_COMPACT},
    [DIFF_WEIGHT] = {"diff_weight", DG_OPTIONAL, DG_REUSE(ACC_WEIGHT)},
    [DIFF_BIAS] = {"diff_bias", DG_OPTIONAL, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_class_attention_grad = {
    .name = "class_attention_grad",
    .attrs = attrs,
    .inputs = class_attention_grad_inputs,
    .outputs = class_attention_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare_grad,
    .run = run_grad,
};

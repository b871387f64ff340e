/* Multi-head self-attention on the packed projection src [B, T, 3D], channels [Q | K | V], each head-major.
 *
 *   attention      (src) -> dst [B, T, D], [probs [B, heads, T, T]], [lse [B, heads, T], for the backward]
 *   attention_grad (src, dst, diff_dst, lse) -> diff_src [B, T, 3D]
 *
 * With `query`, which the compiler sets where one token's result is read, only that token is a query: dst is [B, D], probs
 * [B, heads, T] and lse [B, heads].
 *
 * A task is one head of one image. Blocks of the score matrix live in a thread's scratch and never leave the cache; the backward
 * computes them again from the saved log-sum-exp, so nothing of size T x T is saved. q, k and v are read in place, through the
 * strides of the projection (ops/kernels/attention.c). */
#include "ops/kernels/attention.h"
#include "ops/op.h"

#include <math.h>
#include <omp.h>
#include <string.h>

extern const struct dg_op dg_op_attention_grad;

enum { HEADS, QUERY };                                      /* attributes */
enum { SRC, ROWS };                                         /* inputs */
enum { DST, PROBS, LSE };                                   /* outputs */
enum { GRAD_SRC, GRAD_DST, DIFF_DST, GRAD_LSE, GRAD_ROWS }; /* inputs of the gradient */
enum { DIFF_SRC };                                          /* output of the gradient */

static const struct dg_attr_spec attrs[] = {
    {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .doc = "number of heads"},
    {.name = "query",
     .type = DG_ATTR_INT,
     .value.i = -1,
     .min = -1,
     .max = 1 << 24,
     .internal = true,
     .doc = "the only query token; -1: every token is one"},
    {0},
};

static int64_t queries_of(const struct dg_op_call *call)
{
    return call->attr[QUERY].i < 0 ? call->input[SRC].dim[1] : 1;
}

static enum dg_status check_source(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    int64_t heads = call->attr[HEADS].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (src->dim[2] % 3) return dg_fail(err, DG_ERR_INPUT, "input width %lld is not 3 x dim", (long long)src->dim[2]);
    if (src->dim[2] / 3 % heads)
        return dg_fail(err, DG_ERR_INPUT, "heads %lld does not divide dim %lld", (long long)heads,
                       (long long)src->dim[2] / 3);
    return dg_want_token(src, call->attr[QUERY].i, err);
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_source(call, err));
    const struct dg_desc *src = &call->input[SRC];
    int64_t images = src->dim[0], tokens = src->dim[1], dim = src->dim[2] / 3, heads = call->attr[HEADS].i;
    if (call->attr[QUERY].i < 0) {
        output[DST] = dg_desc_make(DG_F32, 3, (int64_t[]){images, tokens, dim});
        output[PROBS] = dg_desc_make(DG_F32, 4, (int64_t[]){images, heads, tokens, tokens});
        output[LSE] = dg_desc_make(DG_F32, 3, (int64_t[]){images, heads, tokens});
    } else {
        output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){images, dim});
        output[PROBS] = dg_desc_make(DG_F32, 3, (int64_t[]){images, heads, tokens});
        output[LSE] = dg_desc_make(DG_F32, 2, (int64_t[]){images, heads});
    }
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (b->diff_output[PROBS] != DG_NO_VALUE)
        return dg_fail(b->err, DG_ERR_UNSUPPORTED, "attention has no gradient for its output probs");
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[SRC], b->output[DST], b->diff_output[DST], b->output[LSE]};
    DG_TRY(b->emit(b, &dg_op_attention_grad, b->call->attr, input, 4, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

/* Two matrix products forward, four backward; a fifth computes the scores again, which is not useful work. */
static double product_flops(const struct dg_op_call *call)
{
    const struct dg_desc *src = &call->input[SRC];
    return 2.0 * (double)src->dim[0] * (double)queries_of(call) * (double)src->dim[1] * (double)(src->dim[2] / 3);
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = 2 * product_flops(call);
    return (struct dg_cost){flops, flops};
}

struct state {
    int64_t images, tokens, dim, heads, width; /* width of a head */
    int64_t queries, query;                    /* how many query tokens, and the first one */
    float scale;
    int bf16;           /* all activations are bf16 */
    int64_t per_thread; /* bytes of scratch */
};

static enum dg_status open_state(struct dg_prepare *p, bool backward, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->images = src->dim[0];
    s->tokens = src->dim[1];
    s->dim = src->dim[2] / 3;
    s->queries = queries_of(p->call);
    s->query = p->call->attr[QUERY].i < 0 ? 0 : p->call->attr[QUERY].i;
    s->heads = p->call->attr[HEADS].i;
    s->width = s->dim / s->heads;
    s->scale = (float)(1.0 / sqrt((double)s->width));
    s->bf16 = src->dtype == DG_BF16;
    if (s->bf16 && s->width % 2)
        return dg_fail(err, DG_ERR_UNSUPPORTED, "in bf16 the width of a head must be even, not %lld: compile it in f32",
                       (long long)s->width);
    struct dg_attention_scratch scratch = dg_attention_kernels()->scratch(s->tokens, s->width);
    s->per_thread = dg_round_up(backward ? scratch.backward : scratch.forward, 64);
    dg_op_scratch(p, s->per_thread * p->threads);
    return DG_OK;
}

static int64_t bytes(const struct state *s, int64_t numbers) { return numbers * (s->bf16 ? 2 : 4); }

/* From a task's head to the next one's in rows of `ld`, `rows` an image; 0 for the last. */
static int64_t to_next(const struct state *s, int64_t task, int64_t tasks, int64_t rows, int64_t ld)
{
    if (task + 1 == tasks) return 0;
    return (task + 1) % s->heads ? s->width : rows * ld - (s->heads - 1) * s->width;
}

/* The kernel arguments for a task, an image and head, of `tasks`; src [tokens, 3, heads, width] is the image's from the head on. */
static struct dg_attention_head head_of(const struct state *s, int64_t task, int64_t tasks, const char *src)
{
    int64_t ld = 3 * s->dim, dim = bytes(s, s->dim);
    return (struct dg_attention_head){.bf16 = s->bf16,
                                      .queries = s->queries,
                                      .tokens = s->tokens,
                                      .width = s->width,
                                      .q = src + bytes(s, s->query * ld),
                                      .k = src + dim,
                                      .v = src + 2 * dim,
                                      .ld = ld,
                                      .next = to_next(s, task, tasks, s->tokens, ld),
                                      .ld_dst = s->dim,
                                      .next_dst = to_next(s, task, tasks, s->queries, s->dim),
                                      .scale = s->scale};
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err) { return open_state(p, false, err); }

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    float *probs = r->output[PROBS], *lse = r->output[LSE];
    int64_t tasks = dg_survivors(r->input[ROWS], s->images) * s->heads;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t image = task / s->heads, head = task % s->heads, ld = 3 * s->dim;
        const char *src = (const char *)r->input[SRC] + bytes(s, image * s->tokens * ld + head * s->width);
        char *dst = (char *)r->output[DST] + bytes(s, image * s->queries * s->dim + head * s->width);
        struct dg_attention_head kernel_head = head_of(s, task, tasks, src);
        dg_attention_kernels()->forward(&kernel_head, dst, probs ? probs + task * s->queries * s->tokens : NULL,
                                        lse ? lse + task * s->queries : NULL,
                                        (char *)r->scratch + s->per_thread * omp_get_thread_num());
    }
    return DG_OK;
}

static const struct dg_operand attention_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand attention_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT},
    [PROBS] = {"probs", DG_OPTIONAL | DG_COMPACT},
    [LSE] = {"lse", DG_SAVED | DG_COMPACT},
    {0},
};

/* Softmax of q k' / sqrt(width), times v, for each head. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    int64_t heads = b->call->attr[HEADS].i, query = b->call->attr[QUERY].i, dim = src->dim[2] / 3;
    if (b->call->output_wanted[PROBS]) {
        dg_fail(b->err, DG_ERR_UNSUPPORTED, "attention's output probs is not written as ONNX");
        return;
    }
    dg_onnx_value parts = dg_onnx_reshape(b, b->input[SRC], 5, (int64_t[]){0, src->dim[1], 3, heads, dim / heads});
    parts = dg_onnx_transpose(b, parts, 5, (int64_t[]){2, 0, 3, 1, 4}); /* [3, N, heads, T, width] */
    dg_onnx_value q = dg_onnx_take(b, parts, 0, 0), k = dg_onnx_take(b, parts, 0, 1), v = dg_onnx_take(b, parts, 0, 2);
    if (query >= 0) q = dg_onnx_reshape(b, dg_onnx_take(b, q, 2, query), 4, (int64_t[]){0, heads, 1, dim / heads});
    q = dg_onnx_binary(b, "Mul", q, dg_onnx_scalar(b, "scale", 1 / sqrt((double)dim / (double)heads)));
    dg_onnx_value scores = dg_onnx_binary(b, "MatMul", q, dg_onnx_transpose(b, k, 4, (int64_t[]){0, 1, 3, 2}));
    dg_onnx_value sums =
        dg_onnx_binary(b, "MatMul", dg_onnx_softmax(b, scores, -1), v); /* [N, heads, queries, width] */
    if (query >= 0) {
        b->output[DST] = dg_onnx_reshape(b, sums, 2, (int64_t[]){0, dim});
        return;
    }
    sums = dg_onnx_transpose(b, sums, 4, (int64_t[]){0, 2, 1, 3});
    b->output[DST] = dg_onnx_reshape(b, sums, 3, (int64_t[]){0, src->dim[1], dim});
}

const struct dg_op dg_op_attention = {
    .name = "attention",
    .in_yaml = true,
    .doc = "Self-attention on q, k and v, side by side in the last dimension.",
    .attrs = attrs,
    .inputs = attention_inputs,
    .outputs = attention_outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE,
    .token_attr = "query",
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_source(call, err));
    struct dg_desc want[3];
    DG_TRY(infer(call, want, err));
    if (!dg_desc_equal(&call->input[GRAD_DST], &want[0]) || !dg_desc_equal(&call->input[DIFF_DST], &want[0]) ||
        !dg_desc_equal(&call->input[GRAD_LSE], &want[2]))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_SRC] = call->input[GRAD_SRC];
    return DG_OK;
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double product = product_flops(call);
    return (struct dg_cost){5 * product, 4 * product};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err) { return open_state(p, true, err); }

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *lse = r->input[GRAD_LSE];
    int64_t tasks = dg_survivors(r->input[GRAD_ROWS], s->images) * s->heads;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t image = task / s->heads, head = task % s->heads, ld = 3 * s->dim, dim = bytes(s, s->dim);
        int64_t packed = bytes(s, image * s->tokens * ld + head * s->width);
        int64_t plain = bytes(s, image * s->queries * s->dim + head * s->width), query = bytes(s, s->query * ld);
        const char *src = (const char *)r->input[GRAD_SRC] + packed;
        char *diff_src = (char *)r->output[DIFF_SRC] + packed;
        for (int64_t t = 0; s->queries < s->tokens && t < s->tokens; t++)
            memset(diff_src + bytes(s, t * ld), 0,
                   (size_t)bytes(s, s->width)); /* tokens that are no query get no gradient through q */
        dg_attention_kernels()->backward(
            &(struct dg_attention_grad_args){.head = head_of(s, task, tasks, src),
                                             .dst = (const char *)r->input[GRAD_DST] + plain,
                                             .diff_dst = (const char *)r->input[DIFF_DST] + plain,
                                             .lse = lse + task * s->queries,
                                             .diff_q = diff_src + query,
                                             .diff_k = diff_src + dim,
                                             .diff_v = diff_src + 2 * dim,
                                             .scratch = (char *)r->scratch + s->per_thread * omp_get_thread_num()});
    }
    return DG_OK;
}

static const struct dg_operand attention_grad_inputs[] = {
    [GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT},      [GRAD_DST] = {"dst", DG_BF16_OK | DG_COMPACT},
    [DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT}, [GRAD_LSE] = {"lse", DG_COMPACT},
    [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},   {0},
};
static const struct dg_operand attention_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT},
    {0},
};

const struct dg_op dg_op_attention_grad = {
    .name = "attention_grad",
    .attrs = attrs,
    .inputs = attention_grad_inputs,
    .outputs = attention_grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare_grad,
    .run = run_grad,
};

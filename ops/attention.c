/* Multi-head self-attention on the packed projection src [B, T, 3D], channels [Q | K | V], each head-major.
 *
 *   attention      (src) -> dst [B, T, D], [probs [B, heads, T, T]], [lse [B, heads, T], for the backward]
 *   attention_grad (src, dst, diff_dst, lse) -> diff_src [B, T, 3D]
 *
 * One task is one image and head: blocks of rows of the score matrix live in a thread's scratch and never leave the cache,
 * and the backward makes them again from the saved log-sum-exp, so nothing of size T x T is kept. q, k and v are read where
 * they stand, through the strides of the projection. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"
#include "ops/seam.h"

#include <math.h>
#include <omp.h>
#include <string.h>

extern const struct dg_op dg_op_attention_grad;

enum { ROW_BLOCK = 200 }; /* rows of scores a thread holds: half a MiB at 785 tokens */

static const struct dg_attr_spec attrs[] = {
    {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .doc = "number of heads"},
    {0},
};

static enum dg_status check_source(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0];
    int64_t heads = call->attr[0].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(dg_want_f32(src, "input", err));
    if (src->dim[2] % 3) return dg_fail(err, DG_ERR_INPUT, "input width %lld is not 3 x dim", (long long)src->dim[2]);
    if (src->dim[2] / 3 % heads)
        return dg_fail(err, DG_ERR_INPUT, "heads %lld does not divide dim %lld", (long long)heads,
                       (long long)src->dim[2] / 3);
    return DG_OK;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_source(call, err));
    const struct dg_desc *src = &call->input[0];
    int64_t images = src->dim[0], tokens = src->dim[1], heads = call->attr[0].i;
    output[0] = dg_desc_make(DG_F32, 3, (int64_t[]){images, tokens, src->dim[2] / 3});
    output[1] = dg_desc_make(DG_F32, 4, (int64_t[]){images, heads, tokens, tokens});
    output[2] = dg_desc_make(DG_F32, 3, (int64_t[]){images, heads, tokens});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (b->diff_output[1] != DG_NO_VALUE)
        return dg_fail(b->err, DG_ERR_UNSUPPORTED, "attention has no gradient for its output probs");
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[0], b->output[0], b->diff_output[0], b->output[2]};
    DG_TRY(b->emit(b, &dg_op_attention_grad, b->call->attr, input, 4, made));
    return b->give(b, 0, made[0]);
}

/* Two matrix products forward, four backward; making the scores again is not counted as useful. */
static double product_flops(const struct dg_desc *src)
{
    return 2.0 * (double)src->dim[0] * (double)src->dim[1] * (double)src->dim[1] * (double)(src->dim[2] / 3);
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = 2 * product_flops(&call->input[0]);
    return (struct dg_cost){flops, flops};
}

struct state {
    int64_t images, tokens, dim, heads, width, rows; /* width of a head; rows of a score block */
    float scale;
    int64_t per_thread; /* floats of scratch */
};

static enum dg_status open_state(struct dg_prepare *p, int score_blocks, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[0];
    s->images = src->dim[0];
    s->tokens = src->dim[1];
    s->dim = src->dim[2] / 3;
    s->heads = p->call->attr[0].i;
    s->width = s->dim / s->heads;
    s->scale = (float)(1.0 / sqrt((double)s->width));
    int64_t blocks = (s->tokens + ROW_BLOCK - 1) / ROW_BLOCK;
    s->rows = (s->tokens + blocks - 1) / blocks; /* blocks of equal height */
    s->per_thread = dg_round_up(score_blocks * s->rows * s->tokens + s->rows, 64);
    dg_op_scratch(p, s->per_thread * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err) { return open_state(p, 1, err); }

/* One image and head. */
static enum dg_status forward_head(const struct state *s, const float *q, float *dst, float *probs, float *lse,
                                   float *scratch)
{
    const struct dg_kernel_table *kernels = dg_kernels();
    const float *k = q + s->dim, *v = k + s->dim;
    int64_t ld = 3 * s->dim;
    float *sum = scratch + s->rows * s->tokens;
    for (int64_t row = 0; row < s->tokens; row += s->rows) {
        int64_t rows = dg_min_i64(s->rows, s->tokens - row);
        float *scores = probs ? probs + row * s->tokens : scratch, *out = dst + row * s->dim;
        DG_TRY(dg_sgemm(false, true, rows, s->tokens, s->width, q + row * ld, ld, k, ld, 0, scores, s->tokens, NULL));
        kernels->attention_exp(rows, s->tokens, s->scale, scores, sum, lse ? lse + row : NULL);
        if (probs) {
            kernels->attention_divide(rows, s->tokens, sum, scores, s->tokens);
            DG_TRY(dg_sgemm(false, false, rows, s->width, s->tokens, scores, s->tokens, v, ld, 0, out, s->dim, NULL));
        } else {
            DG_TRY(dg_sgemm(false, false, rows, s->width, s->tokens, scores, s->tokens, v, ld, 0, out, s->dim, NULL));
            kernels->attention_divide(rows, s->width, sum, out, s->dim);
        }
    }
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[0];
    float *dst = r->output[0], *probs = r->output[1], *lse = r->output[2];
    int failed = 0;
#pragma omp parallel for schedule(static) num_threads(r->threads) reduction(| : failed)
    for (int64_t task = 0; task < s->images * s->heads; task++) {
        int64_t image = task / s->heads, head = task % s->heads;
        failed |= forward_head(s, src + image * s->tokens * 3 * s->dim + head * s->width,
                               dst + image * s->tokens * s->dim + head * s->width,
                               probs ? probs + task * s->tokens * s->tokens : NULL, lse ? lse + task * s->tokens : NULL,
                               (float *)r->scratch + s->per_thread * omp_get_thread_num()) != DG_OK;
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

const struct dg_op dg_op_attention = {
    .name = "attention",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}, {"probs", DG_OUT_OPTIONAL}, {"lse", DG_OUT_SAVED}},
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check_source(call, err));
    struct dg_desc want[3];
    DG_TRY(infer(call, want, err));
    if (!dg_desc_equal(&call->input[1], &want[0]) || !dg_desc_equal(&call->input[2], &want[0]) ||
        !dg_desc_equal(&call->input[3], &want[2]))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[0] = call->input[0];
    return DG_OK;
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double product = product_flops(&call->input[0]);
    return (struct dg_cost){5 * product, 4 * product};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err) { return open_state(p, 2, err); }

static enum dg_status backward_head(const struct state *s, const float *q, const float *dst, const float *diff_dst,
                                    const float *lse, float *diff_q, float *scratch)
{
    const struct dg_kernel_table *kernels = dg_kernels();
    const float *k = q + s->dim, *v = k + s->dim;
    float *diff_k = diff_q + s->dim, *diff_v = diff_k + s->dim;
    int64_t ld = 3 * s->dim, t = s->tokens, w = s->width;
    float *probs = scratch, *diff = probs + s->rows * t, *delta = diff + s->rows * t;
    for (int64_t row = 0; row < t; row += s->rows) {
        int64_t rows = dg_min_i64(s->rows, t - row);
        const float *dy = diff_dst + row * s->dim;
        float beta = row ? 1 : 0; /* keys and values collect over the blocks of rows */
        DG_TRY(dg_sgemm(false, true, rows, t, w, q + row * ld, ld, k, ld, 0, probs, t, NULL));
        kernels->attention_again(rows, t, s->scale, lse + row, probs);
        DG_TRY(dg_sgemm(true, false, t, w, rows, probs, t, dy, s->dim, beta, diff_v, ld, NULL));
        DG_TRY(dg_sgemm(false, true, rows, t, w, dy, s->dim, v, ld, 0, diff, t, NULL));
        kernels->row_dots(rows, w, dy, s->dim, dst + row * s->dim, s->dim, delta);
        kernels->attention_diff(rows, t, s->scale, probs, delta, diff);
        DG_TRY(dg_sgemm(false, false, rows, w, t, diff, t, k, ld, 0, diff_q + row * ld, ld, NULL));
        DG_TRY(dg_sgemm(true, false, t, w, rows, diff, t, q + row * ld, ld, beta, diff_k, ld, NULL));
    }
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[0], *dst = r->input[1], *diff_dst = r->input[2], *lse = r->input[3];
    float *diff_src = r->output[0];
    int failed = 0;
#pragma omp parallel for schedule(static) num_threads(r->threads) reduction(| : failed)
    for (int64_t task = 0; task < s->images * s->heads; task++) {
        int64_t image = task / s->heads, head = task % s->heads;
        int64_t packed = image * s->tokens * 3 * s->dim + head * s->width;
        int64_t plain = image * s->tokens * s->dim + head * s->width;
        failed |= backward_head(s, src + packed, dst + plain, diff_dst + plain, lse + task * s->tokens,
                                diff_src + packed, (float *)r->scratch + s->per_thread * omp_get_thread_num()) != DG_OK;
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

const struct dg_op dg_op_attention_grad = {
    .name = "attention_grad",
    .attrs = attrs,
    .min_inputs = 4,
    .max_inputs = 4,
    .output = {{"diff_src", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare_grad,
    .run = run_grad,
};

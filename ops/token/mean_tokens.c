/* The mean of an image's tokens.
 *
 *   mean_tokens      (src [N,T,D]) -> dst [N,D], the mean over tokens first .. T-1
 *   mean_tokens_grad (diff_dst [N,D]) -> diff_src [N,T,D], zero for the tokens before first */
#include "ops/kernels/pool.h"
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_mean_tokens_grad;

enum { FIRST, TOKENS }; /* attributes; the second of the gradient only */
enum { SRC };           /* input */
enum { DST };           /* output */
enum { DIFF_DST };      /* input of the gradient */
enum { DIFF_SRC };      /* output of the gradient */

static const struct dg_attr_spec attrs[] = {
    {.name = "first", .type = DG_ATTR_INT, .min = 0, .max = 1 << 24, .doc = "tokens before this one are left out"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(dg_want_token(src, call->attr[FIRST].i, err));
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], src->dim[2]});
    return DG_OK;
}

static const struct dg_attr_spec grad_attrs[] = {
    {.name = "first", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 1 << 24, .internal = true},
    {.name = "tokens", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 24, .internal = true},
    {0},
};

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    union dg_attr attr[] = {b->call->attr[FIRST], {.i = b->call->input[SRC].dim[1]}};
    DG_TRY(b->emit(b, &dg_op_mean_tokens_grad, attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

struct state {
    int64_t images, tokens, dim, first;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = p->call->input[SRC].ndim == 3 ? &p->call->input[SRC] : &p->call->output[DST];
    *s = (struct state){src->dim[0], src->dim[1], src->dim[2], p->call->attr[FIRST].i};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC];
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) /* the kernel's own loop over images takes all tokens of each */
        dg_pool_kernels()->global_mean(1, s->tokens - s->first, s->dim, false,
                                       src + (n * s->tokens + s->first) * s->dim, dst + n * s->dim);
    return DG_OK;
}

static const struct dg_operand mean_tokens_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand mean_tokens_outputs[] = {
    [DST] = {"dst"},
    {0},
};

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INTS("axes", 1, 1), DG_ONNX_INT("keepdims", 0), {0}};
    int64_t first = b->call->attr[FIRST].i;
    dg_onnx_value tokens = b->input[SRC];
    if (first) tokens = dg_onnx_slice(b, tokens, 1, first, b->call->input[SRC].dim[1]);
    b->output[DST] = b->add_node(b, "ReduceMean", attr, &tokens, 1);
}

const struct dg_op dg_op_mean_tokens = {
    .name = "mean_tokens",
    .in_yaml = true,
    .doc = "Mean over the tokens of each image.",
    .attrs = attrs,
    .inputs = mean_tokens_inputs,
    .outputs = mean_tokens_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    DG_TRY(dg_want_ndim(diff_dst, 2, "diff_dst", err));
    if (call->attr[FIRST].i >= call->attr[TOKENS].i) return dg_fail(err, DG_ERR_INPUT, "first is beyond the tokens");
    output[DIFF_SRC] = dg_desc_make(DG_F32, 3, (int64_t[]){diff_dst->dim[0], call->attr[TOKENS].i, diff_dst->dim[1]});
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *diff_dst = r->input[DIFF_DST];
    float *diff_src = r->output[DIFF_SRC];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) {
        float *to = diff_src + n * s->tokens * s->dim;
        memset(to, 0, (size_t)(s->first * s->dim) * sizeof *to);
        dg_pool_kernels()->global_mean_backward(1, s->tokens - s->first, s->dim, diff_dst + n * s->dim, false,
                                                to + s->first * s->dim);
    }
    return DG_OK;
}

static const struct dg_operand mean_tokens_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"},
    {0},
};
static const struct dg_operand mean_tokens_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src"},
    {0},
};

const struct dg_op dg_op_mean_tokens_grad = {
    .name = "mean_tokens_grad",
    .attrs = grad_attrs,
    .inputs = mean_tokens_grad_inputs,
    .outputs = mean_tokens_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run_grad,
};

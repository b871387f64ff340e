/* Between images and tokens.
 *
 *   to_tokens     (src [N,h,w,D]) -> dst [N,h*w,D], the same bytes; from_tokens is its gradient
 *   prepend_token (src [N,T,D], token [1,1,D]) -> dst [N,T+1,D]
 *   prepend_token_grad (diff_dst, [acc_token]) -> [diff_src], [diff_token]
 *   take_token    (src [N,T,D]) -> dst [N,D]; take_token_grad (diff_dst) -> diff_src, zero elsewhere */
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_from_tokens, dg_op_prepend_token_grad, dg_op_take_token_grad;

enum { SRC, TOKEN };           /* inputs; the second of prepend_token only */
enum { DST };                  /* output */
enum { DIFF_DST, ACC_TOKEN };  /* inputs of the gradients; the second of prepend_token_grad only */
enum { DIFF_SRC, DIFF_TOKEN }; /* outputs of the gradients; the second of prepend_token_grad only */

/* --- to_tokens --- */

static enum dg_status infer_to_tokens(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 4, "input", err));
    output[DST] = dg_desc_make(src->dtype, 3, (int64_t[]){src->dim[0], src->dim[1] * src->dim[2], src->dim[3]});
    return DG_OK;
}

static enum dg_status grad_to_tokens(struct dg_grad_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    dg_value made[DG_MAX_OUTPUTS];
    union dg_attr grid[] = {{.i = src->dim[1]}, {.i = src->dim[2]}};
    DG_TRY(b->emit(b, &dg_op_from_tokens, grid, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

static const struct dg_operand to_tokens_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand to_tokens_outputs[] = {
    [DST] = {"dst", 0, DG_VIEW(SRC)},
    {0},
};

static void onnx_to_tokens(struct dg_onnx_builder *b)
{
    const struct dg_desc *dst = &b->call->output[DST];
    dg_onnx_value rows = dg_onnx_reshape(b, b->input[SRC], 3, (int64_t[]){0, dst->dim[2], dst->dim[1]});
    b->output[DST] = dg_onnx_transpose(b, rows, 3, (int64_t[]){0, 2, 1});
}

const struct dg_op dg_op_to_tokens = {
    .name = "to_tokens",
    .in_yaml = true,
    .doc = "Image grid to a row of tokens.",
    .inputs = to_tokens_inputs,
    .outputs = to_tokens_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_to_tokens,
    .grad = grad_to_tokens,
    .onnx = onnx_to_tokens,
};

enum { HEIGHT, WIDTH }; /* attributes */
static const struct dg_attr_spec grid_attrs[] = {
    {.name = "height", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true},
    {.name = "width", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 20, .internal = true},
    {0},
};

static enum dg_status infer_from_tokens(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    int64_t h = call->attr[HEIGHT].i, w = call->attr[WIDTH].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (src->dim[1] != h * w) return dg_fail(err, DG_ERR_INPUT, "tokens and grid differ");
    output[DST] = dg_desc_make(src->dtype, 4, (int64_t[]){src->dim[0], h, w, src->dim[2]});
    return DG_OK;
}

static const struct dg_operand from_tokens_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand from_tokens_outputs[] = {
    [DST] = {"dst", 0, DG_VIEW(SRC)},
    {0},
};

const struct dg_op dg_op_from_tokens = {
    .name = "from_tokens",
    .attrs = grid_attrs,
    .inputs = from_tokens_inputs,
    .outputs = from_tokens_outputs,
    .infer = infer_from_tokens,
    .grad = dg_no_gradient,
};

/* --- prepend_token --- */

struct state {
    int64_t images, tokens, dim, index; /* tokens of the longer side */
};

static enum dg_status open_state(struct dg_prepare *p, const struct dg_desc *longer, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){.images = longer->dim[0], .tokens = longer->dim[1], .dim = longer->dim[2]};
    return DG_OK;
}

static const struct dg_attr_spec prepend_attrs[] = {
    {.name = "token", .type = DG_ATTR_PARAM, .required = true, .doc = "parameter [1, 1, dim] put before the others"},
    {0},
};

static enum dg_status infer_prepend(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    struct dg_desc token = dg_desc_make(DG_F32, 3, (int64_t[]){1, 1, src->dim[2]});
    if (!dg_desc_equal(&call->input[TOKEN], &token)) {
        char want[96];
        return dg_fail(err, DG_ERR_INPUT, "token must be %s", dg_desc_text(want, sizeof want, &token));
    }
    output[DST] = dg_desc_make(DG_F32, 3, (int64_t[]){src->dim[0], src->dim[1] + 1, src->dim[2]});
    return DG_OK;
}

static enum dg_status grad_prepend(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->diff_output[DST], b->gradient_so_far(b, TOKEN)};
    DG_TRY(b->emit(b, &dg_op_prepend_token_grad, NULL, input, 2, made));
    if (b->wants[SRC]) DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    if (b->wants[TOKEN]) b->set_gradient(b, TOKEN, made[DIFF_TOKEN]);
    return DG_OK;
}

static enum dg_status prepare_prepend(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->output[DST], err);
}

static enum dg_status run_prepend(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC], *token = r->input[TOKEN];
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) {
        float *to = dst + n * s->tokens * s->dim;
        memcpy(to, token, (size_t)s->dim * sizeof *to);
        memcpy(to + s->dim, src + n * (s->tokens - 1) * s->dim, (size_t)((s->tokens - 1) * s->dim) * sizeof *to);
    }
    return DG_OK;
}

static const struct dg_operand prepend_token_inputs[] = {
    [SRC] = {"src"},
    [TOKEN] = {"token", DG_PARAM},
    {0},
};
static const struct dg_operand prepend_token_outputs[] = {
    [DST] = {"dst"},
    {0},
};

/* The token is repeated for as many images as there are. */
static void onnx_prepend(struct dg_onnx_builder *b)
{
    const struct dg_onnx_attr first[] = {DG_ONNX_INT("start", 0), DG_ONNX_INT("end", 1), {0}},
                              along[] = {DG_ONNX_INT("axis", 0), {0}}, tokens[] = {DG_ONNX_INT("axis", 1), {0}};
    dg_onnx_value images = b->add_node(b, "Shape", first, &b->input[SRC], 1);
    dg_onnx_value ones = b->add_ints(b, 1, 2, (int64_t[]){1, 1});
    dg_onnx_value shape = b->add_node(b, "Concat", along, (dg_onnx_value[]){images, ones}, 2);
    dg_onnx_value token = dg_onnx_binary(b, "Expand", b->input[TOKEN], shape);
    b->output[DST] = b->add_node(b, "Concat", tokens, (dg_onnx_value[]){token, b->input[SRC]}, 2);
}

const struct dg_op dg_op_prepend_token = {
    .name = "prepend_token",
    .in_yaml = true,
    .doc = "Puts a learned token before the others.",
    .attrs = prepend_attrs,
    .inputs = prepend_token_inputs,
    .outputs = prepend_token_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_prepend,
    .grad = grad_prepend,
    .onnx = onnx_prepend,
    .prepare = prepare_prepend,
    .run = run_prepend,
};

static enum dg_status infer_prepend_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    DG_TRY(dg_want_ndim(diff_dst, 3, "diff_dst", err));
    if (diff_dst->dim[1] < 2) return dg_fail(err, DG_ERR_INPUT, "diff_dst has no tokens");
    output[DIFF_SRC] = dg_desc_make(DG_F32, 3, (int64_t[]){diff_dst->dim[0], diff_dst->dim[1] - 1, diff_dst->dim[2]});
    output[DIFF_TOKEN] = dg_desc_make(DG_F32, 3, (int64_t[]){1, 1, diff_dst->dim[2]});
    return dg_want_accumulator(&call->input[ACC_TOKEN], &output[DIFF_TOKEN], err);
}

static enum dg_status prepare_prepend_grad(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->input[DIFF_DST], err);
}

static enum dg_status run_prepend_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *diff_dst = r->input[DIFF_DST], *acc = r->input[ACC_TOKEN];
    float *diff_src = r->output[DIFF_SRC], *diff_token = r->output[DIFF_TOKEN];
    if (diff_src) {
#pragma omp parallel for schedule(static)
        for (int64_t n = 0; n < s->images; n++)
            memcpy(diff_src + n * (s->tokens - 1) * s->dim, diff_dst + (n * s->tokens + 1) * s->dim,
                   (size_t)((s->tokens - 1) * s->dim) * sizeof *diff_src);
    }
    for (int64_t c = 0; diff_token && c < s->dim; c++) {
        float sum = acc ? acc[c] : 0;
        for (int64_t n = 0; n < s->images; n++) sum += diff_dst[n * s->tokens * s->dim + c];
        diff_token[c] = sum;
    }
    return DG_OK;
}

static const struct dg_operand prepend_token_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"},
    [ACC_TOKEN] = {"acc_token", DG_OPTIONAL},
    {0},
};
static const struct dg_operand prepend_token_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL},
    [DIFF_TOKEN] = {"diff_token", DG_OPTIONAL, DG_REUSE(ACC_TOKEN)},
    {0},
};

const struct dg_op dg_op_prepend_token_grad = {
    .name = "prepend_token_grad",
    .inputs = prepend_token_grad_inputs,
    .outputs = prepend_token_grad_outputs,
    .infer = infer_prepend_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_prepend_grad,
    .run = run_prepend_grad,
};

/* --- take_token --- */

enum { INDEX, TOKENS }; /* attributes; the second of the gradient only */
static const struct dg_attr_spec take_attrs[] = {
    {.name = "index", .type = DG_ATTR_INT, .value.i = 0, .min = 0, .max = 1 << 24, .doc = "which token"},
    {0},
};

static enum dg_status infer_take(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(dg_want_token(src, call->attr[INDEX].i, err));
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], src->dim[2]});
    return DG_OK;
}

static const struct dg_attr_spec take_grad_attrs[] = {
    {.name = "index", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 1 << 24, .internal = true},
    {.name = "tokens", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 24, .internal = true},
    {0},
};

static enum dg_status grad_take(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    union dg_attr attr[] = {b->call->attr[INDEX], {.i = b->call->input[SRC].dim[1]}};
    DG_TRY(b->emit(b, &dg_op_take_token_grad, attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

static enum dg_status prepare_take(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, &p->call->input[SRC], err));
    ((struct state *)p->state)->index = p->call->attr[INDEX].i;
    return DG_OK;
}

static enum dg_status run_take(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC];
    float *dst = r->output[DST];
    for (int64_t n = 0; n < s->images; n++)
        memcpy(dst + n * s->dim, src + (n * s->tokens + s->index) * s->dim, (size_t)s->dim * sizeof *dst);
    return DG_OK;
}

static const struct dg_operand take_token_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand take_token_outputs[] = {
    [DST] = {"dst"},
    {0},
};

static void onnx_take(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_take(b, b->input[SRC], 1, b->call->attr[INDEX].i);
}

const struct dg_op dg_op_take_token = {
    .name = "take_token",
    .in_yaml = true,
    .doc = "One token of each image.",
    .attrs = take_attrs,
    .inputs = take_token_inputs,
    .outputs = take_token_outputs,
    .reach = DG_REACH_ROW,
    .token_attr = "index",
    .infer = infer_take,
    .grad = grad_take,
    .onnx = onnx_take,
    .prepare = prepare_take,
    .run = run_take,
};

static enum dg_status infer_take_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    DG_TRY(dg_want_ndim(diff_dst, 2, "diff_dst", err));
    if (call->attr[INDEX].i >= call->attr[TOKENS].i) return dg_fail(err, DG_ERR_INPUT, "index beyond the tokens");
    output[DIFF_SRC] = dg_desc_make(DG_F32, 3, (int64_t[]){diff_dst->dim[0], call->attr[TOKENS].i, diff_dst->dim[1]});
    return DG_OK;
}

static enum dg_status prepare_take_grad(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, &p->call->output[DIFF_SRC], err));
    ((struct state *)p->state)->index = p->call->attr[INDEX].i;
    return DG_OK;
}

static enum dg_status run_take_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *diff_dst = r->input[DIFF_DST];
    float *diff_src = r->output[DIFF_SRC];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) {
        float *to = diff_src + n * s->tokens * s->dim;
        memset(to, 0, (size_t)(s->tokens * s->dim) * sizeof *to);
        memcpy(to + s->index * s->dim, diff_dst + n * s->dim, (size_t)s->dim * sizeof *to);
    }
    return DG_OK;
}

static const struct dg_operand take_token_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"},
    {0},
};
static const struct dg_operand take_token_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src"},
    {0},
};

const struct dg_op dg_op_take_token_grad = {
    .name = "take_token_grad",
    .attrs = take_grad_attrs,
    .inputs = take_token_grad_inputs,
    .outputs = take_token_grad_outputs,
    .infer = infer_take_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_take_grad,
    .run = run_take_grad,
};

/* Between images and tokens.
 *
 *   to_tokens   (src [N,h,w,D]) -> dst [N,h*w,D], the same bytes
 *   from_tokens (src [N,h*w,D]) -> dst [N,h,w,D], likewise; each is the other's gradient
 *   take_token  (src [N,T,D]) -> dst [N,D]; take_token_grad (diff_dst) -> diff_src, zero elsewhere
 *   put_token   (src [N,T,D], token [N,D]) -> dst: src with another token in that place
 *   put_token_grad (diff_dst) -> diff_src: zero in that place */
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_to_tokens, dg_op_from_tokens, dg_op_take_token, dg_op_take_token_grad,
    dg_op_put_token_grad;

enum { SRC, TOKEN }; /* inputs; the second of put_token only */
enum { DST };        /* output */
enum { DIFF_DST };   /* input of the gradients */
enum { DIFF_SRC };   /* output of the gradients */

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

/* --- from_tokens --- */

enum { HEIGHT, WIDTH }; /* attributes */
static const struct dg_attr_spec grid_attrs[] = {
    {.name = "height",
     .type = DG_ATTR_INT,
     .required = true,
     .min = 1,
     .max = 1 << 20,
     .internal = true,
     .grid = DG_ATTR_GRID_HEIGHT},
    {.name = "width",
     .type = DG_ATTR_INT,
     .required = true,
     .min = 1,
     .max = 1 << 20,
     .internal = true,
     .grid = DG_ATTR_GRID_WIDTH},
    {0},
};

static enum dg_status infer_from_tokens(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    int64_t h = call->attr[HEIGHT].i, w = call->attr[WIDTH].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (src->dim[1] != h * w)
        return dg_fail(err, DG_ERR_INPUT, "%lld tokens are not a grid of %lldx%lld; others must not be among them",
                       (long long)src->dim[1], (long long)h, (long long)w);
    output[DST] = dg_desc_make(src->dtype, 4, (int64_t[]){src->dim[0], h, w, src->dim[2]});
    return DG_OK;
}

static enum dg_status grad_from_tokens(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_to_tokens, NULL, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

static void onnx_from_tokens(struct dg_onnx_builder *b)
{
    dg_onnx_value columns = dg_onnx_transpose(b, b->input[SRC], 3, (int64_t[]){0, 2, 1});
    b->output[DST] = dg_onnx_reshape(
        b, columns, 4, (int64_t[]){0, b->call->input[SRC].dim[2], b->call->attr[HEIGHT].i, b->call->attr[WIDTH].i});
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
    .in_yaml = true,
    .doc = "A row of tokens back to the image grid that they were made of.",
    .attrs = grid_attrs,
    .inputs = from_tokens_inputs,
    .outputs = from_tokens_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_from_tokens,
    .grad = grad_from_tokens,
    .onnx = onnx_from_tokens,
};

/* --- take_token --- */

enum { INDEX, TOKENS }; /* attributes; the second of the gradient only */

struct state {
    int64_t images, tokens, dim, index; /* tokens of the longer side */
};

static enum dg_status open_state(struct dg_prepare *p, const struct dg_desc *longer, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){longer->dim[0], longer->dim[1], longer->dim[2], p->call->attr[INDEX].i};
    return DG_OK;
}

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
    return open_state(p, &p->call->input[SRC], err);
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
    return open_state(p, &p->call->output[DIFF_SRC], err);
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

/* --- put_token --- */

static enum dg_status infer_put(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(dg_want_token(src, call->attr[INDEX].i, err));
    struct dg_desc token = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], src->dim[2]});
    if (!dg_desc_equal(&call->input[TOKEN], &token)) {
        char want[96], got[96];
        return dg_fail(err, DG_ERR_INPUT, "the second input must be %s, got %s",
                       dg_desc_text(want, sizeof want, &token), dg_desc_text(got, sizeof got, &call->input[TOKEN]));
    }
    output[DST] = *src;
    return DG_OK;
}

static enum dg_status grad_put(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    if (b->wants[SRC]) {
        DG_TRY(b->emit(b, &dg_op_put_token_grad, b->call->attr, &b->diff_output[DST], 1, made));
        DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    }
    if (!b->wants[TOKEN]) return DG_OK;
    DG_TRY(b->emit(b, &dg_op_take_token, b->call->attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, TOKEN, made[DST]);
}

static void put(const struct state *s, const float *src, const float *token, float *dst)
{
    size_t each = (size_t)s->dim * sizeof *dst;
    if (dst != src) memcpy(dst, src, (size_t)(s->images * s->tokens) * each);
    for (int64_t n = 0; n < s->images; n++) {
        float *to = dst + (n * s->tokens + s->index) * s->dim;
        if (token)
            memcpy(to, token + n * s->dim, each);
        else
            memset(to, 0, each);
    }
}

static enum dg_status run_put(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    put(r->state, r->input[SRC], r->input[TOKEN], r->output[DST]);
    return DG_OK;
}

static void onnx_put(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    int64_t index = b->call->attr[INDEX].i;
    dg_onnx_value token = dg_onnx_reshape(b, b->input[TOKEN], 3, (int64_t[]){0, 1, src->dim[2]});
    b->output[DST] = dg_onnx_replace(b, b->input[SRC], src->dim[1], index, index + 1, token);
}

static const struct dg_operand put_token_inputs[] = {[SRC] = {"src"}, [TOKEN] = {"token"}, {0}};
static const struct dg_operand put_token_outputs[] = {[DST] = {"dst", 0, DG_REUSE(SRC)}, {0}};

const struct dg_op dg_op_put_token = {
    .name = "put_token",
    .in_yaml = true,
    .doc = "Another token of each image in the place of one.",
    .attrs = take_attrs,
    .inputs = put_token_inputs,
    .outputs = put_token_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_put,
    .grad = grad_put,
    .onnx = onnx_put,
    .prepare = prepare_take,
    .run = run_put,
};

static enum dg_status infer_put_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(dg_want_ndim(&call->input[DIFF_DST], 3, "diff_dst", err));
    DG_TRY(dg_want_token(&call->input[DIFF_DST], call->attr[INDEX].i, err));
    output[DIFF_SRC] = call->input[DIFF_DST];
    return DG_OK;
}

static enum dg_status run_put_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    put(r->state, r->input[DIFF_DST], NULL, r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand put_token_grad_inputs[] = {[DIFF_DST] = {"diff_dst"}, {0}};
static const struct dg_operand put_token_grad_outputs[] = {[DIFF_SRC] = {"diff_src", 0, DG_REUSE(DIFF_DST)}, {0}};

const struct dg_op dg_op_put_token_grad = {
    .name = "put_token_grad",
    .attrs = take_attrs,
    .inputs = put_token_grad_inputs,
    .outputs = put_token_grad_outputs,
    .infer = infer_put_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_take,
    .run = run_put_grad,
};

/* Learned tokens, the same for every image, put among others.
 *
 *   insert_tokens (src [N,T,D], tokens [1,K,D]) -> dst [N,T+K,D]: behind the first `index`; with 1 behind the class token
 *                 (registers, Darcet et al. 2024)
 *   prepend_token (src [N,T,D], token [1,1,D]) -> dst [N,T+1,D]: the same with index 0 and K = 1, an op of its own in plans
 *   prepend_token_grad, insert_tokens_grad (diff_dst, [acc_token]) -> [diff_src], [diff_token] */
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_insert_tokens, dg_op_prepend_token_grad, dg_op_insert_tokens_grad;

enum { SRC, TOKEN };           /* inputs */
enum { DST };                  /* output */
enum { DIFF_DST, ACC_TOKEN };  /* inputs of the gradients */
enum { DIFF_SRC, DIFF_TOKEN }; /* outputs of the gradients */

static const struct dg_attr_spec prepend_attrs[] = {
    {.name = "token", .type = DG_ATTR_PARAM, .required = true, .doc = "parameter [1, 1, dim] put before the others"},
    {0},
};

enum { TOKENS_NAME, INDEX };     /* attributes of insert_tokens */
enum { GRAD_INDEX, GRAD_COUNT }; /* of its gradient */
static const struct dg_attr_spec insert_attrs[] = {
    [TOKENS_NAME] = {.name = "tokens", .type = DG_ATTR_PARAM, .required = true, .doc = "parameter [1, count, dim]"},
    [INDEX] = {.name = "index",
               .type = DG_ATTR_INT,
               .value.i = 1,
               .max = 1 << 24,
               .doc = "how many tokens stay before them; 1: the class token"},
    {0},
};
static const struct dg_attr_spec insert_grad_attrs[] = {
    [GRAD_INDEX] = {.name = "index", .type = DG_ATTR_INT, .required = true, .max = 1 << 24, .internal = true},
    [GRAD_COUNT] = {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 24, .internal = true},
    {0},
};

/* Where tokens are put, behind how many, and how many they are; of any of the four ops. */
struct place {
    int64_t index, count;
};

static struct place place_of(const struct dg_op_call *call)
{
    if (call->op == &dg_op_insert_tokens) return (struct place){call->attr[INDEX].i, call->input[TOKEN].dim[1]};
    if (call->op == &dg_op_insert_tokens_grad)
        return (struct place){call->attr[GRAD_INDEX].i, call->attr[GRAD_COUNT].i};
    return (struct place){0, 1};
}

static enum dg_status infer_prepend(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    struct dg_desc token = dg_desc_make(DG_F32, 3, (int64_t[]){1, 1, src->dim[2]});
    if (!dg_desc_equal(&call->input[TOKEN], &token)) {
        char want[96];
        return dg_fail(err, DG_ERR_INPUT, "token must be %s; insert_tokens takes several",
                       dg_desc_text(want, sizeof want, &token));
    }
    output[DST] = dg_desc_make(DG_F32, 3, (int64_t[]){src->dim[0], src->dim[1] + 1, src->dim[2]});
    return DG_OK;
}

static enum dg_status infer_insert(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC], *tokens = &call->input[TOKEN];
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (tokens->ndim != 3 || tokens->dim[0] != 1 || tokens->dim[2] != src->dim[2]) {
        char got[96];
        return dg_fail(err, DG_ERR_INPUT, "tokens must be [1, count, %lld], got %s", (long long)src->dim[2],
                       dg_desc_text(got, sizeof got, tokens));
    }
    if (call->attr[INDEX].i > src->dim[1])
        return dg_fail(err, DG_ERR_INPUT, "index %lld is beyond the %lld tokens of the input",
                       (long long)call->attr[INDEX].i, (long long)src->dim[1]);
    output[DST] = dg_desc_make(DG_F32, 3, (int64_t[]){src->dim[0], src->dim[1] + tokens->dim[1], src->dim[2]});
    return DG_OK;
}

static enum dg_status emit_grad(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->diff_output[DST], b->gradient_so_far(b, TOKEN)};
    DG_TRY(b->emit(b, op, attr, input, 2, made));
    if (b->wants[SRC]) DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    if (b->wants[TOKEN]) b->set_gradient(b, TOKEN, made[DIFF_TOKEN]);
    return DG_OK;
}

static enum dg_status grad_prepend(struct dg_grad_builder *b) { return emit_grad(b, &dg_op_prepend_token_grad, NULL); }

static enum dg_status grad_insert(struct dg_grad_builder *b)
{
    struct place place = place_of(b->call);
    union dg_attr attr[] = {[GRAD_INDEX] = {.i = place.index}, [GRAD_COUNT] = {.i = place.count}};
    return emit_grad(b, &dg_op_insert_tokens_grad, attr);
}

struct state {
    int64_t images;
    int64_t before, inserted, behind; /* numbers of an image: of tokens before those put in, of these, of the rest */
};

/* `longer`: with the tokens that are put in. */
static enum dg_status open_state(struct dg_prepare *p, const struct dg_desc *longer, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    struct place place = place_of(p->call);
    int64_t dim = longer->dim[2], behind = longer->dim[1] - place.index - place.count;
    *s = (struct state){longer->dim[0], place.index * dim, place.count * dim, behind * dim};
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->output[DST], err);
}

static void copy(float *to, const float *from, int64_t count) { memcpy(to, from, (size_t)count * sizeof *to); }

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC], *token = r->input[TOKEN];
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) {
        const float *from = src + n * (s->before + s->behind);
        float *to = dst + n * (s->before + s->inserted + s->behind);
        copy(to, from, s->before);
        copy(to + s->before, token, s->inserted);
        copy(to + s->before + s->inserted, from + s->before, s->behind);
    }
    return DG_OK;
}

static void onnx(struct dg_onnx_builder *b)
{
    int64_t index = place_of(b->call).index;
    dg_onnx_value token = dg_onnx_for_each(b, b->input[TOKEN], 3, b->input[SRC]);
    b->output[DST] = dg_onnx_replace(b, b->input[SRC], b->call->input[SRC].dim[1], index, index, token);
}

static const struct dg_operand prepend_inputs[] = {[SRC] = {"src"}, [TOKEN] = {"token", DG_PARAM}, {0}};
static const struct dg_operand insert_inputs[] = {[SRC] = {"src"}, [TOKEN] = {"tokens", DG_PARAM}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst"}, {0}};

const struct dg_op dg_op_prepend_token = {
    .name = "prepend_token",
    .in_yaml = true,
    .doc = "Puts a learned token before the others.",
    .attrs = prepend_attrs,
    .inputs = prepend_inputs,
    .outputs = outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_prepend,
    .grad = grad_prepend,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

const struct dg_op dg_op_insert_tokens = {
    .name = "insert_tokens",
    .in_yaml = true,
    .doc = "Puts learned tokens among the others, as registers behind the class token.",
    .attrs = insert_attrs,
    .inputs = insert_inputs,
    .outputs = outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer_insert,
    .grad = grad_insert,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    struct place place = place_of(call);
    DG_TRY(dg_want_ndim(diff_dst, 3, "diff_dst", err));
    int64_t rest = diff_dst->dim[1] - place.count;
    if (rest < 1 || rest < place.index) return dg_fail(err, DG_ERR_INPUT, "diff_dst has too few tokens");
    output[DIFF_SRC] = dg_desc_make(DG_F32, 3, (int64_t[]){diff_dst->dim[0], rest, diff_dst->dim[2]});
    output[DIFF_TOKEN] = dg_desc_make(DG_F32, 3, (int64_t[]){1, place.count, diff_dst->dim[2]});
    return dg_want_accumulator(&call->input[ACC_TOKEN], &output[DIFF_TOKEN], err);
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->input[DIFF_DST], err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *diff_dst = r->input[DIFF_DST], *acc = r->input[ACC_TOKEN];
    float *diff_src = r->output[DIFF_SRC], *diff_token = r->output[DIFF_TOKEN];
    const int64_t longer = s->before + s->inserted + s->behind;
    if (diff_src) {
#pragma omp parallel for schedule(static)
        for (int64_t n = 0; n < s->images; n++) {
            const float *from = diff_dst + n * longer;
            float *to = diff_src + n * (s->before + s->behind);
            copy(to, from, s->before);
            copy(to + s->before, from + s->before + s->inserted, s->behind);
        }
    }
    for (int64_t c = 0; diff_token && c < s->inserted; c++) {
        float sum = acc ? acc[c] : 0;
        for (int64_t n = 0; n < s->images; n++) sum += diff_dst[n * longer + s->before + c];
        diff_token[c] = sum;
    }
    return DG_OK;
}

static const struct dg_operand grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"}, [ACC_TOKEN] = {"acc_token", DG_OPTIONAL}, {0}};
static const struct dg_operand grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL}, [DIFF_TOKEN] = {"diff_token", DG_OPTIONAL, DG_REUSE(ACC_TOKEN)}, {0}};

const struct dg_op dg_op_prepend_token_grad = {
    .name = "prepend_token_grad",
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

const struct dg_op dg_op_insert_tokens_grad = {
    .name = "insert_tokens_grad",
    .attrs = insert_grad_attrs,
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

/* rotary: turns q and k of the packed projection src [N,T,3D], channels [Q | K | V], each head-major, by angles that say where a
 * token lies in its image (Su et al. 2021, in two dimensions as in DINOv3): channel i of the first half of a head and that of the
 * second half are a pair. The first quarter of the head goes by rows, the second by columns: 2 pi c base^(-4 i / width), c from
 * -1 to 1 over the image. The tokens before the grid's, the class token and registers, are left as they are, and so is v.
 *
 *   rotary (src) -> dst; with `back`, which the gradient sets, by the opposite angles */
#include "ops/kernels/bf16.h"
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>

extern const struct dg_op dg_op_rotary;

enum { HEADS, BASE, GRID_H, GRID_W, BACK }; /* attributes */
enum { SRC, ROWS };                         /* inputs */
enum { DST };                               /* output */

static const struct dg_attr_spec attrs[] = {
    [HEADS] = {.name = "heads", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .doc = "number of heads"},
    [BASE] = {.name = "base",
              .type = DG_ATTR_FLOAT,
              .value.f = 100,
              .min = 1,
              .max = 1e9,
              .doc = "ratio of the longest period to the shortest, but for one step"},
    [GRID_H] = {.name = "grid_h", .type = DG_ATTR_INT, .max = 1 << 16, .internal = true, .grid = DG_ATTR_GRID_HEIGHT},
    [GRID_W] = {.name = "grid_w", .type = DG_ATTR_INT, .max = 1 << 16, .internal = true, .grid = DG_ATTR_GRID_WIDTH},
    [BACK] = {.name = "back", .type = DG_ATTR_INT, .max = 1, .internal = true},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    int64_t heads = call->attr[HEADS].i, patches = call->attr[GRID_H].i * call->attr[GRID_W].i;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    if (src->dim[2] % (12 * heads))
        return dg_fail(err, DG_ERR_INPUT, "input width %lld is not 3 x %lld heads x a multiple of 4",
                       (long long)src->dim[2], (long long)heads);
    if (patches < 1 || patches > src->dim[1])
        return dg_fail(err, DG_ERR_INPUT, "its %lld tokens are not known to end with a grid of patches",
                       (long long)src->dim[1]);
    output[DST] = *src;
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    union dg_attr attr[] = {[HEADS] = b->call->attr[HEADS],
                            [BASE] = b->call->attr[BASE],
                            [GRID_H] = b->call->attr[GRID_H],
                            [GRID_W] = b->call->attr[GRID_W],
                            [BACK] = {.i = !b->call->attr[BACK].i}};
    DG_TRY(b->emit(b, &dg_op_rotary, attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

struct state {
    int64_t images, tokens, first, heads, half; /* first: tokens before the grid's; half: of a head's width */
    bool bf16;
    float *turn; /* [patches, half, 2]: cosines and sines */
};

/* The angle of a patch for the pair i of a head. */
static double angle(const struct dg_op_call *call, int64_t patch, int64_t i, int64_t half)
{
    int64_t h = call->attr[GRID_H].i, w = call->attr[GRID_W].i, quarter = half / 2;
    bool by_row = i < quarter;
    double at = by_row ? ((double)(patch / w) + 0.5) / (double)h : ((double)(patch % w) + 0.5) / (double)w;
    double turns = (2 * at - 1) * pow(call->attr[BASE].f, -(double)(by_row ? i : i - quarter) / (double)quarter);
    return (call->attr[BACK].i ? -2 : 2) * acos(-1) * turns;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    int64_t patches = p->call->attr[GRID_H].i * p->call->attr[GRID_W].i, heads = p->call->attr[HEADS].i;
    *s = (struct state){src->dim[0],    src->dim[1], src->dim[1] - patches, heads, src->dim[2] / 6 / heads,
                        dg_is_bf16(src)};
    s->turn = calloc((size_t)(patches * s->half * 2), sizeof *s->turn);
    if (!s->turn) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t k = 0; k < patches * s->half; k++) {
        double at = angle(p->call, k / s->half, k % s->half, s->half);
        s->turn[2 * k] = (float)cos(at);
        s->turn[2 * k + 1] = (float)sin(at);
    }
    return DG_OK;
}

static void release(void *state)
{
    if (state) free(((struct state *)state)->turn);
    free(state);
}

/* A token's row: q and k are turned, v is copied. */
static inline __attribute__((always_inline)) void turn_row(const struct state *s, bool bf16, const float *turn,
                                                           const void *src, void *dst)
{
    int64_t half = s->half, v = 4 * s->heads * half;
    for (int64_t head = 0; head < 2 * s->heads; head++) /* those of q, then those of k */
        for (int64_t i = 0; i < half; i++) {
            int64_t at = head * 2 * half + i;
            float x = dg_get(src, bf16, at), y = dg_get(src, bf16, at + half);
            float c = turn ? turn[2 * i] : 1, d = turn ? turn[2 * i + 1] : 0;
            dg_put(dst, bf16, at, x * c - y * d);
            dg_put(dst, bf16, at + half, y * c + x * d);
        }
    for (int64_t i = 0; i < v / 2; i++) dg_put(dst, bf16, v + i, dg_get(src, bf16, v + i));
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    int64_t rows = dg_survivors(r->input[ROWS], s->images) * s->tokens, width = 6 * s->heads * s->half;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        int64_t patch = row % s->tokens - s->first;
        const float *turn = patch < 0 ? NULL : s->turn + patch * s->half * 2;
        const void *src = dg_at(r->input[SRC], s->bf16, row * width);
        void *dst = dg_at_out(r->output[DST], s->bf16, row * width);
        if (s->bf16)
            turn_row(s, 1, turn, src, dst);
        else
            turn_row(s, 0, turn, src, dst);
    }
    return DG_OK;
}

/* src * cosines + (halves of each head exchanged, one negated) * sines; of what is not turned these are 1 and 0. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC];
    const struct dg_onnx_attr axis[] = {DG_ONNX_INT("axis", 3), {0}};
    int64_t tokens = src->dim[1], width = src->dim[2], heads = b->call->attr[HEADS].i, half = width / 6 / heads,
            first = tokens - b->call->attr[GRID_H].i * b->call->attr[GRID_W].i;
    float *table = dg_onnx_room(b, 2 * tokens * width);
    if (!table) return;
    float *sines = table + tokens * width;
    for (int64_t k = 0; k < tokens * width; k++) {
        bool turned = k / width >= first && k % width < 4 * heads * half;
        double at = turned ? angle(b->call, k / width - first, k % half, half) : 0;
        table[k] = (float)cos(at);
        sines[k] = (float)sin(at);
    }
    dg_onnx_value cosine = b->add_floats(b, "cosines", 2, (int64_t[]){tokens, width}, table);
    dg_onnx_value sine = b->add_floats(b, "sines", 2, (int64_t[]){tokens, width}, sines);
    free(table);
    dg_onnx_value pairs = dg_onnx_reshape(b, b->input[SRC], 5, (int64_t[]){0, tokens, 3 * heads, 2, half});
    dg_onnx_value second = dg_onnx_slice(b, pairs, 3, 1, 2);
    second = dg_onnx_binary(b, "Mul", second, dg_onnx_scalar(b, "negated", -1));
    dg_onnx_value swapped =
        b->add_node(b, "Concat", axis, (dg_onnx_value[]){second, dg_onnx_slice(b, pairs, 3, 0, 1)}, 2);
    swapped = dg_onnx_reshape(b, swapped, 3, (int64_t[]){0, tokens, width});
    swapped = dg_onnx_binary(b, "Mul", swapped, sine);
    b->output[DST] = dg_onnx_binary(b, "Add", dg_onnx_binary(b, "Mul", b->input[SRC], cosine), swapped);
}

static const struct dg_operand inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT}, [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)}, {0}};

const struct dg_op dg_op_rotary = {
    .name = "rotary",
    .in_yaml = true,
    .doc = "Rotary positions: turns q and k, side by side with v in the last dimension, by where their token lies.",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
    .release = release,
};

/* add_position: dst = src + position table, which is resized to the grid of src (interpolate_pos_encoding of the official
 * vision_transformer.py).
 *
 *   add_position      (src [N, 1+h*w, D], table [1, 1+g*g, D], or [1, 1+h*w, D] with same_grid) -> dst
 *   add_position_grad (diff_dst, [acc_table]) -> diff_table, added to its accumulator
 *
 * Where src has no class token, [N, h*w, D], the table has no row for it either: [1, g*g, D]. Only a grid that the compiler tracked
 * tells so.
 *
 * The resize is PyTorch's bicubic (a = -0.75, borders repeated, no antialiasing) with the published +0.1 in the scale:
 * a constant sparse matrix of 16 entries per row, built when the op is prepared. The backward applies its transpose to the
 * sum over images, so the gradient is that of the table. */
#include "ops/token/position.h"

#include "ops/op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_op dg_op_add_position_grad;

enum { TABLE_NAME, GRID_H, GRID_W, SAME_GRID };
enum { SRC, TABLE };          /* inputs */
enum { DST };                 /* output */
enum { DIFF_DST, ACC_TABLE }; /* inputs of the gradient */
enum { DIFF_TABLE };          /* output of the gradient */

static const struct dg_attr_spec attrs[] = {
    {.name = "table",
     .type = DG_ATTR_PARAM,
     .required = true,
     .doc = "parameter [1, 1 + grid * grid, dim]; without the 1 where there is no class token"},
    {.name = "grid_h", .type = DG_ATTR_INT, .min = 0, .max = 1 << 16, .internal = true, .grid = DG_ATTR_GRID_HEIGHT},
    {.name = "grid_w", .type = DG_ATTR_INT, .min = 0, .max = 1 << 16, .internal = true, .grid = DG_ATTR_GRID_WIDTH},
    {.name = "same_grid", .type = DG_ATTR_INT, .max = 1, .internal = true}, /* 1: the table has the tokens' grid */
    {0},
};

static int64_t square_root(int64_t n)
{
    int64_t root = (int64_t)llround(sqrt((double)n));
    return root * root == n ? root : -1;
}

/* Rows and columns of tokens: the grid that the compiler tracked, or a square; and the class tokens before them, 1 or 0. */
struct place {
    int64_t grid[2], first;
};

static enum dg_status place_of(const struct dg_op_call *call, int64_t tokens, struct place *place, struct dg_error *err)
{
    int64_t *grid = place->grid;
    grid[0] = call->attr[GRID_H].i;
    grid[1] = call->attr[GRID_W].i;
    place->first = 1;
    if (!grid[0] || !grid[1]) {
        grid[0] = grid[1] = square_root(tokens - 1);
        if (grid[0] > 0) return DG_OK;
        return dg_fail(err, DG_ERR_INPUT, "%lld tokens are not one class token and a square grid", (long long)tokens);
    }
    place->first = tokens - grid[0] * grid[1];
    if (place->first == 0 || place->first == 1) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%lld tokens are not a grid of %lldx%lld, with or without a class token",
                   (long long)tokens, (long long)grid[0], (long long)grid[1]);
}

/* `first`: rows of the class token. `tokens`: rows of a table of the tokens' own grid; 0: the table is square. */
static enum dg_status check_table(const struct dg_desc *table, int64_t dim, int64_t first, int64_t tokens,
                                  struct dg_error *err)
{
    if (tokens && table->ndim == 3 && table->dim[0] == 1 && table->dim[1] == tokens && table->dim[2] == dim)
        return DG_OK;
    if (tokens || table->ndim != 3 || table->dim[0] != 1 || table->dim[2] != dim ||
        square_root(table->dim[1] - first) <= 0) {
        char text[96];
        return dg_fail(err, DG_ERR_INPUT, "table must be [1, %sgrid * grid, %lld], got %s", first ? "1 + " : "",
                       (long long)dim, dg_desc_text(text, sizeof text, table));
    }
    return DG_OK;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    struct place place;
    DG_TRY(dg_want_ndim(src, 3, "input", err));
    DG_TRY(place_of(call, src->dim[1], &place, err));
    DG_TRY(check_table(&call->input[TABLE], src->dim[2], place.first, call->attr[SAME_GRID].i ? src->dim[1] : 0, err));
    output[DST] = *src;
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    if (b->wants[TABLE]) {
        dg_value made[DG_MAX_OUTPUTS];
        union dg_attr attr[] = {b->call->attr[GRID_H],
                                b->call->attr[GRID_W],
                                {.i = b->call->input[TABLE].dim[1]},
                                b->call->attr[SAME_GRID]};
        DG_TRY(b->emit(b, &dg_op_add_position_grad, attr,
                       (dg_value[]){b->diff_output[DST], b->gradient_so_far(b, TABLE)}, 2, made));
        b->set_gradient(b, TABLE, made[DIFF_TABLE]);
    }
    return b->wants[SRC] ? b->add_gradient(b, SRC, b->diff_output[DST]) : DG_OK;
}

/* The resize: row t of the result is the sum of weight[t][i] * table[from[t][i]]; one tap where nothing is resized. */
struct state {
    int64_t images, tokens, dim, table_rows;
    int64_t first; /* class tokens, whose row is taken as it is */
    int taps;
    int32_t *from; /* [tokens, taps] */
    float *weight; /* [tokens, taps] */
};

/* The four taps of one axis for output i of `out`, from a table of `size`; the scale is (out + 0.1) / size, and its
 * reciprocal is rounded to f32 as PyTorch does. */
static void axis_taps(int64_t i, int64_t out, int64_t size, int64_t from[4], double weight[4])
{
    const double a = -0.75;
    float ratio = (float)(1.0 / (((double)out + 0.1) / (double)size));
    double at = (double)ratio * ((double)i + 0.5) - 0.5, base = floor(at), t = at - base;
    double distance[4] = {1 + t, t, 1 - t, 2 - t};
    for (int k = 0; k < 4; k++) {
        double x = distance[k];
        weight[k] = k == 1 || k == 2 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
        int64_t place = (int64_t)base + k - 1;
        from[k] = place < 0 ? 0 : place >= size ? size - 1 : place;
    }
}

/* The 16 entries of the row of the resize that makes token t of the grid `to` from a table of the grid `size`; `from` counts
 * the rows of its grid. */
static void token_taps(int64_t t, const int64_t to[2], const int64_t size[2], int64_t from[16], double weight[16])
{
    int64_t row[4], column[4];
    double wy[4], wx[4];
    axis_taps(t / to[1], to[0], size[0], row, wy);
    axis_taps(t % to[1], to[1], size[1], column, wx);
    for (int k = 0; k < 16; k++) {
        from[k] = row[k / 4] * size[1] + column[k % 4];
        weight[k] = wy[k / 4] * wx[k % 4];
    }
}

int64_t dg_position_grid(int64_t rows)
{
    int64_t grid = rows > 1 ? square_root(rows - 1) : 0;
    return grid > 0 ? grid : 0;
}

/* Of the grid alone, without a class token's row. */
static void resize_grid(const float *table, const int64_t from[2], float *out, const int64_t to[2], int64_t dim)
{
    for (int64_t t = 0; t < to[0] * to[1]; t++) {
        int64_t row[16];
        double weight[16];
        token_taps(t, to, from, row, weight);
        float *result = out + t * dim;
        memset(result, 0, (size_t)dim * sizeof *result);
        for (int k = 0; k < 16; k++) /* products and sums as in run() */
            for (int64_t c = 0; c < dim; c++) result[c] += (float)weight[k] * table[row[k] * dim + c];
    }
}

void dg_position_resize(const float *table, const int64_t from[2], float *out, const int64_t to[2], int64_t dim)
{
    memcpy(out, table, (size_t)dim * sizeof *out);
    resize_grid(table + dim, from, out + dim, to, dim);
}

/* Must the table, side x side behind the class token's row, be resized? With `same` it has the tokens' own grid. */
static bool must_resize(const struct place *place, int64_t side, bool same)
{
    return !same && (place->grid[0] != side || place->grid[1] != side);
}

static enum dg_status open_state(struct dg_prepare *p, const struct dg_desc *tokens, int64_t table_rows, bool same,
                                 const struct place *place, struct dg_error *err)
{
    const int64_t *grid = place->grid;
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const int64_t side = square_root(table_rows - place->first), size[2] = {side, side};
    bool as_is = !must_resize(place, side, same);
    *s = (struct state){.images = tokens->dim[0],
                        .tokens = tokens->dim[1],
                        .dim = tokens->dim[2],
                        .table_rows = table_rows,
                        .first = place->first,
                        .taps = as_is ? 1 : 16};
    s->from = calloc((size_t)(s->tokens * s->taps), sizeof *s->from);
    s->weight = calloc((size_t)(s->tokens * s->taps), sizeof *s->weight);
    if (!s->from || !s->weight) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t t = 0; t < s->tokens; t++) {
        int32_t *from = s->from + t * s->taps;
        float *weight = s->weight + t * s->taps;
        if (as_is || t < s->first) {
            from[0] = (int32_t)t;
            weight[0] = 1;
            continue;
        }
        int64_t row[16];
        double factor[16];
        token_taps(t - s->first, grid, size, row, factor);
        for (int k = 0; k < 16; k++) {
            from[k] = (int32_t)(s->first + row[k]);
            weight[k] = (float)factor[k];
        }
    }
    /* One row of tokens of scratch: the resized table, or the sum over images. */
    dg_op_scratch(p, s->tokens * s->dim * (int64_t)sizeof(float));
    return DG_OK;
}

static void release(void *state)
{
    struct state *s = state;
    if (!s) return;
    free(s->from);
    free(s->weight);
    free(s);
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    const struct dg_desc *src = &p->call->input[SRC];
    struct place place;
    DG_TRY(place_of(p->call, src->dim[1], &place, err));
    return open_state(p, src, p->call->input[TABLE].dim[1], p->call->attr[SAME_GRID].i, &place, err);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *src = r->input[SRC], *table = r->input[TABLE];
    float *dst = r->output[DST], *resized = r->scratch;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < s->tokens; t++) {
        float *to = resized + t * s->dim;
        memset(to, 0, (size_t)s->dim * sizeof *to);
        for (int k = 0; k < (t < s->first ? 1 : s->taps); k++) {
            const float *from = table + s->from[t * s->taps + k] * s->dim;
            float weight = s->weight[t * s->taps + k];
            for (int64_t c = 0; c < s->dim; c++) to[c] += weight * from[c];
        }
    }
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < s->tokens * s->dim; i++)
            dst[n * s->tokens * s->dim + i] = src[n * s->tokens * s->dim + i] + resized[i];
    return DG_OK;
}

static const struct dg_operand add_position_inputs[] = {
    [SRC] = {"src"},
    [TABLE] = {"table", DG_PARAM},
    {0},
};
static const struct dg_operand add_position_outputs[] = {
    [DST] = {"dst", 0, DG_REUSE(SRC)},
    {0},
};

/* The table is resized once, here. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *src = &b->call->input[SRC], *table = &b->call->input[TABLE];
    struct place place;
    if (place_of(b->call, src->dim[1], &place, b->err) != DG_OK) return;
    int64_t side = square_root(table->dim[1] - place.first), first = place.first * src->dim[2];
    dg_onnx_value position = b->input[TABLE];
    if (must_resize(&place, side, b->call->attr[SAME_GRID].i)) {
        float *resized = dg_onnx_room(b, src->dim[1] * src->dim[2]);
        if (!resized) return;
        memcpy(resized, b->data[TABLE], (size_t)first * sizeof *resized);
        resize_grid((const float *)b->data[TABLE] + first, (int64_t[]){side, side}, resized + first, place.grid,
                    src->dim[2]);
        position = b->add_floats(b, "table.resized", 3, (int64_t[]){1, src->dim[1], src->dim[2]}, resized);
        free(resized);
    }
    b->output[DST] = dg_onnx_binary(b, "Add", b->input[SRC], position);
}

const struct dg_op dg_op_add_position = {
    .name = "add_position",
    .in_yaml = true,
    .doc = "Adds a position table, resized to the grid.",
    .attrs = attrs,
    .inputs = add_position_inputs,
    .outputs = add_position_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
    .release = release,
};

enum { GRAD_GRID_H, GRAD_GRID_W, TABLE_ROWS, GRAD_SAME_GRID }; /* attributes */
static const struct dg_attr_spec grad_attrs[] = {
    {.name = "grid_h", .type = DG_ATTR_INT, .min = 0, .max = 1 << 16, .internal = true},
    {.name = "grid_w", .type = DG_ATTR_INT, .min = 0, .max = 1 << 16, .internal = true},
    {.name = "table_rows", .type = DG_ATTR_INT, .required = true, .min = 2, .max = 1 << 24, .internal = true},
    {.name = "same_grid", .type = DG_ATTR_INT, .max = 1, .internal = true},
    {0},
};

static enum dg_status grad_place(const struct dg_op_call *call, struct place *place, struct dg_error *err)
{
    union dg_attr attr[] = {{0}, call->attr[GRAD_GRID_H], call->attr[GRAD_GRID_W]}; /* as the forward has them */
    struct dg_op_call forward = {.attr = attr};
    return place_of(&forward, call->input[DIFF_DST].dim[1], place, err);
}

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[DIFF_DST];
    struct place place;
    DG_TRY(dg_want_ndim(diff_dst, 3, "diff_dst", err));
    DG_TRY(grad_place(call, &place, err));
    output[DIFF_TABLE] = dg_desc_make(DG_F32, 3, (int64_t[]){1, call->attr[TABLE_ROWS].i, diff_dst->dim[2]});
    DG_TRY(check_table(&output[DIFF_TABLE], diff_dst->dim[2], place.first,
                       call->attr[GRAD_SAME_GRID].i ? diff_dst->dim[1] : 0, err));
    return dg_want_accumulator(&call->input[ACC_TABLE], &output[DIFF_TABLE], err);
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct place place;
    DG_TRY(grad_place(p->call, &place, err));
    return open_state(p, &p->call->input[DIFF_DST], p->call->attr[TABLE_ROWS].i, p->call->attr[GRAD_SAME_GRID].i,
                      &place, err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *diff_dst = r->input[DIFF_DST], *acc = r->input[ACC_TABLE];
    float *diff_table = r->output[DIFF_TABLE], *sum = r->scratch;
    int64_t size = s->tokens * s->dim;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < s->tokens; t++) {
        float *to = sum + t * s->dim;
        memset(to, 0, (size_t)s->dim * sizeof *to);
        for (int64_t n = 0; n < s->images; n++)
            for (int64_t c = 0; c < s->dim; c++) to[c] += diff_dst[n * size + t * s->dim + c];
    }
    dg_begin_sum(diff_table, acc, s->table_rows * s->dim);
    for (int64_t t = 0; t < s->tokens;
         t++) /* several tokens read one row of the table: one thread adds them, in order */
        for (int k = 0; k < (t < s->first ? 1 : s->taps); k++) {
            float *to = diff_table + s->from[t * s->taps + k] * s->dim, weight = s->weight[t * s->taps + k];
            for (int64_t c = 0; c < s->dim; c++) to[c] += weight * sum[t * s->dim + c];
        }
    return DG_OK;
}

static const struct dg_operand add_position_grad_inputs[] = {
    [DIFF_DST] = {"diff_dst"},
    [ACC_TABLE] = {"acc_table", DG_OPTIONAL},
    {0},
};
static const struct dg_operand add_position_grad_outputs[] = {
    [DIFF_TABLE] = {"diff_table", 0, DG_REUSE(ACC_TABLE)},
    {0},
};

const struct dg_op dg_op_add_position_grad = {
    .name = "add_position_grad",
    .attrs = grad_attrs,
    .inputs = add_position_grad_inputs,
    .outputs = add_position_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
    .release = release,
};

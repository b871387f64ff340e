/* Columns, the last dimension, of several values side by side: features of several layers for one classifier, channels of branches.
 *
 *   concat_columns (P parts [..,C_p]) -> dst [.., sum of C_p]: part after part, or with `interleave` (all of one width) the
 *                  first column of each, then the second of each, ... as stacking on a new last axis and flattening gives
 *   slice_columns  (src [..,C]) -> dst [..,count], columns first, first + stride, ...: its gradient, one part
 *   place_columns  (src [..,count]) -> dst [..,cols], zero but for these columns: the gradient of slice_columns */
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_slice_columns, dg_op_place_columns;

enum { PARTS }; /* inputs from here on */
enum { SRC };   /* input of slice_columns */
enum { DST };   /* output */

enum { INTERLEAVE }; /* attribute of concat_columns */
static const struct dg_attr_spec attrs[] = {
    {.name = "interleave",
     .type = DG_ATTR_BOOL,
     .max = 1,
     .doc = "a column of each part in turn, in place of part after part"},
    {0},
};

static int64_t columns_of(const struct dg_desc *desc) { return desc->dim[desc->ndim - 1]; }

static struct dg_desc with_columns(const struct dg_desc *desc, int64_t columns)
{
    struct dg_desc other = *desc;
    other.dim[other.ndim - 1] = columns;
    return other;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *first = &call->input[PARTS];
    int64_t cols = 0;
    for (int i = 0; i < call->num_inputs; i++) {
        const struct dg_desc *part = &call->input[i];
        if (part->ndim < 2) return dg_want_ndim(part, 2, "input", err);
        bool same =
            part->ndim == first->ndim && !memcmp(part->dim, first->dim, (size_t)(part->ndim - 1) * sizeof *part->dim);
        if (!same) {
            char a[96], b[96];
            return dg_fail(err, DG_ERR_INPUT,
                           "input %d, %s, must have the dimensions of the first, %s, but for the last", i + 1,
                           dg_desc_text(a, sizeof a, part), dg_desc_text(b, sizeof b, first));
        }
        if (call->attr[INTERLEAVE].i && columns_of(part) != columns_of(first))
            return dg_fail(err, DG_ERR_INPUT, "interleaved inputs must have as many columns each");
        cols += columns_of(part);
    }
    output[DST] = with_columns(first, cols);
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    bool interleave = b->call->attr[INTERLEAVE].i;
    int64_t first = 0;
    for (int i = 0; i < b->call->num_inputs; i++) {
        int64_t count = columns_of(&b->call->input[i]);
        dg_value made[DG_MAX_OUTPUTS];
        union dg_attr part[] = {{.i = first}, {.i = interleave ? b->call->num_inputs : 1}, {.i = count}};
        first += interleave ? 1 : count;
        if (!b->wants[i]) continue;
        DG_TRY(b->emit(b, &dg_op_slice_columns, part, &b->diff_output[DST], 1, made));
        DG_TRY(b->add_gradient(b, i, made[DST]));
    }
    return DG_OK;
}

struct state {
    int64_t rows, cols; /* of the whole */
    int64_t parts, stride;
    int64_t count[]; /* columns a part */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    int parts = p->call->num_inputs;
    struct state *s = dg_op_state(p, sizeof *s + (size_t)parts * sizeof s->count[0], err);
    if (!s) return DG_ERR_MEMORY;
    s->rows = dg_desc_rows(&p->call->output[DST]);
    s->cols = columns_of(&p->call->output[DST]);
    s->parts = parts;
    s->stride = p->call->attr[INTERLEAVE].i ? parts : 1;
    for (int i = 0; i < parts; i++) s->count[i] = columns_of(&p->call->input[i]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        int64_t first = 0;
        for (int64_t i = 0; i < s->parts; i++) {
            const float *from = (const float *)r->input[i] + row * s->count[i];
            float *to = dst + row * s->cols + first;
            for (int64_t c = 0; c < s->count[i]; c++) to[c * s->stride] = from[c];
            first += s->stride > 1 ? 1 : s->count[i];
        }
    }
    return DG_OK;
}

static const struct dg_operand concat_columns_inputs[] = {
    [PARTS] = {"parts", DG_VARIADIC},
    {0},
};
static const struct dg_operand concat_columns_outputs[] = {
    [DST] = {"dst"},
    {0},
};

/* Interleaved: the parts side by side as [N, P, C], turned to [N, C, P], flat. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *out = &b->call->output[DST];
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", out->ndim == 4 ? 1 : out->ndim - 1), {0}};
    int64_t parts = b->call->num_inputs, columns = columns_of(out), dim[DG_MAX_DIMS + 1] = {0},
            order[DG_MAX_DIMS + 1] = {0};
    dg_onnx_value dst = b->add_node(b, "Concat", attr, b->input, (int)parts);
    if (b->call->attr[INTERLEAVE].i) {
        int last = out->ndim - 1;
        for (int d = 0; d < last; d++) dim[d] = d ? out->dim[d] : 0, order[d] = d;
        dst = dg_onnx_channels_last(b, dst, out->ndim);
        dim[last] = parts, dim[last + 1] = columns / parts;
        dst = dg_onnx_reshape(b, dst, last + 2, dim);
        order[last] = last + 1, order[last + 1] = last;
        dst = dg_onnx_transpose(b, dst, last + 2, order);
        dim[last] = columns;
        dst = dg_onnx_channels_first(b, dg_onnx_reshape(b, dst, last + 1, dim), out->ndim);
    }
    b->output[DST] = dst;
}

const struct dg_op dg_op_concat_columns = {
    .name = "concat_columns",
    .in_yaml = true,
    .doc = "Columns, or channels, of several values, side by side.",
    .attrs = attrs,
    .inputs = concat_columns_inputs,
    .outputs = concat_columns_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

enum { FIRST, STRIDE, COUNT }; /* attributes of slice_columns */
static const struct dg_attr_spec slice_attrs[] = {
    [FIRST] = {.name = "first", .type = DG_ATTR_INT, .max = 1 << 30, .doc = "the first of them"},
    [STRIDE] = {.name = "stride",
                .type = DG_ATTR_INT,
                .value.i = 1,
                .min = 1,
                .max = 1 << 30,
                .doc = "from one of them to the next"},
    [COUNT] = {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .doc = "how many"},
    {0},
};

static enum dg_status infer_slice(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (src->ndim < 2) return dg_want_ndim(src, 2, "input", err);
    int64_t last = call->attr[FIRST].i + (call->attr[COUNT].i - 1) * call->attr[STRIDE].i;
    if (last >= columns_of(src))
        return dg_fail(err, DG_ERR_INPUT, "first, stride and count reach column %lld, and the input has 0 to %lld",
                       (long long)last, (long long)columns_of(src) - 1);
    output[DST] = with_columns(src, call->attr[COUNT].i);
    return DG_OK;
}

static enum dg_status grad_slice(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    union dg_attr attr[] = {b->call->attr[FIRST], b->call->attr[STRIDE], {.i = columns_of(&b->call->input[SRC])}};
    DG_TRY(b->emit(b, &dg_op_place_columns, attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

struct slice_state {
    int64_t rows, cols, first, stride, count; /* cols: of the wider one */
};

static enum dg_status open_slice(struct dg_prepare *p, const struct dg_desc *wider, const struct dg_desc *slice,
                                 struct dg_error *err)
{
    struct slice_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct slice_state){dg_desc_rows(wider), columns_of(wider), p->call->attr[FIRST].i, p->call->attr[STRIDE].i,
                              columns_of(slice)};
    return DG_OK;
}

static enum dg_status prepare_slice(struct dg_prepare *p, struct dg_error *err)
{
    return open_slice(p, &p->call->input[SRC], &p->call->output[DST], err);
}

static enum dg_status run_slice(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct slice_state *s = r->state;
    const float *src = r->input[SRC];
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++)
        for (int64_t c = 0; c < s->count; c++) dst[row * s->count + c] = src[row * s->cols + s->first + c * s->stride];
    return DG_OK;
}

static void onnx_slice(struct dg_onnx_builder *b)
{
    const union dg_attr *attr = b->call->attr;
    int ndim = b->call->input[SRC].ndim;
    int64_t axis = ndim == 4 ? 1 : ndim - 1, first = attr[FIRST].i, step = attr[STRIDE].i,
            end = first + (attr[COUNT].i - 1) * step + 1;
    dg_onnx_value input[] = {b->input[SRC], b->add_ints(b, 1, 1, &first), b->add_ints(b, 1, 1, &end),
                             b->add_ints(b, 1, 1, &axis), b->add_ints(b, 1, 1, &step)};
    b->output[DST] = b->add_node(b, "Slice", NULL, input, 5);
}

static const struct dg_operand slice_inputs[] = {[SRC] = {"src"}, {0}};
static const struct dg_operand slice_outputs[] = {[DST] = {"dst"}, {0}};

const struct dg_op dg_op_slice_columns = {
    .name = "slice_columns",
    .in_yaml = true,
    .doc = "Some of the columns, or channels.",
    .attrs = slice_attrs,
    .inputs = slice_inputs,
    .outputs = slice_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer_slice,
    .grad = grad_slice,
    .onnx = onnx_slice,
    .prepare = prepare_slice,
    .run = run_slice,
};

enum { PLACE_FIRST, PLACE_STRIDE, COLS }; /* attributes of place_columns */
static const struct dg_attr_spec place_attrs[] = {
    [PLACE_FIRST] = {.name = "first", .type = DG_ATTR_INT, .required = true, .max = 1 << 30, .internal = true},
    [PLACE_STRIDE] =
        {.name = "stride", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .internal = true},
    [COLS] = {.name = "cols", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .internal = true},
    {0},
};

static enum dg_status infer_place(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (src->ndim < 2) return dg_want_ndim(src, 2, "src", err);
    if (call->attr[PLACE_FIRST].i + (columns_of(src) - 1) * call->attr[PLACE_STRIDE].i >= call->attr[COLS].i)
        return dg_fail(err, DG_ERR_INPUT, "there are fewer columns");
    output[DST] = with_columns(src, call->attr[COLS].i);
    return DG_OK;
}

static enum dg_status prepare_place(struct dg_prepare *p, struct dg_error *err)
{
    return open_slice(p, &p->call->output[DST], &p->call->input[SRC], err);
}

static enum dg_status run_place(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct slice_state *s = r->state;
    const float *src = r->input[SRC];
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        float *to = dst + row * s->cols;
        memset(to, 0, (size_t)s->cols * sizeof *to);
        for (int64_t c = 0; c < s->count; c++) to[s->first + c * s->stride] = src[row * s->count + c];
    }
    return DG_OK;
}

const struct dg_op dg_op_place_columns = {
    .name = "place_columns",
    .attrs = place_attrs,
    .inputs = slice_inputs,
    .outputs = slice_outputs,
    .infer = infer_place,
    .grad = dg_no_gradient,
    .prepare = prepare_place,
    .run = run_place,
};

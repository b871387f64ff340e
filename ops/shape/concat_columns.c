/* Columns of several values as one matrix: features of several layers for one classifier.
 *
 *   concat_columns (P parts [N,C_p]) -> dst [N, sum of C_p]: part after part, or with `interleave` (all of one width) the
 *                  first column of each, then the second of each, ... as stacking on a new last axis and flattening gives
 *   slice_columns  (src [N,C]) -> dst [N,count], columns first, first + stride, ...: its gradient, one part */
#include "ops/op.h"

extern const struct dg_op dg_op_slice_columns;

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

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *first = &call->input[PARTS];
    int64_t cols = 0;
    for (int i = 0; i < call->num_inputs; i++) {
        const struct dg_desc *part = &call->input[i];
        DG_TRY(dg_want_ndim(part, 2, "input", err));
        if (part->dim[0] != first->dim[0]) return dg_fail(err, DG_ERR_INPUT, "inputs differ in rows");
        if (call->attr[INTERLEAVE].i && part->dim[1] != first->dim[1])
            return dg_fail(err, DG_ERR_INPUT, "interleaved inputs must have as many columns each");
        cols += part->dim[1];
    }
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){first->dim[0], cols});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    bool interleave = b->call->attr[INTERLEAVE].i;
    int64_t first = 0;
    for (int i = 0; i < b->call->num_inputs; i++) {
        int64_t count = b->call->input[i].dim[1];
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
    s->rows = p->call->output[DST].dim[0];
    s->cols = p->call->output[DST].dim[1];
    s->parts = parts;
    s->stride = p->call->attr[INTERLEAVE].i ? parts : 1;
    for (int i = 0; i < parts; i++) s->count[i] = p->call->input[i].dim[1];
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
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", 1), {0}};
    int64_t parts = b->call->num_inputs, columns = b->call->output[DST].dim[1];
    dg_onnx_value dst = b->add_node(b, "Concat", attr, b->input, (int)parts);
    if (b->call->attr[INTERLEAVE].i) {
        dst = dg_onnx_reshape(b, dst, 3, (int64_t[]){0, parts, columns / parts});
        dst = dg_onnx_reshape(b, dg_onnx_transpose(b, dst, 3, (int64_t[]){0, 2, 1}), 2, (int64_t[]){0, columns});
    }
    b->output[DST] = dst;
}

const struct dg_op dg_op_concat_columns = {
    .name = "concat_columns",
    .in_yaml = true,
    .doc = "Columns of several values, side by side.",
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
    {.name = "first", .type = DG_ATTR_INT, .required = true, .max = 1 << 30, .internal = true},
    {.name = "stride", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .internal = true},
    {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .internal = true},
    {0},
};

static enum dg_status infer_slice(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 2, "src", err));
    if (call->attr[FIRST].i + (call->attr[COUNT].i - 1) * call->attr[STRIDE].i >= src->dim[1])
        return dg_fail(err, DG_ERR_INPUT, "there are fewer columns");
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], call->attr[COUNT].i});
    return DG_OK;
}

struct slice_state {
    int64_t rows, cols, first, stride, count;
};

static enum dg_status prepare_slice(struct dg_prepare *p, struct dg_error *err)
{
    struct slice_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct slice_state){p->call->input[SRC].dim[0], p->call->input[SRC].dim[1], p->call->attr[FIRST].i,
                              p->call->attr[STRIDE].i, p->call->attr[COUNT].i};
    return DG_OK;
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

static const struct dg_operand slice_columns_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand slice_columns_outputs[] = {
    [DST] = {"dst"},
    {0},
};

const struct dg_op dg_op_slice_columns = {
    .name = "slice_columns",
    .attrs = slice_attrs,
    .inputs = slice_columns_inputs,
    .outputs = slice_columns_outputs,
    .infer = infer_slice,
    .grad = dg_no_gradient,
    .prepare = prepare_slice,
    .run = run_slice,
};

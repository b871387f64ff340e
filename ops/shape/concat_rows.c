/* Rows of several groups as one matrix, for a head whose batch norm sees all crops at once.
 *
 *   concat_rows (a [m,C], b [n,C]) -> dst [m+n,C]
 *   slice_rows  (src [N,C]) -> dst, rows [first, first + count): its gradient, one part */
#include "ops/op.h"

#include <string.h>

extern const struct dg_op dg_op_slice_rows;

enum { A, B }; /* inputs */
enum { SRC };  /* input of slice_rows */
enum { DST };  /* output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *a = &call->input[A], *b = &call->input[B];
    for (int i = 0; i < 2; i++) DG_TRY(dg_want_ndim(&call->input[i], 2, "input", err));
    if (a->dim[1] != b->dim[1]) return dg_fail(err, DG_ERR_INPUT, "rows differ in length");
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){a->dim[0] + b->dim[0], a->dim[1]});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    int64_t first = 0;
    for (int i = 0; i < 2; i++) {
        int64_t count = b->call->input[i].dim[0];
        dg_value made[DG_MAX_OUTPUTS];
        union dg_attr part[] = {{.i = first}, {.i = count}};
        first += count;
        if (!b->wants[i]) continue;
        DG_TRY(b->emit(b, &dg_op_slice_rows, part, &b->diff_output[DST], 1, made));
        DG_TRY(b->add_gradient(b, i, made[DST]));
    }
    return DG_OK;
}

struct state {
    int64_t offset, bytes[2]; /* of what is copied */
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    for (int i = 0; i < 2; i++) s->bytes[i] = dg_desc_bytes(&p->call->input[i]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    memcpy(r->output[DST], r->input[A], (size_t)s->bytes[0]);
    memcpy((char *)r->output[DST] + s->bytes[0], r->input[B], (size_t)s->bytes[1]);
    return DG_OK;
}

static const struct dg_operand concat_rows_inputs[] = {
    [A] = {"a"},
    [B] = {"b"},
    {0},
};
static const struct dg_operand concat_rows_outputs[] = {
    [DST] = {"dst"},
    {0},
};

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", 0), {0}};
    b->output[DST] = b->add_node(b, "Concat", attr, b->input, 2);
}

const struct dg_op dg_op_concat_rows = {
    .name = "concat_rows",
    .in_yaml = true,
    .doc = "Rows of two values, one below the other.",
    .inputs = concat_rows_inputs,
    .outputs = concat_rows_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

enum { FIRST, COUNT }; /* attributes of slice_rows */
static const struct dg_attr_spec slice_attrs[] = {
    {.name = "first", .type = DG_ATTR_INT, .required = true, .max = 1 << 30, .internal = true},
    {.name = "count", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 30, .internal = true},
    {0},
};

static enum dg_status infer_slice(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 2, "src", err));
    if (call->attr[FIRST].i + call->attr[COUNT].i > src->dim[0])
        return dg_fail(err, DG_ERR_INPUT, "there are fewer rows");
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){call->attr[COUNT].i, src->dim[1]});
    return DG_OK;
}

static enum dg_status prepare_slice(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->offset = p->call->attr[FIRST].i * p->call->input[SRC].dim[1] * (int64_t)sizeof(float);
    s->bytes[0] = dg_desc_bytes(&p->call->output[DST]);
    return DG_OK;
}

static enum dg_status run_slice(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    memcpy(r->output[DST], (const char *)r->input[SRC] + s->offset, (size_t)s->bytes[0]);
    return DG_OK;
}

static const struct dg_operand slice_rows_inputs[] = {
    [SRC] = {"src"},
    {0},
};
static const struct dg_operand slice_rows_outputs[] = {
    [DST] = {"dst"},
    {0},
};

const struct dg_op dg_op_slice_rows = {
    .name = "slice_rows",
    .attrs = slice_attrs,
    .inputs = slice_rows_inputs,
    .outputs = slice_rows_outputs,
    .infer = infer_slice,
    .grad = dg_no_gradient,
    .prepare = prepare_slice,
    .run = run_slice,
};

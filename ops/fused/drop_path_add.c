/* drop_path_add (src, residual) -> dst = residual + drop_path(src): the end of a residual branch. With a row map src has the
 * surviving images only. */
#include "ops/elementwise/drop_path.h"
#include "ops/kernels/drop_path.h"
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_drop_path, dg_op_add, dg_op_drop_path_grad, dg_op_draw_rows, dg_op_drop_path_add;

enum { SRC, RESIDUAL, ROWS }; /* inputs */
enum { DST };                 /* output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have a batch dimension");
    if (!dg_desc_equal(&call->input[SRC], &call->input[RESIDUAL]))
        return dg_fail(err, DG_ERR_INPUT, "input and residual differ in shape");
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    if (b->wants[SRC]) {
        DG_TRY(b->emit(b, &dg_op_drop_path_grad, b->call->attr, &b->diff_output[DST], 1, made));
        DG_TRY(b->add_gradient(b, SRC, made[0]));
    }
    return b->wants[RESIDUAL] ? b->add_gradient(b, RESIDUAL, b->diff_output[DST]) : DG_OK;
}

struct state {
    struct dg_drop_path drop;
    int64_t image_size;
    bool src_bf16, dst_bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->drop = dg_drop_path_make(p, src->dim[0], p->call->attr[DG_DROP_PATH_RATE].f);
    s->image_size = dg_desc_count(src) / src->dim[0];
    s->src_bf16 = dg_is_bf16(src);
    s->dst_bf16 = dg_is_bf16(&p->call->output[DST]);
    if (dg_absent(&p->call->input[ROWS])) dg_op_scratch(p, src->dim[0] * (int64_t)sizeof(int64_t));
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const int64_t *from = r->scratch; /* dst image i is made of src image from[i] */
    if (r->input[ROWS])
        from = dg_row_places(r->input[ROWS]);
    else
        dg_drop_path_draw(&s->drop, r->step, r->scratch);
    dg_drop_path_kernels()->drop_path(&(struct dg_drop_path_args){.images = s->drop.images,
                                                                  .size = s->image_size,
                                                                  .from = from,
                                                                  .keep = s->drop.keep,
                                                                  .src_bf16 = s->src_bf16,
                                                                  .src = r->input[SRC],
                                                                  .residual = r->input[RESIDUAL],
                                                                  .dst_bf16 = s->dst_bf16,
                                                                  .dst = r->output[DST]});
    return DG_OK;
}

static const struct dg_operand inputs[] = {[SRC] = {"src", DG_BF16_OK | DG_COMPACT},
                                           [RESIDUAL] = {"residual"},
                                           [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                           {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", 0, DG_REUSE(RESIDUAL)}, {0}};

const struct dg_op dg_op_drop_path_add = {
    .name = "drop_path_add",
    .attrs = dg_drop_path_attrs,
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .draws_rows = &dg_op_draw_rows,
    .infer = infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    dg_value dropped = dg_output_of(&m->producer, "dst"), a = dg_input_of(&m->consumer, "a");
    made->op = &dg_op_drop_path_add;
    made->attr[DG_DROP_PATH_RATE] = dg_attr_of(&m->producer, "rate");
    made->input[SRC] = dg_input_of(&m->producer, "src");
    made->input[RESIDUAL] = a == dropped ? dg_input_of(&m->consumer, "b") : a;
    made->output[DST] = dg_output_of(&m->consumer, "dst");
    return true;
}

const struct dg_rewrite dg_fuse_drop_path_add = {.name = "drop_path + add",
                                                 .producer = &dg_op_drop_path,
                                                 .consumer = &dg_op_add,
                                                 .phase = DG_FUSE_FORWARD,
                                                 .build = build};

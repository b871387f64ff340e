/* draw_rows () -> rows: the row map of the images that survive drop path, for all ops of a branch that leave the others out
 * (compiler/passes/compact_rows.c). */
#include "ops/elementwise/drop_path.h"

enum { RATE, IMAGES }; /* attributes */
enum { ROWS };         /* output */

static const struct dg_attr_spec attrs[] = {
    {.name = "rate", .type = DG_ATTR_FLOAT, .max = 0.999, .internal = true, .doc = "probability of dropping an image"},
    {.name = "images", .type = DG_ATTR_INT, .min = 1, .max = 1 << 30, .internal = true, .doc = "how many there are"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)err;
    output[ROWS] = dg_desc_make(DG_I64, 1, (int64_t[]){dg_row_map_size(call->attr[IMAGES].i)});
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_drop_path *d = dg_op_state(p, sizeof *d, err);
    if (!d) return DG_ERR_MEMORY;
    *d = dg_drop_path_make(p, p->call->attr[IMAGES].i, p->call->attr[RATE].f);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_drop_path *d = r->state;
    int64_t *rows = r->output[ROWS], count = 0;
    for (int64_t i = 0; i < d->images; i++) {
        bool keep = dg_drop_path_survives(d, r->step, i);
        rows[1 + i] = keep ? count : -1;
        if (keep) rows[1 + d->images + count++] = i;
    }
    rows[0] = count;
    for (int64_t i = count; i < d->images; i++) rows[1 + d->images + i] = -1;
    return DG_OK;
}

static const struct dg_operand outputs[] = {
    [ROWS] = {"rows", DG_ROW_MAP},
    {0},
};

const struct dg_op dg_op_draw_rows = {
    .name = "draw_rows",
    .attrs = attrs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

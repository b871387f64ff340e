/* add_layer_norm: a residual sum and the layer norm on it, in one sweep. The compiler makes it of `add` or `drop_path_add` and
 * the layer_norm that reads the sum first; others go on reading the sum. It has no gradient: it is made when there is nothing
 * left to differentiate.
 *
 *   add_layer_norm (src, residual, weight, bias) -> sum = residual + drop_path(src), dst = layer_norm(sum), [mean], [rstd] */
#include "ops/drop_path.h"
#include "ops/kernels/kernels.h"
#include "ops/layer_norm.h"

enum { RATE, EPS };                   /* attributes */
enum { SRC, RESIDUAL, WEIGHT, BIAS }; /* inputs */
enum { SUM, DST, MEAN, RSTD };        /* outputs */

extern const struct dg_op dg_op_add_layer_norm;

static const struct dg_attr_spec attrs[] = {
    {.name = "rate", .type = DG_ATTR_FLOAT, .max = 0.999, .internal = true, .doc = "drop path's, of src"},
    {.name = "eps", .type = DG_ATTR_FLOAT, .max = 1, .internal = true, .doc = "the norm's"},
    {0},
};

bool dg_join_layer_norm(struct dg_fusion *f, dg_value src, dg_value residual, double rate)
{
    if (f->next != &dg_op_layer_norm) return false;
    union dg_attr eps = f->next_attr[DG_LAYER_NORM_EPS];
    f->op = &dg_op_add_layer_norm;
    f->attr[RATE].f = rate;
    f->attr[EPS] = eps;
    f->input[SRC] = src;
    f->input[RESIDUAL] = residual;
    f->input[WEIGHT] = f->next_input[DG_LAYER_NORM_WEIGHT];
    f->input[BIAS] = f->next_input[DG_LAYER_NORM_BIAS];
    f->num_inputs = 4;
    f->takes = (1 << DG_LAYER_NORM_OUTPUTS) - 1;
    return true;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_f32(src, "input", err));
    if (src->ndim < 2) return dg_fail(err, DG_ERR_INPUT, "input must have at least 2 dimensions");
    struct dg_desc vector = dg_desc_make(DG_F32, 1, &src->dim[src->ndim - 1]);
    if (!dg_desc_equal(src, &call->input[RESIDUAL]) || !dg_desc_equal(&vector, &call->input[WEIGHT]) ||
        !dg_desc_equal(&vector, &call->input[BIAS]))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[SUM] = output[DST] = *src;
    output[MEAN] = output[RSTD] = dg_desc_make(DG_F32, 1, (int64_t[]){dg_desc_rows(src)});
    return DG_OK;
}

struct state {
    struct dg_drop_path drop;
    int64_t rows, cols;
    float eps;
    bool src_half, residual_half, dst_half;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->drop = dg_drop_path_open(p, p->call->attr[RATE].f);
    s->rows = dg_desc_rows(src);
    s->cols = src->dim[src->ndim - 1];
    s->eps = (float)p->call->attr[EPS].f;
    s->src_half = dg_is_bf16(src);
    s->residual_half = dg_is_bf16(&p->call->input[RESIDUAL]);
    s->dst_half = dg_is_bf16(&p->call->output[DST]);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_kernels()->add_layer_norm(s->rows, s->cols, dg_drop_path_draw(&s->drop, r), s->rows / s->drop.rows, s->drop.keep,
                                 s->src_half, r->input[SRC], s->residual_half, r->input[RESIDUAL], r->input[WEIGHT],
                                 r->input[BIAS], s->eps, r->output[SUM], s->dst_half, r->output[DST], r->output[MEAN],
                                 r->output[RSTD]);
    return DG_OK;
}

const struct dg_op dg_op_add_layer_norm = {
    .name = "add_layer_norm",
    .attrs = attrs,
    .min_inputs = 4,
    .max_inputs = 4,
    .output = {{"sum", 0}, {"dst", 0}, {"mean", DG_OUT_SAVED}, {"rstd", DG_OUT_SAVED}},
    .infer = infer,
    .grad = dg_no_gradient,
    .inplace = {RESIDUAL + 1, SRC + 1},
    .bf16_inputs = 1 << SRC | 1 << RESIDUAL,
    .bf16_outputs = 1 << DST,
    .prepare = prepare,
    .run = run,
};

/* add_layer_norm: a residual sum and the layer norm on it, in one sweep, of `add` or `drop_path_add` and the layer_norm that reads
 * the sum first; others go on reading the sum. It has no gradient: it is made when there is nothing left to differentiate.
 *
 *   add_layer_norm (src, residual, weight, bias, [src_rows], [rows])
 *                  -> sum = residual + drop_path(src), dst = layer_norm(sum), [mean], [rstd]
 *
 * With src_rows, src holds the survivors of the branch that ends here; with rows, dst, mean and rstd hold those of the branch
 * that begins here. */
#include "ops/elementwise/drop_path.h"
#include "ops/kernels/layer_norm.h"
#include "ops/op_rewrite.h"

enum { RATE, EPS };                                           /* attributes */
enum { SRC, RESIDUAL, WEIGHT, BIAS, SRC_ROWS, ROWS, INPUTS }; /* inputs */
enum { SUM, DST, MEAN, RSTD };                                /* outputs */

extern const struct dg_op dg_op_add, dg_op_drop_path_add, dg_op_layer_norm, dg_op_add_layer_norm;

static const struct dg_attr_spec attrs[] = {
    {.name = "rate", .type = DG_ATTR_FLOAT, .max = 0.999, .internal = true, .doc = "drop path's, of src"},
    {.name = "eps", .type = DG_ATTR_FLOAT, .max = 1, .internal = true, .doc = "the norm's"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_rows(src, "input", err));
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
    int64_t each, cols; /* `each`: rows of an image */
    float eps;
    bool src_bf16, residual_bf16, dst_bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->drop = dg_drop_path_make(p, src->dim[0], p->call->attr[RATE].f);
    s->each = dg_desc_rows(src) / src->dim[0];
    s->cols = src->dim[src->ndim - 1];
    s->eps = (float)p->call->attr[EPS].f;
    s->src_bf16 = dg_is_bf16(src);
    s->residual_bf16 = dg_is_bf16(&p->call->input[RESIDUAL]);
    s->dst_bf16 = dg_is_bf16(&p->call->output[DST]);
    if (s->drop.keep < 1 && dg_absent(&p->call->input[SRC_ROWS]))
        dg_op_scratch(p, src->dim[0] * (int64_t)sizeof(int64_t));
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    int64_t *drawn = r->scratch, images = s->drop.images;
    const int64_t *from = dg_row_places(r->input[SRC_ROWS]);
    if (!from && s->drop.keep < 1) {
        dg_drop_path_draw(&s->drop, r->step, drawn);
        from = drawn;
    }
    dg_layer_norm_kernels()->add_forward(&(struct dg_add_layer_norm_args){.rows = images * s->each,
                                                                          .cols = s->cols,
                                                                          .image_rows = s->each,
                                                                          .src_image = from,
                                                                          .keep = s->drop.keep,
                                                                          .src_bf16 = s->src_bf16,
                                                                          .src = r->input[SRC],
                                                                          .residual_bf16 = s->residual_bf16,
                                                                          .residual = r->input[RESIDUAL],
                                                                          .weight = r->input[WEIGHT],
                                                                          .bias = r->input[BIAS],
                                                                          .eps = s->eps,
                                                                          .sum = r->output[SUM],
                                                                          .dst_image = dg_row_places(r->input[ROWS]),
                                                                          .dst_bf16 = s->dst_bf16,
                                                                          .dst = r->output[DST],
                                                                          .mean = r->output[MEAN],
                                                                          .rstd = r->output[RSTD]});
    return DG_OK;
}

static void onnx(struct dg_onnx_builder *b)
{
    b->output[SUM] = dg_onnx_binary(b, "Add", b->input[SRC], b->input[RESIDUAL]);
    b->output[DST] = dg_onnx_layer_norm(b, b->output[SUM], b->call->input[SRC].ndim, b->input[WEIGHT], b->input[BIAS],
                                        b->call->attr[EPS].f);
}

static const struct dg_operand add_layer_norm_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT, .rows = SRC_ROWS},
    [RESIDUAL] = {"residual", DG_BF16_OK},
    [WEIGHT] = {"weight"},
    [BIAS] = {"bias"},
    [SRC_ROWS] = {"src_rows", DG_OPTIONAL | DG_ROW_MAP},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    {0},
};
static const struct dg_operand add_layer_norm_outputs[] = {
    [SUM] = {"sum", 0, DG_REUSE(RESIDUAL)}, /* dst not in src: their images may stand in other places */
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT}, [MEAN] = {"mean", DG_SAVED | DG_COMPACT},
    [RSTD] = {"rstd", DG_SAVED | DG_COMPACT}, {0},
};

const struct dg_op dg_op_add_layer_norm = {
    .name = "add_layer_norm",
    .attrs = attrs,
    .inputs = add_layer_norm_inputs,
    .outputs = add_layer_norm_outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = dg_no_gradient,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

/* The norm of the sum of `src`, under drop path at `rate`, and `residual`. */
static void build(const struct dg_match *m, dg_value src, dg_value residual, double rate, struct dg_new_node *made)
{
    made->op = &dg_op_add_layer_norm;
    made->attr[RATE].f = rate;
    made->attr[EPS] = dg_attr_of(&m->consumer, "eps");
    made->input[SRC] = src;
    made->input[RESIDUAL] = residual;
    made->input[WEIGHT] = dg_input_of(&m->consumer, "weight");
    made->input[BIAS] = dg_input_of(&m->consumer, "bias");
    made->input[SRC_ROWS] = dg_input_of(&m->producer, "rows");
    made->input[ROWS] = dg_input_of(&m->consumer, "rows");
    made->output[SUM] = dg_output_of(&m->producer, "dst");
    made->output[DST] = dg_output_of(&m->consumer, "dst");
    made->output[MEAN] = dg_output_of(&m->consumer, "mean");
    made->output[RSTD] = dg_output_of(&m->consumer, "rstd");
}

static bool build_add(const struct dg_match *m, struct dg_new_node *made)
{
    build(m, dg_input_of(&m->producer, "b"), dg_input_of(&m->producer, "a"), 0, made);
    return true;
}

static bool build_drop_path_add(const struct dg_match *m, struct dg_new_node *made)
{
    build(m, dg_input_of(&m->producer, "src"), dg_input_of(&m->producer, "residual"),
          dg_attr_of(&m->producer, "rate").f, made);
    return true;
}

const struct dg_rewrite dg_fuse_add_layer_norm = {.name = "add + layer_norm",
                                                  .producer = &dg_op_add,
                                                  .consumer = &dg_op_layer_norm,
                                                  .phase = DG_FUSE_LATE,
                                                  .keeps_producer_output = true,
                                                  .build = build_add};
const struct dg_rewrite dg_fuse_drop_path_add_layer_norm = {.name = "drop_path_add + layer_norm",
                                                            .producer = &dg_op_drop_path_add,
                                                            .consumer = &dg_op_layer_norm,
                                                            .phase = DG_FUSE_LATE,
                                                            .keeps_producer_output = true,
                                                            .build = build_drop_path_add};

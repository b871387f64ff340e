/* drop_path (stochastic depth; drop_path of the official vision_transformer.py): in training, each image of the leading
 * dimension survives with probability 1 - rate and is divided by it, or is set to zero. Its gradient applies the same mask:
 * drop_path_grad draws it again.
 *
 *   drop_path      (src) -> dst
 *   drop_path_grad (diff_dst) -> diff_src
 */
#include "ops/elementwise/drop_path.h"

#include "ops/base/rng.h"
#include "ops/kernels/drop_path.h"

extern const struct dg_op dg_op_drop_path_grad;

enum { SRC, ROWS }; /* inputs; of drop_path_grad the first is diff_dst, and it alone has the second */
enum { DST };       /* output; of drop_path_grad it is diff_src */

const struct dg_attr_spec dg_drop_path_attrs[] = {
    {.name = "rate",
     .type = DG_ATTR_FLOAT,
     .required = true,
     .min = 0,
     .max = 0.999,
     .training = true,
     .doc = "probability of dropping a row"},
    {0},
};

struct dg_drop_path dg_drop_path_make(const struct dg_prepare *p, int64_t images, double rate)
{
    return (struct dg_drop_path){.images = images,
                                 .keep = p->call->train ? (float)(1.0 - rate) : 1.0f,
                                 .stream = p->stream,
                                 .view0 = p->view0,
                                 .batch = p->batch > 0 ? p->batch : (int)images};
}

struct dg_drop_draw dg_drop_draw_of(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image)
{
    return (struct dg_drop_draw){.stream = d->stream ^ (uint64_t)step->step * UINT64_C(0x9E3779B97F4A7C15),
                                 .row = (uint64_t)(step->slice * d->batch + image % d->batch),
                                 .view = (uint32_t)(d->view0 + image / d->batch)};
}

bool dg_drop_path_survives(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image)
{
    struct dg_drop_draw draw = dg_drop_draw_of(d, step, image);
    uint32_t word = dg_rng_at(step->seed, DG_RNG_DROP_PATH, draw.stream, draw.view, draw.row);
    return d->keep + dg_unit_float(word) >= 1.0f;
}

void dg_drop_path_draw(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t *from)
{
    for (int64_t i = 0; i < d->images; i++) from[i] = dg_drop_path_survives(d, step, i) ? i : -1;
}

bool dg_drop_is_identity(const struct dg_op_call *call) { return !call->train || call->attr[DG_DROP_PATH_RATE].f == 0; }

enum dg_status dg_drop_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have a batch dimension");
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_drop_path_grad, b->call->attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
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
    dg_op_scratch(p, src->dim[0] * (int64_t)sizeof(int64_t));
    return DG_OK;
}

/* Image i of the `images` images of dst is made of image from[i] of src, or zero where that is -1. */
static void apply(const struct dg_run *r, int64_t images, const int64_t *from)
{
    const struct state *s = r->state;
    dg_drop_path_kernels()->drop_path(&(struct dg_drop_path_args){.images = images,
                                                                  .size = s->image_size,
                                                                  .from = from,
                                                                  .keep = s->drop.keep,
                                                                  .src_bf16 = s->src_bf16,
                                                                  .src = r->input[SRC],
                                                                  .dst_bf16 = s->dst_bf16,
                                                                  .dst = r->output[DST]});
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_drop_path_draw(&s->drop, r->step, r->scratch);
    apply(r, s->drop.images, r->scratch);
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const int64_t *rows = r->input[ROWS];
    if (!rows) return run(r, err);
    apply(r, dg_survivors(rows, s->drop.images), dg_row_images(rows, s->drop.images));
    return DG_OK;
}

static const struct dg_operand inputs[] = {[SRC] = {"src", DG_BF16_OK}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK, DG_REUSE(SRC)}, {0}};

const struct dg_op dg_op_drop_path = {
    .name = "drop_path",
    .in_yaml = true,
    .doc = "Drops whole images from a residual branch while training.",
    .attrs = dg_drop_path_attrs,
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .is_identity = dg_drop_is_identity,
    .infer = dg_drop_infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

static const struct dg_operand grad_inputs[] = {
    [SRC] = {"diff_dst", DG_BF16_OK}, [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand grad_outputs[] = {[DST] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)}, {0}};

const struct dg_op dg_op_drop_path_grad = {
    .name = "drop_path_grad",
    .attrs = dg_drop_path_attrs,
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .infer = dg_drop_infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run_grad,
};

/* drop_path (stochastic depth; drop_path of the official vision_transformer.py): in training, each row of the leading
 * dimension is kept with probability 1 - rate and divided by it, or set to zero. Its gradient applies the same mask:
 * drop_path_grad draws it again.
 *
 *   drop_path      (src) -> dst
 *   drop_path_add  (src, residual) -> dst = residual + what drop_path makes; the compiler makes it of both
 *   drop_path_grad (diff_dst) -> diff_src
 *   kept_images    () -> kept, which images are: for all ops of a branch that leave the others out (compiler/passes/compact_rows.c)
 *
 * The draw of a row is named by seed, step, node, view and image, so a mask depends neither on threads nor on how rows
 * are grouped into applications and slices. */
#include "ops/elementwise/drop_path.h"

#include "ops/base/rng.h"
#include "ops/kernels/drop_path.h"
#include "ops/norm/layer_norm.h"

extern const struct dg_op dg_op_add, dg_op_drop_path_add, dg_op_drop_path_grad, dg_op_kept_images;

enum { DROP_RATE };     /* attribute of all but kept_images */
enum { SRC, RESIDUAL }; /* inputs; of drop_path_grad SRC is diff_dst */
enum { DST };           /* output */

static const struct dg_attr_spec attrs[] = {
    {.name = "rate",
     .type = DG_ATTR_FLOAT,
     .required = true,
     .min = 0,
     .max = 0.999,
     .doc = "probability of dropping a row"},
    {0},
};

static bool is_identity(const struct dg_op_call *call) { return !call->train || call->attr[DROP_RATE].f == 0; }

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have a batch dimension");
    if (call->num_inputs > 1 && !dg_desc_equal(&call->input[SRC], &call->input[RESIDUAL]))
        return dg_fail(err, DG_ERR_INPUT, "input and residual differ in shape");
    output[DST] = call->input[SRC];
    return dg_want_f32(&call->input[SRC], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    if (b->wants[SRC]) {
        DG_TRY(b->emit(b, &dg_op_drop_path_grad, b->call->attr, &b->diff_output[DST], 1, made));
        DG_TRY(b->add_gradient(b, SRC, made[DST]));
    }
    return b->call->num_inputs > 1 && b->wants[RESIDUAL] ? b->add_gradient(b, RESIDUAL, b->diff_output[DST]) : DG_OK;
}

static bool absorb(struct dg_fusion *f)
{
    if (f->next != &dg_op_add) return false;
    f->op = &dg_op_drop_path_add;
    f->input[f->num_inputs++] = f->next_input[f->next_input[0] == f->made];
    return true;
}

static bool join(struct dg_fusion *f)
{
    return dg_join_layer_norm(f, f->input[SRC], f->input[RESIDUAL], f->attr[DROP_RATE].f);
}

struct dg_drop_path dg_drop_path_open(const struct dg_prepare *p, int64_t images, double rate)
{
    return (struct dg_drop_path){.images = images,
                                 .keep = p->call->train ? (float)(1.0 - rate) : 1.0f,
                                 .stream = p->stream,
                                 .view0 = p->view0,
                                 .batch = p->batch > 0 ? p->batch : (int)images};
}

static bool keeps(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image)
{
    uint64_t stream = d->stream ^ (uint64_t)step->step * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t view = (uint32_t)(d->view0 + image / d->batch);
    uint64_t row = (uint64_t)(step->slice * d->batch + image % d->batch);
    return d->keep + dg_unit_float(dg_rng_at(step->seed, DG_RNG_DROP_PATH, stream, view, row)) >= 1.0f;
}

void dg_drop_path_draw(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t *from)
{
    for (int64_t i = 0; i < d->images; i++) from[i] = keeps(d, step, i) ? i : -1;
}

struct state {
    struct dg_drop_path drop;
    int64_t image_size;
    bool residual, src_half, dst_half;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->drop = dg_drop_path_open(p, src->dim[0], p->call->attr[DROP_RATE].f);
    s->image_size = dg_desc_count(src) / src->dim[0];
    s->residual = p->call->num_inputs > 1;
    s->src_half = dg_is_bf16(src);
    s->dst_half = dg_is_bf16(&p->call->output[DST]);
    if (!p->call->kept) dg_op_scratch(p, src->dim[0] * (int64_t)sizeof(int64_t));
    return DG_OK;
}

/* dst image i is made of src image from[i]. */
static void apply(const struct dg_run *r, int64_t images, const int64_t *from)
{
    const struct state *s = r->state;
    dg_drop_path_kernels()->drop_path(&(struct dg_drop_path_args){.images = images,
                                                                  .size = s->image_size,
                                                                  .from = from,
                                                                  .keep = s->drop.keep,
                                                                  .src_bf16 = s->src_half,
                                                                  .src = r->input[SRC],
                                                                  .residual = s->residual ? r->input[RESIDUAL] : NULL,
                                                                  .dst_bf16 = s->dst_half,
                                                                  .dst = r->output[DST]});
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    int64_t images = s->drop.images, *from = r->scratch;
    if (r->kept && s->residual) {
        apply(r, images, dg_kept_place(r->kept));
    } else if (r->kept) {
        apply(r, r->kept[0], dg_kept_image(r->kept, images));
    } else {
        dg_drop_path_draw(&s->drop, r->step, from);
        apply(r, images, from);
    }
    return DG_OK;
}

static const struct dg_operand drop_path_inputs[] = {
    [SRC] = {"src", DG_BF16_OK},
    {0},
};
static const struct dg_operand drop_path_outputs[] = {
    [DST] = {"dst", DG_BF16_OK, DG_REUSE(SRC)},
    {0},
};

const struct dg_op dg_op_drop_path = {
    .name = "drop_path",
    .in_yaml = true,
    .doc = "Drops whole images from a residual branch while training.",
    .attrs = attrs,
    .inputs = drop_path_inputs,
    .outputs = drop_path_outputs,
    .reach = DG_REACH_ROW,
    .is_identity = is_identity,
    .infer = infer,
    .grad = grad,
    .absorb = absorb,
    .prepare = prepare,
    .run = run,
};

static const struct dg_operand drop_path_add_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [RESIDUAL] = {"residual"},
    {0},
};
static const struct dg_operand drop_path_add_outputs[] = {
    [DST] = {"dst", 0, DG_REUSE(RESIDUAL)},
    {0},
};

const struct dg_op dg_op_drop_path_add = {
    .name = "drop_path_add",
    .attrs = attrs,
    .inputs = drop_path_add_inputs,
    .outputs = drop_path_add_outputs,
    .reach = DG_REACH_ROW,
    .draws_rows = &dg_op_kept_images,
    .infer = infer,
    .grad = grad,
    .join = join,
    .prepare = prepare,
    .run = run,
};

static const struct dg_operand drop_path_grad_inputs[] = {
    [SRC] = {"diff_dst", DG_BF16_OK},
    {0},
};
static const struct dg_operand drop_path_grad_outputs[] = {
    [DST] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)},
    {0},
};

const struct dg_op dg_op_drop_path_grad = {
    .name = "drop_path_grad",
    .attrs = attrs,
    .inputs = drop_path_grad_inputs,
    .outputs = drop_path_grad_outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

/* --- kept_images --- */

enum { RATE, IMAGES }; /* attributes */

static const struct dg_attr_spec kept_attrs[] = {
    {.name = "rate", .type = DG_ATTR_FLOAT, .max = 0.999, .internal = true, .doc = "probability of dropping an image"},
    {.name = "images", .type = DG_ATTR_INT, .min = 1, .max = 1 << 30, .internal = true, .doc = "how many there are"},
    {0},
};

static enum dg_status infer_kept(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)err;
    output[DST] = dg_desc_make(DG_I64, 1, (int64_t[]){dg_kept_size(call->attr[IMAGES].i)});
    return DG_OK;
}

static enum dg_status prepare_kept(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_drop_path *d = dg_op_state(p, sizeof *d, err);
    if (!d) return DG_ERR_MEMORY;
    *d = dg_drop_path_open(p, p->call->attr[IMAGES].i, p->call->attr[RATE].f);
    return DG_OK;
}

static enum dg_status run_kept(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_drop_path *d = r->state;
    int64_t *kept = r->output[DST], count = 0;
    for (int64_t i = 0; i < d->images; i++) {
        bool keep = keeps(d, r->step, i);
        kept[1 + i] = keep ? count : -1;
        if (keep) kept[1 + d->images + count++] = i;
    }
    kept[0] = count;
    for (int64_t i = count; i < d->images; i++) kept[1 + d->images + i] = -1;
    return DG_OK;
}

static const struct dg_operand kept_images_outputs[] = {
    [DST] = {"kept", DG_ROW_MAP},
    {0},
};

const struct dg_op dg_op_kept_images = {
    .name = "kept_images",
    .attrs = kept_attrs,
    .outputs = kept_images_outputs,
    .infer = infer_kept,
    .grad = dg_no_gradient,
    .prepare = prepare_kept,
    .run = run_kept,
};

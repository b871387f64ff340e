/* dropout (Srivastava et al. 2014): in training, each number survives with probability 1 - rate and is divided by it, or is set to
 * zero. Its gradient is a dropout of the gradient with the same draws.
 *
 * The draw of a number is named by seed, step, node, view, image and its place in the image, as that of an image in drop_path: a
 * mask depends neither on threads nor on how rows are grouped into applications and slices. */
#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"
#include "ops/op.h"

extern const struct dg_op dg_op_dropout;

enum { RATE };      /* attribute */
enum { SRC, ROWS }; /* inputs */
enum { DST };       /* output */

static const struct dg_attr_spec attrs[] = {
    [RATE] = {.name = "rate",
              .type = DG_ATTR_FLOAT,
              .required = true,
              .max = 0.999,
              .training = true,
              .doc = "probability of dropping a number"},
    {0},
};

static bool is_identity(const struct dg_op_call *call) { return !call->train || call->attr[RATE].f == 0; }

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have a batch dimension");
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_dropout, b->call->attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

struct state {
    int64_t images, each; /* each: numbers of an image */
    int view0, batch;
    uint64_t stream;
    float keep;
    bool bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    *s = (struct state){.images = src->dim[0],
                        .each = dg_desc_count(src) / src->dim[0],
                        .view0 = p->view0,
                        .batch = p->batch > 0 ? p->batch : (int)src->dim[0],
                        .stream = p->stream,
                        .keep = p->call->train ? (float)(1.0 - p->call->attr[RATE].f) : 1.0f,
                        .bf16 = dg_is_bf16(src)};
    return DG_OK;
}

/* The numbers of one image, at `to` of src and dst. */
static void drop(const struct state *s, const struct dg_step_info *step, int64_t image, int64_t to,
                 const struct dg_run *r)
{
    uint64_t stream = s->stream ^ (uint64_t)step->step * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t first = (uint64_t)(step->slice * s->batch + image % s->batch) * (uint64_t)s->each;
    uint32_t view = (uint32_t)(s->view0 + image / s->batch), word[4] = {0};
    for (int64_t i = 0; i < s->each; i++) {
        uint64_t draw = first + (uint64_t)i;
        if (!i || !(draw % 4)) dg_philox(step->seed, DG_RNG_DROPOUT, stream, view, (uint32_t)(draw / 4), word);
        bool survives = s->keep + dg_unit_float(word[draw % 4]) >= 1.0f;
        dg_put(r->output[DST], s->bf16, to + i, survives ? dg_get(r->input[SRC], s->bf16, to + i) / s->keep : 0);
    }
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const int64_t *kept = dg_row_images(r->input[ROWS], s->images), count = dg_survivors(r->input[ROWS], s->images);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; n++) drop(s, r->step, kept ? kept[n] : n, n * s->each, r);
    return DG_OK;
}

static const struct dg_operand inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT}, [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)}, {0}};

const struct dg_op dg_op_dropout = {
    .name = "dropout",
    .in_yaml = true,
    .doc = "Drops single numbers while training.",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .bf16_alike = true,
    .reach = DG_REACH_IMAGE, /* a number's draw goes by its place in the image */
    .is_identity = is_identity,
    .infer = infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

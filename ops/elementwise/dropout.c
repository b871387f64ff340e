/* dropout (Srivastava et al. 2014): in training, each number survives with probability 1 - rate and is divided by it, or is set to
 * zero. Its gradient is a dropout of the gradient with the same draws. Draws are named as those of drop_path are, and by the place
 * of the number in its image. */
#include "ops/elementwise/drop_path.h"

#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"

extern const struct dg_op dg_op_dropout;

enum { SRC, ROWS }; /* inputs */
enum { DST };       /* output */

static const struct dg_attr_spec attrs[] = {
    [DG_DROP_PATH_RATE] = {.name = "rate",
                           .type = DG_ATTR_FLOAT,
                           .required = true,
                           .max = 0.999,
                           .training = true,
                           .doc = "probability of dropping a number"},
    {0},
};

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_dropout, b->call->attr, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

struct state {
    struct dg_drop_path drop;
    int64_t each; /* numbers of an image */
    bool bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    s->drop = dg_drop_path_make(p, src->dim[0], p->call->attr[DG_DROP_PATH_RATE].f);
    s->each = dg_desc_count(src) / src->dim[0];
    s->bf16 = dg_is_bf16(src);
    return DG_OK;
}

/* The numbers of one image, which begin at number `at` of src and dst. */
static void drop(const struct dg_run *r, int64_t image, int64_t at)
{
    const struct state *s = r->state;
    struct dg_drop_draw named = dg_drop_draw_of(&s->drop, r->step, image);
    float keep = s->drop.keep;
    uint32_t word[4] = {0}; /* a block of four draws */
    for (int64_t i = 0; i < s->each; i++) {
        uint64_t draw = named.row * (uint64_t)s->each + (uint64_t)i;
        if (!i || !(draw % 4))
            dg_philox(r->step->seed, DG_RNG_DROPOUT, named.stream, named.view, (uint32_t)(draw / 4), word);
        bool survives = keep + dg_unit_float(word[draw % 4]) >= 1.0f;
        dg_put(r->output[DST], s->bf16, at + i, survives ? dg_get(r->input[SRC], s->bf16, at + i) / keep : 0);
    }
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const int64_t *images = dg_row_images(r->input[ROWS], s->drop.images);
    int64_t count = dg_survivors(r->input[ROWS], s->drop.images);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; n++) drop(r, images ? images[n] : n, n * s->each);
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
    .is_identity = dg_drop_is_identity,
    .infer = dg_drop_infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

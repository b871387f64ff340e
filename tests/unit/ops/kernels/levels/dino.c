#include "ops/kernels/dino.h"
#include "tests/unit/ops/kernels/levels/dino.h"

/* `rows` of views of a batch beside the targets of two. */
static struct dg_dino_pairs pairs_of(struct trial *t)
{
    int64_t batch = trial_size(t, 4), rows = batch * (1 + dg_rng_u32(&t->rng) % 3), cols = trial_size(t, 2100);
    return (struct dg_dino_pairs){.rows = rows,
                                  .cols = cols,
                                  .batch = batch,
                                  .view0 = dg_rng_u32(&t->rng) % 3,
                                  .s = trial_in(t, false, rows * cols, -1, 1),
                                  .q = trial_in(t, false, 2 * batch * cols, 0, 2 / (float)cols),
                                  .temp = TEMP};
}

void levels_dino_target(struct trial *t)
{
    int64_t rows = trial_size(t, 6), cols = trial_size(t, 2100);
    double units = 4 * MOST + trial_sum_of(cols) + 40;
    const float *logits = trial_in(t, false, rows * cols, -1, 1), *center = trial_in(t, false, cols, -1, 1);
    float *q = trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1, .scale = OF_EACH});
    AT(dino)->target(rows, cols, logits, center, TEMP, q,
                     trial_out_of(t, DG_F64, rows, (struct trial_bound){.f32 = units, .magnitude = 2 * MOST}));
}

/* Row after row, at every level. */
void levels_dino_row_mean(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 2100);
    const float *logits = trial_in(t, false, rows * cols, -1, 1);
    AT(dino)->row_mean(rows, cols, logits, trial_out(t, false, cols, trial_same_bits));
}

void levels_dino_loss(struct trial *t)
{
    struct dg_dino_pairs pairs = pairs_of(t);
    double units = 4 * MOST + trial_sum_of(pairs.cols) + 40;
    struct trial_bound bound = {.f32 = units, .magnitude = 4 * MOST};
    float *lse = trial_out_or_null(t, pairs.rows, bound);
    AT(dino)->loss(&pairs, lse, trial_out_of(t, DG_F64, pairs.rows, bound));
}

void levels_dino_loss_backward(struct trial *t)
{
    struct dg_dino_pairs pairs = pairs_of(t);
    const float *lse = lse_of(t, pairs.rows);
    AT(dino)->loss_backward(
        &pairs, lse, 0.5F,
        trial_out(t, false, pairs.rows * pairs.cols, (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 2}));
}

#include "ops/kernels/dino_tile.h"
#include "tests/unit/ops/kernels/levels/dino.h"

#include <math.h>
#include <string.h>

/* A maximum and sums of exponentials, of two tiles one after the other. */
void levels_dino_tile_target_sums(struct trial *t)
{
    int64_t rows = trial_size(t, 6);
    double *sums = trial_out_of(
        t, DG_F64, 3 * rows, (struct trial_bound){.f32 = 4 * MOST + 2 * trial_sum_of(256) + 40, .magnitude = 2 * 256});
    for (int64_t r = 0; r < rows; r++) memcpy(sums + 3 * r, (double[]){-INFINITY, 0, 0}, 3 * sizeof *sums);
    for (int tile = 0; tile < 2; tile++) {
        int64_t cols = trial_size(t, 256);
        float *logits = trial_in_out(t, rows * cols, -1, 1, (struct trial_bound){.f32 = 8, .magnitude = MOST});
        const float *center = trial_in(t, false, cols, -1, 1);
        AT(dino_tile)->target_sums(rows, cols, logits, center, TEMP, trial_out(t, false, cols, trial_same_bits), sums);
    }
}

void levels_dino_tile_target_probs(struct trial *t)
{
    int64_t rows = trial_size(t, 6), cols = trial_size(t, 256);
    float *logits = trial_in_out(t, rows * cols, -1, 1,
                                 (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 1, .scale = OF_EACH});
    const float *center = trial_in(t, false, cols, -1, 1);
    float *stats = trial_in(t, false, 2 * rows, 0, 1);
    for (int64_t r = 0; r < rows; r++) stats[2 * r] += MOST;
    AT(dino_tile)->target_probs(rows, cols, logits, center, TEMP, stats);
}

static struct dg_dino_tile tile_of(struct trial *t)
{
    int64_t batch = trial_size(t, 4), cols = trial_size(t, 256);
    return (struct dg_dino_tile){.rows = batch * (1 + dg_rng_u32(&t->rng) % 3),
                                 .cols = cols,
                                 .batch = batch,
                                 .view0 = dg_rng_u32(&t->rng) % 3,
                                 .q = trial_in(t, false, 2 * batch * cols, 0, 2 / (float)cols),
                                 .temp = TEMP};
}

void levels_dino_tile_loss_sums(struct trial *t)
{
    struct dg_dino_tile tile = tile_of(t);
    struct trial_bound bound = {.f32 = 4 * MOST + 2 * trial_sum_of(256) + 40, .magnitude = 2 * 256};
    double *sums = trial_out_of(t, DG_F64, 4 * tile.rows, bound);
    for (int64_t r = 0; r < tile.rows; r++) memcpy(sums + 4 * r, (double[]){-INFINITY, 0, 0, 0}, 4 * sizeof *sums);
    for (int turn = 0; turn < 2; turn++)
        AT(dino_tile)->loss_sums(&tile, trial_in(t, false, tile.rows * tile.cols, -1, 1), sums);
}

void levels_dino_tile_loss_backward(struct trial *t)
{
    struct dg_dino_tile tile = tile_of(t);
    const float *lse = lse_of(t, tile.rows);
    AT(dino_tile)->loss_backward(
        &tile, lse, 0.5F,
        trial_in_out(t, tile.rows * tile.cols, -1, 1, (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 2}));
}

/* The DINO loss over a tile of logits: all rows, some prototypes. Sums over all prototypes are carried from tile to tile, so that
 * no tensor of logits need be in memory. Each kernel is called by one thread for its own tile. */
#ifndef DG_OPS_KERNELS_DINO_TILE_H
#define DG_OPS_KERNELS_DINO_TILE_H

#include "ops/kernels/family.h"

/* A tile [rows, cols] of the student's logits beside that of the teacher's probabilities, q [2 * batch, cols]; rows and views
 * are as in struct dg_dino_pairs. */
struct dg_dino_tile {
    int64_t rows, cols, batch, view0;
    const float *q;
    float temp; /* the student's temperature */
};

struct dg_dino_tile_kernels {
    /* mean [cols] = the mean over the rows of the teacher's logits t [rows, cols]. Replaces t by z = (t - center) / temp and
     * updates sums [rows, 3]: the maximum of z so far, sum e^(z - max), and sum (z - max) e^(z - max). At first the caller sets
     * them to (-INFINITY, 0, 0). */
    void (*target_sums)(int64_t rows, int64_t cols, float *t, const float *center, float temp, float *mean,
                        double *sums);

    /* Replaces the teacher's logits by probabilities, given stats [rows, 2]: the maximum of z, and 1 / sum e^(z - max), over
     * all prototypes. */
    void (*target_probs)(int64_t rows, int64_t cols, float *t, const float *center, float temp, const float *stats);

    /* Updates sums [rows, 4] by the student's logits s: the maximum of s / temp so far, sum e^(s / temp - max), and for the two
     * views i sum q_i s / temp. At first the caller sets them to (-INFINITY, 0, 0, 0). */
    void (*loss_sums)(const struct dg_dino_tile *tile, const float *s, double *sums);

    /* Replaces the student's logits s by their gradient, scale times the sum over the views i that a row is compared with of
     * (softmax(s / temp) - q_i), with lse [rows] over all prototypes. */
    void (*loss_backward)(const struct dg_dino_tile *tile, const float *lse, float scale, float *s);
};
DG_KERNEL_FAMILY(dino_tile);

#endif

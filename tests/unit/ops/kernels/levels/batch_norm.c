#include "ops/kernels/batch_norm.h"
#include "tests/unit/ops/kernels/levels/levels.h"

#include <math.h>

/* Deviations from the first row are at most 2. */
void levels_batch_norm_moments(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double units = trial_sum_of(rows) + 10;
    AT(batch_norm)
        ->moments(&(struct dg_batch_norm_moments_args){
            .rows = rows,
            .cols = cols,
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_out(t, false, cols, (struct trial_bound){.f32 = units, .magnitude = 2}),
            .var = trial_out(t, false, cols, (struct trial_bound){.f32 = units, .magnitude = 4}),
            .partial = trial_scratch(t, 2 * cols * t->threads * 8),
            .threads = t->threads});
}

/* Of numbers, means and weights up to 1 and variances from 1/2: at most 2 sqrt(2) + 1. */
void levels_batch_norm_apply(struct trial *t)
{
    int64_t rows = trial_size(t, 100), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(batch_norm)
        ->apply(&(struct dg_batch_norm_apply_args){
            .rows = rows,
            .cols = cols,
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_in(t, false, cols, -1, 1),
            .var = trial_in(t, false, cols, 0.5F, 1.5F),
            .weight = trial_in(t, false, cols, -1, 1),
            .bias = trial_in(t, false, cols, -1, 1),
            .eps = 1e-5,
            .relu = trial_flag(t),
            .dst = trial_out(t, bf16, rows * cols, (struct trial_bound){.f32 = 16, .magnitude = 4}),
            .scale = trial_scratch(t, cols * 4)});
}

/* Scratch of the gradient: sums of threads, blocks, factors. */
static int64_t batch_norm_partial(const struct trial *t, int64_t cols)
{
    return 2 * cols * t->threads * (8 + 4) + 3 * cols * 4;
}

void levels_batch_norm_backward_sums(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double units = trial_sum_of(rows) + 30;
    struct trial_bound sums = {.f32 = units, .magnitude = 1 + 3 * (double)rows};
    AT(batch_norm)
        ->backward_sums(&(struct dg_batch_norm_grad_args){.rows = rows,
                                                          .cols = cols,
                                                          .bf16 = bf16,
                                                          .src = trial_in(t, bf16, rows * cols, -1, 1),
                                                          .mean = trial_in(t, false, cols, -1, 1),
                                                          .var = trial_in(t, false, cols, 0.5F, 1.5F),
                                                          .eps = 1e-5,
                                                          .dst = trial_in_or_null(t, bf16, rows * cols, -1, 1),
                                                          .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                                          .acc_weight = trial_in_or_null(t, false, cols, -1, 1),
                                                          .acc_bias = trial_in_or_null(t, false, cols, -1, 1),
                                                          .diff_weight = trial_out(t, false, cols, sums),
                                                          .diff_bias = trial_out_or_null(t, cols, sums),
                                                          .partial = trial_scratch(t, batch_norm_partial(t, cols)),
                                                          .threads = t->threads});
}

void levels_batch_norm_backward_src(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double *partial = trial_scratch(t, batch_norm_partial(t, cols));
    const float *sum = trial_in(t, false, 2 * cols, -1, 1);
    for (int64_t i = 0; i < 2 * cols; i++) partial[i] = (double)sum[i] * (double)rows;
    AT(batch_norm)
        ->backward_src(&(struct dg_batch_norm_grad_args){
            .rows = rows,
            .cols = cols,
            .all_rows = rows * (1 + trial_flag(t)),
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_in(t, false, cols, -1, 1),
            .var = trial_in(t, false, cols, 0.5F, 1.5F),
            .weight = trial_in(t, false, cols, -1, 1),
            .eps = 1e-5,
            .dst = trial_in_or_null(t, bf16, rows * cols, -1, 1),
            .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
            .diff_src = trial_out(t, bf16, rows * cols, (struct trial_bound){.f32 = 30, .magnitude = 15}),
            .partial = partial,
            .threads = t->threads});
}

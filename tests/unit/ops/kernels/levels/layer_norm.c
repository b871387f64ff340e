#include "ops/kernels/layer_norm.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* Where images of another tensor are: all of them, shuffled by a step; with `some`, every third is nowhere. */
static int64_t *places(struct trial *t, int64_t images, bool some)
{
    int64_t *place = trial_out_of(t, DG_I64, images, trial_same_bits);
    for (int64_t i = 0; i < images; i++) place[i] = some && i % 3 == 1 ? -1 : images - 1 - i;
    return place;
}

/* eps of 0.1 bounds rstd by 3.2, its change by 16 times that of the variance, and a result by 10. */
#define EPS 0.1F
static struct trial_bound norm_bound(int64_t cols, double magnitude)
{
    return (struct trial_bound){.f32 = trial_sum_of(cols) + 30, .magnitude = magnitude};
}

void levels_layer_norm_forward(struct trial *t)
{
    int64_t images = trial_size(t, 6), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t);
    AT(layer_norm)
        ->forward(&(struct dg_layer_norm_args){.rows = rows,
                                               .cols = cols,
                                               .image_rows = each,
                                               .src_image = trial_flag(t) ? places(t, images, false) : NULL,
                                               .src = trial_in(t, false, rows * cols, -1, 1),
                                               .weight = trial_in(t, false, cols, -1, 1),
                                               .bias = trial_in(t, false, cols, -1, 1),
                                               .eps = EPS,
                                               .dst_bf16 = bf16,
                                               .dst = trial_out(t, bf16, rows * cols, norm_bound(cols, 40)),
                                               .mean = trial_out_or_null(t, rows, norm_bound(cols, 1)),
                                               .rstd = trial_out_or_null(t, rows, norm_bound(cols, 16))});
}

/* The sum is a division and an addition: bits. */
void levels_layer_norm_add_forward(struct trial *t)
{
    int64_t images = trial_size(t, 6), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t), src = trial_flag(t), residual = trial_flag(t), drops = trial_flag(t);
    AT(layer_norm)
        ->add_forward(&(struct dg_add_layer_norm_args){.rows = rows,
                                                       .cols = cols,
                                                       .image_rows = each,
                                                       .src_image = drops ? places(t, images, true) : NULL,
                                                       .keep = drops ? 0.7F : 1,
                                                       .src_bf16 = src,
                                                       .residual_bf16 = residual,
                                                       .src = trial_in(t, src, rows * cols, -1, 1),
                                                       .residual = trial_in(t, residual, rows * cols, -1, 1),
                                                       .weight = trial_in(t, false, cols, -1, 1),
                                                       .bias = trial_in(t, false, cols, -1, 1),
                                                       .eps = EPS,
                                                       .sum = trial_out(t, false, rows * cols, trial_same_bits),
                                                       .dst_image = trial_flag(t) ? places(t, images, false) : NULL,
                                                       .dst_bf16 = bf16,
                                                       .dst = trial_out(t, bf16, rows * cols, norm_bound(cols, 100)),
                                                       .mean = trial_out_or_null(t, rows, norm_bound(cols, 3)),
                                                       .rstd = trial_out_or_null(t, rows, norm_bound(cols, 40))});
}

void levels_layer_norm_backward(struct trial *t)
{
    int64_t images = trial_size(t, 20), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t);
    struct trial_bound sums = {.f32 = trial_sum_of(rows) + 20, .magnitude = 1 + 2.5 * (double)rows};
    AT(layer_norm)
        ->backward(&(struct dg_layer_norm_grad_args){.rows = rows,
                                                     .cols = cols,
                                                     .image_rows = each,
                                                     .src = trial_in(t, false, rows * cols, -1, 1),
                                                     .dst_image = trial_flag(t) ? places(t, images, true) : NULL,
                                                     .diff_dst_bf16 = bf16,
                                                     .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                                     .weight = trial_in(t, false, cols, -1, 1),
                                                     .mean = trial_in(t, false, rows, -1, 1),
                                                     .rstd = trial_in(t, false, rows, 0.8F, 1.2F),
                                                     .acc_src = trial_in_or_null(t, false, rows * cols, -1, 1),
                                                     .acc_weight = trial_in_or_null(t, false, cols, -1, 1),
                                                     .acc_bias = trial_in_or_null(t, false, cols, -1, 1),
                                                     .diff_src = trial_out(t, false, rows * cols, norm_bound(cols, 12)),
                                                     .diff_weight = trial_out(t, false, cols, sums),
                                                     .diff_bias = trial_out_or_null(t, cols, sums),
                                                     .partial = trial_scratch(t, t->threads * 2 * cols * 4),
                                                     .threads = t->threads});
}

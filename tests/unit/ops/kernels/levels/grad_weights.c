#include "ops/kernels/grad_weights.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_grad_weights_scratch(struct trial *t)
{
    int64_t in = trial_size(t, 300), out = trial_size(t, 300);
    int64_t some = AT(grad_weights)->scratch(in, out, NULL, t->threads);
    assert_true(some > 0 && AT(grad_weights)->scratch(in, out, NULL, t->threads + 1) >= some);
}

/* Of a matrix, or of the windows of images; test_grad_weights.c has the exact sums of whole numbers. */
void levels_grad_weights_grad_weights(struct trial *t)
{
    int64_t images = trial_size(t, 3), side = 3 + trial_size(t, 6), channels = trial_size(t, 40);
    struct dg_windows w = {.height = side,
                           .width = side + 1,
                           .channels = channels,
                           .out_height = side - 2,
                           .out_width = side - 1,
                           .kernel = 3,
                           .stride = 1,
                           .dilation = 1};
    bool windows = trial_flag(t), bf16 = trial_flag(t), src = bf16 && trial_flag(t), diff = bf16 && trial_flag(t);
    int64_t rows = windows ? images * w.out_height * w.out_width : trial_size(t, 600),
            cols = windows ? channels * 9 : trial_size(t, 300), outputs = trial_size(t, 100),
            pixels = windows ? images * w.height * w.width * channels : rows * cols;
    struct trial_bound sums = {.f32 = trial_sum_of(rows + 1), .magnitude = (double)(rows + 1)};
    AT(grad_weights)
        ->grad_weights(&(struct dg_grad_weights_args){
            .bf16 = bf16,
            .rows = rows,
            .in = cols,
            .out = outputs,
            .windows = windows ? &w : NULL,
            .src_bf16 = src,
            .diff_dst_bf16 = diff,
            .src = trial_in(t, src, pixels, -1, 1),
            .diff_dst = trial_in(t, diff, rows * outputs, -1, 1),
            .acc_weight = trial_in_or_null(t, false, outputs * cols, -1, 1),
            .acc_bias = trial_in_or_null(t, false, outputs, -1, 1),
            .diff_weight = trial_out(t, false, outputs * cols, sums),
            .diff_bias = trial_out_or_null(t, outputs, sums),
            .scratch = trial_scratch(t, AT(grad_weights)->scratch(cols, outputs, windows ? &w : NULL, t->threads)),
            .threads = t->threads});
}

#include "ops/kernels/gelu.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* As test_gelu_line.c has it of each level: 2e-7 of numbers up to 10; in bf16 the slope is right to 7e-5. */
void levels_gelu_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -10, 10);
    AT(gelu)->forward(count, bf16, src,
                      trial_out(t, bf16, count, (struct trial_bound){.f32 = 2 * 2e-7 * 0x1p24, .magnitude = 10}));
}

static struct trial_bound gelu_slopes(bool bf16, double count)
{
    double off = bf16 ? 7e-5 : 2.5e-7;
    return (struct trial_bound){.f32 = 2 * (off * 0x1p24 + count), .magnitude = 1.13 * count};
}

void levels_gelu_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -10, 10), *diff = trial_in(t, bf16, count, -1, 1);
    AT(gelu)->backward(count, bf16, src, diff, trial_out(t, bf16, count, gelu_slopes(bf16, 1)));
}

void levels_gelu_backward_sums(struct trial *t)
{
    int64_t rows = trial_size(t, 100), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(gelu)->backward_sums(
        &(struct dg_gelu_sums_args){.rows = rows,
                                    .cols = cols,
                                    .bf16 = bf16,
                                    .src = trial_in(t, bf16, rows * cols, -10, 10),
                                    .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                    .diff_src = trial_out(t, bf16, rows * cols, gelu_slopes(bf16, 1)),
                                    .acc = trial_in_or_null(t, false, cols, -1, 1),
                                    .sums = trial_out(t, false, cols, gelu_slopes(bf16, 1 + (double)rows)),
                                    .partial = trial_scratch(t, t->threads * cols * 4),
                                    .threads = t->threads});
}

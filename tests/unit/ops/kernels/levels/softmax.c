#include "ops/kernels/softmax.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_softmax_forward(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 400);
    const float *src = trial_in(t, false, rows * cols, -5, 5);
    AT(softmax)->forward(
        rows, cols, src,
        trial_out(t, false, rows * cols,
                  (struct trial_bound){.f32 = trial_sum_of(cols) + 60, .magnitude = 1, .scale = OF_EACH}));
}

void levels_softmax_backward(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 400);
    const float *dst = trial_in(t, false, rows * cols, 0, 1 / (float)cols),
                *diff = trial_in(t, false, rows * cols, -1, 1);
    AT(softmax)->backward(
        rows, cols, dst, diff,
        trial_out(t, false, rows * cols,
                  (struct trial_bound){.f32 = trial_sum_of(cols) + 8, .magnitude = 2 / (double)cols}));
}

#include "ops/kernels/weight_norm.h"
#include "tests/unit/ops/kernels/levels/levels.h"

#include <math.h>

/* Numbers from 1/2 to 3/2: a row is at least sqrt(cols) / 2 long. */
void levels_weight_norm_rows(struct trial *t)
{
    int64_t rows = trial_size(t, 40), cols = trial_size(t, 300);
    const float *g = trial_in(t, false, rows, -1, 1), *v = trial_in(t, false, rows * cols, 0.5F, 1.5F);
    double units = trial_sum_of(cols) + 10;
    float *w = trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1});
    AT(weight_norm)
        ->rows(rows, cols, g, v, w,
               trial_out(t, false, rows, (struct trial_bound){.f32 = units, .magnitude = 2 * sqrt((double)cols)}));
}

void levels_weight_norm_rows_backward(struct trial *t)
{
    int64_t rows = trial_size(t, 40), cols = trial_size(t, 300);
    double units = trial_sum_of(cols) + 20, most = sqrt((double)cols);
    const float *v = trial_in(t, false, rows * cols, 0.5F, 1.5F);
    float *length = trial_in(t, false, rows, 0, 1);
    for (int64_t r = 0; r < rows; r++) {
        double square = 0;
        for (int64_t c = 0; c < cols; c++) square += (double)v[r * cols + c] * (double)v[r * cols + c];
        length[r] = (float)sqrt(square);
    }
    AT(weight_norm)
        ->rows_backward(&(struct dg_weight_norm_grad_args){
            .rows = rows,
            .cols = cols,
            .g = trial_in(t, false, rows, -1, 1),
            .v = v,
            .length = length,
            .diff_w = trial_in(t, false, rows * cols, -1, 1),
            .acc_g = trial_in_or_null(t, false, rows, -1, 1),
            .acc_v = trial_in_or_null(t, false, rows * cols, -1, 1),
            .diff_g = trial_out_or_null(t, rows, (struct trial_bound){.f32 = units, .magnitude = 1 + 3 * most}),
            .diff_v =
                trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1 + 20 / most})});
}

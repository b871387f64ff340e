#include "ops/kernels/column_sum.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* Down the rows one after another, at every level. */
void levels_column_sum_column_sum(struct trial *t)
{
    int64_t rows = trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(column_sum)
        ->column_sum(&(struct dg_column_sum_args){.rows = rows,
                                                  .cols = cols,
                                                  .src_bf16 = bf16,
                                                  .src = trial_in(t, bf16, rows * cols, -1, 1),
                                                  .acc = trial_in_or_null(t, false, cols, -1, 1),
                                                  .dst = trial_out(t, false, cols, trial_same_bits),
                                                  .partial = trial_scratch(t, t->threads * cols * 4),
                                                  .threads = t->threads});
}

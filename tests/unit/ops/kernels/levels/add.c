#include "ops/kernels/add.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_add_add(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool a = trial_flag(t), b = trial_flag(t), dst = trial_flag(t), through = trial_flag(t), relu = trial_flag(t);
    AT(add)->add(&(struct dg_add_args){.count = count,
                                       .relu = relu,
                                       .a_bf16 = a,
                                       .b_bf16 = b,
                                       .dst_bf16 = dst,
                                       .through_bf16 = through,
                                       .a = trial_in(t, a, count, -1, 1),
                                       .b = trial_in(t, b, count, -1, 1),
                                       .through = relu ? NULL : trial_in_or_null(t, through, count, -1, 1),
                                       .dst = trial_out(t, dst, count, trial_same_bits)});
}

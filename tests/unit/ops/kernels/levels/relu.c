#include "ops/kernels/relu.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_relu_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -1, 1);
    AT(relu)->forward(count, bf16, src, trial_out(t, bf16, count, trial_same_bits));
}

void levels_relu_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *dst = trial_in(t, bf16, count, -1, 1), *diff = trial_in(t, bf16, count, -1, 1);
    AT(relu)->backward(count, bf16, dst, diff, trial_out(t, bf16, count, trial_same_bits));
}

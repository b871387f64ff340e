#include "ops/kernels/activation.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* A sigmoid is an exponential, a sum and a quotient; slopes add four operations. The largest results are 8. */
void levels_activation_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    enum dg_activation f = (enum dg_activation)(dg_rng_u32(&t->rng) % DG_ACTIVATIONS);
    const void *src = trial_in(t, bf16, count, -8, 8);
    AT(activation)
        ->forward(f, count, bf16, src, trial_out(t, bf16, count, (struct trial_bound){.f32 = 12, .magnitude = 8}));
}

void levels_activation_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    enum dg_activation f = (enum dg_activation)(dg_rng_u32(&t->rng) % DG_ACTIVATIONS);
    const void *src = trial_in(t, bf16, count, -8, 8), *diff = trial_in(t, bf16, count, -1, 1);
    AT(activation)
        ->backward(f, count, bf16, src, diff,
                   trial_out(t, bf16, count, (struct trial_bound){.f32 = 16, .magnitude = 8}));
}

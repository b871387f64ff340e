#include "ops/kernels/pool.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_pool_global_mean(struct trial *t)
{
    int64_t images = trial_size(t, 4), pixels = trial_size(t, 100), channels = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, images * pixels * channels, -1, 1);
    AT(pool)->global_mean(
        images, pixels, channels, bf16, src,
        trial_out(t, false, images * channels, (struct trial_bound){.f32 = trial_sum_of(pixels) + 4, .magnitude = 1}));
}

void levels_pool_global_mean_backward(struct trial *t)
{
    int64_t images = trial_size(t, 4), pixels = trial_size(t, 100), channels = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    const float *diff = trial_in(t, false, images * channels, -1, 1);
    AT(pool)->global_mean_backward(images, pixels, channels, diff, bf16,
                                   trial_out(t, bf16, images * pixels * channels, trial_same_bits));
}

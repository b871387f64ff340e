#include "ops/kernels/convert.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* Any bits, with infinities and NaNs; of denormals see test_rounding.c. */
void levels_convert_to_bf16(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    uint32_t *src = trial_in(t, false, count, 0, 1);
    for (int64_t i = 0; i < count; i++) {
        src[i] = dg_rng_u32(&t->rng) | (dg_rng_u32(&t->rng) % 8 ? 0 : 0x7f800000);
        if (!(src[i] & 0x7f800000)) src[i] |= 0x00800000;
    }
    AT(convert)->to_bf16(count, (const float *)src, trial_out(t, true, count, trial_same_bits));
}

void levels_convert_rest(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    const float *src = trial_in(t, false, count, -3, 3);
    AT(convert)->rest(count, src, trial_out(t, false, count, trial_same_bits));
}

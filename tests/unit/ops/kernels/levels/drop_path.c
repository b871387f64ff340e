#include "ops/kernels/drop_path.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* A division and a sum. */
void levels_drop_path_drop_path(struct trial *t)
{
    int64_t images = trial_size(t, 20), numbers = trial_size(t, 300);
    bool src = trial_flag(t), dst = trial_flag(t);
    int64_t *from = trial_out_of(t, DG_I64, images, trial_same_bits);
    for (int64_t i = 0; i < images; i++) from[i] = (int64_t)(dg_rng_u32(&t->rng) % (images + 1)) - 1;
    AT(drop_path)->drop_path(
        &(struct dg_drop_path_args){.images = images,
                                    .size = numbers,
                                    .from = from,
                                    .keep = 0.7F,
                                    .src_bf16 = src,
                                    .dst_bf16 = dst,
                                    .src = trial_in(t, src, images * numbers, -1, 1),
                                    .residual = trial_in_or_null(t, false, images * numbers, -1, 1),
                                    .dst = trial_out(t, dst, images * numbers, trial_same_bits)});
}

#include "ops/kernels/im2col.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_im2col_im2col(struct trial *t)
{
    int64_t images = trial_size(t, 3), kernel = trial_size(t, 4), stride = kernel + dg_rng_u32(&t->rng) % 3,
            channels = trial_size(t, 40);
    int64_t height = kernel + trial_size(t, 9), width = kernel + trial_size(t, 9);
    bool src = trial_flag(t), dst = src || trial_flag(t);
    int64_t rows = images * ((height - kernel) / stride + 1) * ((width - kernel) / stride + 1);
    AT(im2col)->im2col(
        &(struct dg_im2col_args){.images = images,
                                 .height = height,
                                 .width = width,
                                 .channels = channels,
                                 .kernel = kernel,
                                 .stride = stride,
                                 .src_bf16 = src,
                                 .dst_bf16 = dst,
                                 .src = trial_in(t, src, images * height * width * channels, -1, 1),
                                 .dst = trial_out(t, dst, rows * channels * kernel * kernel, trial_same_bits)});
}

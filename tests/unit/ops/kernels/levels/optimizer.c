#include "ops/kernels/optimizer.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_optimizer_sum_squares(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *x = trial_in(t, false, count, -1, 1);
    double *sum = trial_out_of(t, DG_F64, 1, (struct trial_bound){.f32 = 0x1p-20, .magnitude = (double)count});
    *sum = AT(optimizer)->sum_squares(count, x);
}

/* Second moments from 1/4 bound a step by lr times 2. */
void levels_optimizer_adamw(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    struct trial_bound bound = {.f32 = 16, .magnitude = 2};
    AT(optimizer)->adamw(&(struct dg_adamw_args){.count = count,
                                                 .param = trial_in_out(t, count, -1, 1, bound),
                                                 .exp_avg = trial_in_out(t, count, -1, 1, bound),
                                                 .exp_avg_sq = trial_in_out(t, count, 0.25F, 1, bound),
                                                 .grad = trial_in(t, false, count, -1, 1),
                                                 .teacher = trial_flag(t) ? trial_in_out(t, count, -1, 1, bound) : NULL,
                                                 .grad_scale = 0.3F,
                                                 .decay = 0.99F,
                                                 .beta1 = 0.9F,
                                                 .one_minus_beta1 = 0.1F,
                                                 .beta2 = 0.999F,
                                                 .one_minus_beta2 = 0.001F,
                                                 .step_size = 0.1F,
                                                 .correction = 0.9F,
                                                 .eps = 1e-8F,
                                                 .momentum = 0.99F,
                                                 .one_minus_momentum = 0.01F});
}

void levels_optimizer_sgd(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    struct trial_bound bound = {.f32 = 16, .magnitude = 3};
    AT(optimizer)->sgd(&(struct dg_sgd_args){.count = count,
                                             .param = trial_in_out(t, count, -1, 1, bound),
                                             .buffer = trial_in_out(t, count, -1, 1, bound),
                                             .grad = trial_in(t, false, count, -1, 1),
                                             .teacher = trial_flag(t) ? trial_in_out(t, count, -1, 1, bound) : NULL,
                                             .grad_scale = 0.3F,
                                             .decay = 0.01F,
                                             .scale = 0.7F,
                                             .sgd_momentum = 0.9F,
                                             .lr = 0.1F,
                                             .momentum = 0.99F,
                                             .one_minus_momentum = 0.01F});
}

void levels_optimizer_lars_norms(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *param = trial_in(t, false, count, -1, 1), *grad = trial_in(t, false, count, -1, 1);
    double *squares = trial_out_of(t, DG_F64, 2, (struct trial_bound){.f32 = 8, .magnitude = (double)count});
    double *partial = trial_scratch(t, 2 * (count / 4096 + 1) * 8);
    struct dg_lars_norms norms = AT(optimizer)->lars_norms(count, param, grad, 0.3F, 0.5F, partial);
    squares[0] = norms.param_square;
    squares[1] = norms.direction_square;
}

void levels_optimizer_ema(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *param = trial_in(t, false, count, -1, 1);
    AT(optimizer)->ema(count, param, trial_in_out(t, count, -1, 1, (struct trial_bound){.f32 = 4, .magnitude = 1}),
                       0.99F, 0.01F);
}

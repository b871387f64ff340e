#include "ops/kernels/cross_covariance.h"
#include "tests/unit/ops/kernels/levels/levels.h"

void levels_cross_covariance_scratch(struct trial *t)
{
    int64_t tokens = trial_size(t, 100), width = trial_size(t, 60);
    assert_true(AT(cross_covariance)->scratch(tokens, width) > 0);
}

static struct dg_cross_covariance_head covariance_of(struct trial *t)
{
    bool bf16 = trial_flag(t);
    int64_t tokens = trial_size(t, 100), width = trial_size(t, 60), ld = width + dg_rng_u32(&t->rng) % 8;
    return (struct dg_cross_covariance_head){.bf16 = bf16,
                                             .tokens = tokens,
                                             .width = width,
                                             .q = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .k = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .v = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .ld = ld,
                                             .ld_dst = ld,
                                             .temperature = 2};
}

/* A cosine is a sum over the tokens, divided by two more; a probability adds an exponential and a sum over the channels. */
void levels_cross_covariance_forward(struct trial *t)
{
    struct dg_cross_covariance_head h = covariance_of(t);
    double units = 2 * 2 * trial_sum_of(h.tokens) + 2 * trial_sum_of(h.width) + 40;
    struct trial_bound bound = {.f32 = units, .magnitude = 1};
    AT(cross_covariance)
        ->forward(&h, trial_out_zeros(t, h.bf16, h.tokens * h.ld, bound),
                  trial_scratch(t, AT(cross_covariance)->scratch(h.tokens, h.width)));
}

/* The gradient of a probability is a sum over the tokens of products up to 1, and weighs at most temperature / 4. Channels are
 * divided by their lengths, which with few tokens may be small: gradients are compared with the largest. */
void levels_cross_covariance_backward(struct trial *t)
{
    struct dg_cross_covariance_head h = covariance_of(t);
    double units = 8 * trial_sum_of(h.tokens) + 8 * trial_sum_of(h.width) + 100, n = (double)h.tokens;
    struct trial_bound bound = {.f32 = units, .magnitude = 1, .scale = OF_LARGEST};
    struct trial_bound temperature = {.f32 = units, .magnitude = n * (double)h.width};
    float *sum = trial_out(t, false, 1, temperature);
    *sum = AT(cross_covariance)
               ->backward(&h, trial_in(t, h.bf16, h.tokens * h.ld_dst, -1, 1),
                          trial_out_zeros(t, h.bf16, h.tokens * h.ld, bound),
                          trial_out_zeros(t, h.bf16, h.tokens * h.ld, bound),
                          trial_out_zeros(t, h.bf16, h.tokens * h.ld, bound),
                          trial_scratch(t, AT(cross_covariance)->scratch(h.tokens, h.width)));
}

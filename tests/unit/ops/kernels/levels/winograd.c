#include "ops/kernels/winograd.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* A few times the channels that must come together. */
static int64_t some_channels(struct trial *t) { return DG_WINOGRAD_CHANNELS * (1 + dg_rng_u32(&t->rng) % 3); }

void levels_winograd_pack(struct trial *t)
{
    int64_t channels = some_channels(t), out = some_channels(t);
    bool turned = trial_flag(t);
    AT(winograd)->pack(&(struct dg_winograd_pack_args){
        .channels = channels,
        .out = out,
        .weight = trial_in(t, false, 9 * channels * out, -1, 1),
        .channel_step = turned ? 9 * out : 9,
        .out_step = turned ? 9 : 9 * channels,
        .turned = turned,
        .packed = trial_out(t, false, 16 * channels * out, trial_same_bits)}); /* sums of three, and halves */
}

void levels_winograd_scratch(struct trial *t)
{
    int64_t channels = some_channels(t), some = AT(winograd)->scratch(channels, t->threads);
    assert_true(some > 0 && AT(winograd)->scratch(channels, t->threads + 1) >= some);
}

/* A pixel is a sum of 9 parts, each of as many products as there are channels. With src and packed weights in (-1, 1) an element of
 * V is below 4; the transforms are chains of four sums each, the bias and dst two more. test_winograd.c has the exact sums of
 * whole numbers. */
void levels_winograd_convolve(struct trial *t)
{
    int64_t images = trial_size(t, 3), pad = dg_rng_u32(&t->rng) % 3, channels = some_channels(t),
            out = some_channels(t), height = 3 + dg_rng_u32(&t->rng) % 12, width = 3 + dg_rng_u32(&t->rng) % 12;
    int64_t pixels = images * (height + 2 * pad - 2) * (width + 2 * pad - 2);
    bool add = trial_flag(t);
    struct trial_bound sums = {.f32 = trial_sum_of(channels) + 10, .magnitude = 9 * 4 * (double)channels + 2};
    AT(winograd)->convolve(&(struct dg_winograd_args){
        .images = images,
        .height = height,
        .width = width,
        .channels = channels,
        .out = out,
        .pad = pad,
        .src = trial_in(t, false, images * height * width * channels, -1, 1),
        .packed = trial_in(t, false, 16 * channels * out, -1, 1),
        .bias = trial_in_or_null(t, false, out, -1, 1),
        .add = add,
        .relu = trial_flag(t),
        .dst = add ? trial_in_out(t, pixels * out, -1, 1, sums) : trial_out(t, false, pixels * out, sums),
        .scratch = trial_scratch(t, AT(winograd)->scratch(channels, t->threads)),
        .threads = t->threads});
}

void levels_winograd_grad_scratch(struct trial *t)
{
    int64_t channels = some_channels(t), out = some_channels(t);
    assert_true(AT(winograd)->grad_scratch(channels, out) >= 16 * channels * out * (int64_t)sizeof(float));
}

/* With src and diff_dst in (-1, 1) elements of V and of Z are below 4. An element of a window is a sum of parts with factors whose
 * sum is at most 4, each part of as many products as there are patches; the transforms are chains of four sums each. */
void levels_winograd_grad_weights(struct trial *t)
{
    int64_t images = trial_size(t, 3), pad = dg_rng_u32(&t->rng) % 3, channels = some_channels(t),
            out = some_channels(t), height = 3 + dg_rng_u32(&t->rng) % 12, width = 3 + dg_rng_u32(&t->rng) % 12;
    int64_t pixels = images * (height + 2 * pad - 2) * (width + 2 * pad - 2);
    int64_t patches = images * ((height + 2 * pad - 1) / 2) * ((width + 2 * pad - 1) / 2);
    struct trial_bound sums = {.f32 = trial_sum_of(patches) + 10, .magnitude = 4 * 4 * 4 * (double)patches + 1};
    AT(winograd)->grad_weights(
        &(struct dg_winograd_grad_args){.images = images,
                                        .height = height,
                                        .width = width,
                                        .channels = channels,
                                        .out = out,
                                        .pad = pad,
                                        .src = trial_in(t, false, images * height * width * channels, -1, 1),
                                        .diff_dst = trial_in(t, false, pixels * out, -1, 1),
                                        .acc = trial_in_or_null(t, false, 9 * channels * out, -1, 1),
                                        .diff_weight = trial_out(t, false, 9 * channels * out, sums),
                                        .scratch = trial_scratch(t, AT(winograd)->grad_scratch(channels, out))});
}

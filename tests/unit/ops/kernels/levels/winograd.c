#include "ops/kernels/winograd.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* A few times the channels that must come together. */
static int64_t some_channels(struct trial *t) { return DG_WINOGRAD_CHANNELS * (1 + dg_rng_u32(&t->rng) % 3); }

struct shape {
    int64_t images, height, width, channels, out, pad;
    int64_t src, dst; /* numbers */
};

static struct shape some_shape(struct trial *t)
{
    struct shape s = {.images = trial_size(t, 3), .pad = dg_rng_u32(&t->rng) % 3};
    s.channels = some_channels(t);
    s.out = some_channels(t);
    s.height = 3 + dg_rng_u32(&t->rng) % 12;
    s.width = 3 + dg_rng_u32(&t->rng) % 12;
    s.src = s.images * s.height * s.width * s.channels;
    s.dst = s.images * (s.height + 2 * s.pad - 2) * (s.width + 2 * s.pad - 2) * s.out;
    return s;
}

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
    struct shape s = some_shape(t);
    bool add = trial_flag(t);
    struct trial_bound sums = {.f32 = trial_sum_of(s.channels) + 10, .magnitude = 9 * 4 * (double)s.channels + 2};
    AT(winograd)->convolve(
        &(struct dg_winograd_args){.images = s.images,
                                   .height = s.height,
                                   .width = s.width,
                                   .channels = s.channels,
                                   .out = s.out,
                                   .pad = s.pad,
                                   .src = trial_in(t, false, s.src, -1, 1),
                                   .packed = trial_in(t, false, 16 * s.channels * s.out, -1, 1),
                                   .bias = trial_in_or_null(t, false, s.out, -1, 1),
                                   .add = add,
                                   .relu = trial_flag(t),
                                   .dst = add ? trial_in_out(t, s.dst, -1, 1, sums) : trial_out(t, false, s.dst, sums),
                                   .scratch = trial_scratch(t, AT(winograd)->scratch(s.channels, t->threads)),
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
    struct shape s = some_shape(t);
    int64_t patches = s.images * ((s.height + 2 * s.pad - 1) / 2) * ((s.width + 2 * s.pad - 1) / 2);
    struct trial_bound sums = {.f32 = trial_sum_of(patches) + 10, .magnitude = 4 * 4 * 4 * (double)patches + 1};
    AT(winograd)->grad_weights(
        &(struct dg_winograd_grad_args){.images = s.images,
                                        .height = s.height,
                                        .width = s.width,
                                        .channels = s.channels,
                                        .out = s.out,
                                        .pad = s.pad,
                                        .src = trial_in(t, false, s.src, -1, 1),
                                        .diff_dst = trial_in(t, false, s.dst, -1, 1),
                                        .acc = trial_in_or_null(t, false, 9 * s.channels * s.out, -1, 1),
                                        .diff_weight = trial_out(t, false, 9 * s.channels * s.out, sums),
                                        .scratch = trial_scratch(t, AT(winograd)->grad_scratch(s.channels, s.out))});
}

/* Convolutions by Winograd's algorithm on whole numbers: with windows of multiples of four all numbers on the way are whole, so the
 * results are those of the sums over windows to the bit, whatever the shape, the number of threads and the CPU level. */
#include "ops/base/rng.h"
#include "ops/kernels/winograd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shape {
    int64_t images, height, width, channels, out, pad;
};

static float *whole_numbers(int64_t count, struct dg_rng *rng, int times)
{
    float *made = malloc((size_t)count * sizeof *made);
    assert_non_null(made);
    for (int64_t i = 0; i < count; i++) made[i] = (float)(((int)(dg_rng_u32(rng) % 7) - 3) * times);
    return made;
}

static int64_t out_pixels(const struct shape *s)
{
    return s->images * (s->height + 2 * s->pad - 2) * (s->width + 2 * s->pad - 2);
}

/* The pixel of src under element k of the window of pixel `at` of dst; NULL: it is a zero around the image. */
static const float *under_window(const struct shape *s, const float *src, int64_t at, int k)
{
    int64_t out_height = s->height + 2 * s->pad - 2, out_width = s->width + 2 * s->pad - 2;
    int64_t y = at / out_width % out_height + k / 3 - s->pad, x = at % out_width + k % 3 - s->pad;
    if (y < 0 || x < 0 || y >= s->height || x >= s->width) return NULL;
    return src + ((at / out_width / out_height * s->height + y) * s->width + x) * s->channels;
}

/* dst += conv(src, weight); weight is [out, channels, 3, 3], or if `turned` [channels, out, 3, 3] with windows turned. */
static void add_windows(const struct shape *s, const float *src, const float *weight, bool turned, float *dst)
{
    for (int64_t at = 0; at < out_pixels(s); at++)
        for (int k = 0; k < 9; k++) {
            const float *pixel = under_window(s, src, at, k);
            for (int64_t o = 0; pixel && o < s->out; o++)
                for (int64_t c = 0; c < s->channels; c++)
                    dst[at * s->out + o] += pixel[c] * (turned ? weight[(c * s->out + o) * 9 + 8 - k]
                                                               : weight[(o * s->channels + c) * 9 + k]);
        }
}

static void check(const struct shape *s, bool turned, bool bias, bool add, bool relu, int threads)
{
    struct dg_rng rng = dg_rng_make(7, DG_RNG_TEST, 0, 0);
    int64_t count = out_pixels(s) * s->out;
    float *src = whole_numbers(s->images * s->height * s->width * s->channels, &rng, 1),
          *weight = whole_numbers(9 * s->channels * s->out, &rng, 4), *shift = whole_numbers(s->out, &rng, 1),
          *before = whole_numbers(count, &rng, 100), *want = malloc((size_t)count * sizeof *want),
          *dst = malloc((size_t)count * sizeof *dst),
          *packed = malloc((size_t)(16 * s->channels * s->out) * sizeof *packed);
    assert_true(want && dst && packed);
    for (int64_t i = 0; i < count; i++) want[i] = (bias ? shift[i % s->out] : 0) + (add ? before[i] : 0);
    add_windows(s, src, weight, turned, want);
    for (int64_t i = 0; relu && i < count; i++) want[i] = want[i] < 0 ? 0 : want[i];
    for (enum dg_cpu_level level = 0; level < DG_CPU_LEVELS; level++) {
        if (!dg_cpu_has_level(level)) continue;
        const struct dg_winograd_kernels *kernels = dg_winograd_kernels_at(level);
        void *scratch = malloc((size_t)kernels->scratch(s->channels, threads));
        assert_non_null(scratch);
        memcpy(dst, before, (size_t)count * sizeof *dst);
        kernels->pack(&(struct dg_winograd_pack_args){.channels = s->channels,
                                                      .out = s->out,
                                                      .weight = weight,
                                                      .channel_step = turned ? 9 * s->out : 9,
                                                      .out_step = turned ? 9 : 9 * s->channels,
                                                      .turned = turned,
                                                      .packed = packed});
        kernels->convolve(&(struct dg_winograd_args){.images = s->images,
                                                     .height = s->height,
                                                     .width = s->width,
                                                     .channels = s->channels,
                                                     .out = s->out,
                                                     .pad = s->pad,
                                                     .src = src,
                                                     .packed = packed,
                                                     .bias = bias ? shift : NULL,
                                                     .add = add,
                                                     .relu = relu,
                                                     .dst = dst,
                                                     .scratch = scratch,
                                                     .threads = threads});
        if (memcmp(dst, want, (size_t)count * sizeof *dst))
            fail_msg("level %s: not the sums over windows", dg_cpu_level_name(level));
        free(scratch);
    }
    void *all[] = {src, weight, shift, before, want, dst, packed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* sum += the gradient of the weights. */
static void add_outer_products(const struct shape *s, const float *src, const float *diff, float *sum)
{
    for (int64_t at = 0; at < out_pixels(s); at++)
        for (int k = 0; k < 9; k++) {
            const float *pixel = under_window(s, src, at, k);
            for (int64_t o = 0; pixel && o < s->out; o++)
                for (int64_t c = 0; c < s->channels; c++)
                    sum[(o * s->channels + c) * 9 + k] += pixel[c] * diff[at * s->out + o];
        }
}

static void check_grad_weights(const struct shape *s, bool acc, bool in_place)
{
    struct dg_rng rng = dg_rng_make(8, DG_RNG_TEST, 0, 0);
    int64_t count = 9 * s->channels * s->out;
    float *src = whole_numbers(s->images * s->height * s->width * s->channels, &rng, 1),
          *diff = whole_numbers(out_pixels(s) * s->out, &rng, 4), *before = whole_numbers(count, &rng, 100),
          *want = malloc((size_t)count * sizeof *want), *got = malloc((size_t)count * sizeof *got);
    assert_true(want && got);
    for (int64_t i = 0; i < count; i++) want[i] = acc ? before[i] : 0;
    add_outer_products(s, src, diff, want);
    for (enum dg_cpu_level level = 0; level < DG_CPU_LEVELS; level++) {
        if (!dg_cpu_has_level(level)) continue;
        const struct dg_winograd_kernels *kernels = dg_winograd_kernels_at(level);
        void *scratch = malloc((size_t)kernels->grad_scratch(s->channels, s->out));
        assert_non_null(scratch);
        memcpy(got, before, (size_t)count * sizeof *got);
        kernels->grad_weights(&(struct dg_winograd_grad_args){.images = s->images,
                                                              .height = s->height,
                                                              .width = s->width,
                                                              .channels = s->channels,
                                                              .out = s->out,
                                                              .pad = s->pad,
                                                              .src = src,
                                                              .diff_dst = diff,
                                                              .acc = !acc       ? NULL
                                                                     : in_place ? got
                                                                                : before,
                                                              .diff_weight = got,
                                                              .scratch = scratch});
        if (memcmp(got, want, (size_t)count * sizeof *got))
            fail_msg("level %s: not the sums over windows", dg_cpu_level_name(level));
        free(scratch);
    }
    void *all[] = {src, diff, before, want, got};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void test_whole_numbers(void **state)
{
    (void)state;
    const struct shape shapes[] = {
        {1, 3, 3, 32, 32, 0},  /* one pixel */
        {1, 1, 1, 32, 32, 1},  /* one, and nothing but zeros around it */
        {2, 7, 6, 64, 32, 1},  /* patches that reach over the border */
        {1, 9, 4, 32, 96, 2},  /* zeros in all of a patch's first row */
        {3, 16, 15, 96, 64, 1} /* several blocks */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int form = 0; form < 16; form++) check(&shapes[i], form & 1, form & 2, form & 4, form & 8, 1 + form % 3);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int form = 0; form < 3; form++) check_grad_weights(&shapes[i], form > 0, form > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The kernel behind gradients of weights, on whole numbers: sums are exact in any order, so results are too, whatever the
 * shape, the number of threads and the CPU level. */
#include "ops/kernels/bf16.h"
#include "ops/kernels/grad_weights.h"
#include "tests/support/amx_trap.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shape {
    int64_t rows, in, out;
};

/* Whole numbers from -3 to 3, as bf16 and as f32s that round to them. */
static void fill(int64_t count, uint64_t seed, float *exact, dg_bf16 *half, float *near)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        exact[i] = (float)((int)(seed >> 33) % 7 - 3);
        half[i] = dg_to_bf16(exact[i]);
        near[i] = exact[i] * (1 + 0x1p-10f);
    }
}

static void *array(int64_t bytes)
{
    void *made = malloc((size_t)bytes);
    assert_non_null(made);
    return made;
}

/* What window `row` of the images sees at column `col`, in the order of weights. */
static float seen(const struct dg_windows *w, const float *images, int64_t row, int64_t col)
{
    int64_t taps = w->kernel * w->kernel, channel = col / taps, tap = col % taps,
            per_image = w->out_height * w->out_width;
    int64_t y = row % per_image / w->out_width * w->stride + tap / w->kernel * w->dilation - w->pad,
            x = row % w->out_width * w->stride + tap % w->kernel * w->dilation - w->pad;
    if (y < 0 || y >= w->height || x < 0 || x >= w->width) return 0;
    return images[((row / per_image * w->height + y) * w->width + x) * w->channels + channel];
}

/* How src and diff_dst lie there: as f32 that is multiplied as it is, as bf16, as f32 that is rounded to bf16. */
enum lies { WIDE, HALF, NEAR };

/* `in_place`: accumulators are where the results go. */
static void check(const struct shape *s, const struct dg_windows *w, enum lies src_lies, enum lies diff_lies, bool acc,
                  bool in_place, bool bias, int threads)
{
    int64_t inputs =
                w ? s->rows / (w->out_height * w->out_width) * w->height * w->width * w->channels : s->rows * s->in,
            outputs = s->rows * s->out, weights = s->in * s->out;
    float *images = array(inputs * 4), *src = w ? array(s->rows * s->in * 4) : images, *diff = array(outputs * 4),
          *near_src = array(inputs * 4), *near_diff = array(outputs * 4), *weight = array((weights + s->out) * 4),
          *sum = weight + weights, *before = array((weights + s->out) * 4);
    dg_bf16 *half_src = array(inputs * 2), *half_diff = array(outputs * 2);
    fill(inputs, 1, images, half_src, near_src);
    fill(outputs, 2, diff, half_diff, near_diff);
    for (int64_t i = 0; w && i < s->rows * s->in; i++) src[i] = seen(w, images, i / s->in, i % s->in);
    for (int64_t i = 0; i < weights + s->out; i++) {
        before[i] = (float)(i % 11);
        weight[i] = in_place ? before[i] : NAN;
    }
    int64_t bytes = dg_grad_weights_kernels()->scratch(s->in, s->out, w, threads);
    float *scratch = array(bytes), *from = in_place ? weight : before;
    for (int64_t i = 0; i < bytes / 4; i++) scratch[i] = NAN;
    const void *srcs[] = {images, half_src, near_src}, *diffs[] = {diff, half_diff, near_diff};
    dg_grad_weights_kernels()->grad_weights(&(struct dg_grad_weights_args){.bf16 = src_lies != WIDE,
                                                                           .rows = s->rows,
                                                                           .in = s->in,
                                                                           .out = s->out,
                                                                           .windows = w,
                                                                           .src_bf16 = src_lies == HALF,
                                                                           .src = srcs[src_lies],
                                                                           .diff_dst_bf16 = diff_lies == HALF,
                                                                           .diff_dst = diffs[diff_lies],
                                                                           .acc_weight = acc ? from : NULL,
                                                                           .acc_bias = acc ? from + weights : NULL,
                                                                           .diff_weight = weight,
                                                                           .diff_bias = bias ? sum : NULL,
                                                                           .scratch = scratch,
                                                                           .threads = threads});
    for (int64_t o = 0; o < s->out; o++) {
        double all = 0;
        for (int64_t r = 0; r < s->rows; r++) all += (double)diff[r * s->out + o];
        all += acc ? (double)before[weights + o] : 0;
        if (bias && (double)sum[o] != all)
            fail_msg("bias %d of %dx%dx%d, %d threads: %g, not %g", (int)o, (int)s->rows, (int)s->in, (int)s->out,
                     threads, (double)sum[o], all);
        for (int64_t i = 0; i < s->in; i++) {
            double want = acc ? (double)before[o * s->in + i] : 0, got = (double)weight[o * s->in + i];
            for (int64_t r = 0; r < s->rows; r++) want += (double)(diff[r * s->out + o] * src[r * s->in + i]);
            if (got != want)
                fail_msg("weight %d, %d of %dx%dx%d, %d threads: %g, not %g", (int)o, (int)i, (int)s->rows, (int)s->in,
                         (int)s->out, threads, got, want);
        }
    }
    void *made[] = {images, diff, near_src, near_diff, weight, before, half_src, half_diff, scratch, w ? src : NULL};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) free(made[i]);
}

/* A shape in all forms and on many numbers of threads; `turn` sets how operands lie. */
static void check_all(const struct shape *s, const struct dg_windows *w, size_t turn)
{
    const enum lies lies[][2] = {{HALF, HALF}, {NEAR, HALF}, {HALF, NEAR}};
    for (int threads = 1; threads <= 6; threads++) {
        bool acc = threads % 2, in_place = threads % 4 == 1, bias = threads != 4;
        check(s, w, lies[turn % 3][0], lies[turn % 3][1], acc, in_place, bias, threads);
        check(s, w, WIDE, WIDE, acc, in_place, bias, threads);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    const struct shape shapes[] = {{1, 1, 1},      {2, 33, 47},   {3, 16, 48},    {37, 147, 65},
                                   {511, 40, 13},  {512, 64, 12}, {513, 31, 100}, {1573, 17, 395},
                                   {600, 65, 800}, {64, 450, 3},  {520, 390, 388}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_all(&shapes[i], NULL, i);
}

static void test_windows(void **state)
{
    (void)state;
    /* Of an image: height, width, channels; out_height, out_width; kernel, stride, pad, dilation. */
    const struct dg_windows windows[] = {
        {9, 7, 40, 5, 4, 3, 2, 1, 1},  {3, 3, 64, 3, 3, 3, 1, 1, 1},     {23, 31, 5, 11, 15, 3, 2, 0, 1},
        {12, 9, 33, 6, 5, 1, 2, 0, 1}, {14, 12, 32, 14, 12, 3, 1, 2, 2}, {8, 8, 70, 4, 4, 2, 2, 0, 1},
    };
    const int64_t images[] = {2, 61, 2, 3, 4, 5}, out[] = {13, 20, 100, 48, 7, 390};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        const struct dg_windows *w = &windows[i];
        const struct shape s = {images[i] * w->out_height * w->out_width, w->channels * w->kernel * w->kernel, out[i]};
        check_all(&s, w, i);
    }
}

/* AMX's instructions sum in the order that the emulation has, where the CPU has them: the same bits. */
static void test_instructions(void **state)
{
    (void)state;
    enum { ROWS = 700, IN = 83, OUT = 70, THREADS = 2 };
    if (!amx_can_run()) {
        puts("skipped: AMX's instructions, which this CPU lacks, and AVX-512 BF16 beside them");
        skip();
    }
    float src[ROWS * IN], diff[ROWS * OUT];
    static float weight[2][IN * OUT], bias[2][OUT];
    for (int i = 0; i < ROWS * IN; i++) src[i] = sinf((float)i);
    for (int i = 0; i < ROWS * OUT; i++) diff[i] = cosf((float)i * 0.7F) * (i % 9 ? 1 : 0x1p-120F);
    for (int e = 0; e < 2; e++) {
        const struct dg_grad_weights_kernels *k = dg_grad_weights_kernels_at(e ? DG_CPU_AMX_EMULATED : DG_CPU_V5);
        void *scratch = array(k->scratch(IN, OUT, NULL, THREADS));
        k->grad_weights(&(struct dg_grad_weights_args){.bf16 = true,
                                                       .rows = ROWS,
                                                       .in = IN,
                                                       .out = OUT,
                                                       .src = src,
                                                       .diff_dst = diff,
                                                       .diff_weight = weight[e],
                                                       .diff_bias = bias[e],
                                                       .scratch = scratch,
                                                       .threads = THREADS});
        free(scratch);
    }
    assert_memory_equal(weight[0], weight[1], sizeof weight[0]);
    assert_memory_equal(bias[0], bias[1], sizeof bias[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_windows),
                                       cmocka_unit_test(test_instructions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

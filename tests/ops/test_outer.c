/* The kernel behind the gradients of weights in bf16, on whole numbers: sums are exact in any order, so results are too,
 * whatever the shape, the number of threads and the CPU level. */
#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

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

/* `in_place`: accumulators are where the results go. */
static void check(const struct shape *s, bool src_half, bool diff_half, bool acc, bool in_place, bool bias, int threads)
{
    int64_t inputs = s->rows * s->in, outputs = s->rows * s->out, weights = s->in * s->out, bytes;
    float *src = array(inputs * 4), *diff = array(outputs * 4), *near_src = array(inputs * 4),
          *near_diff = array(outputs * 4), *weight = array((weights + s->out) * 4), *sum = weight + weights,
          *before = array((weights + s->out) * 4);
    dg_bf16 *half_src = array(inputs * 2), *half_diff = array(outputs * 2);
    fill(inputs, 1, src, half_src, near_src);
    fill(outputs, 2, diff, half_diff, near_diff);
    for (int64_t i = 0; i < weights + s->out; i++) {
        before[i] = (float)(i % 11);
        weight[i] = in_place ? before[i] : NAN;
    }
    dg_kernels()->outer_scratch(threads, &bytes);
    float *scratch = array(bytes), *from = in_place ? weight : before;
    for (int64_t i = 0; i < bytes / 4; i++) scratch[i] = NAN;
    dg_kernels()->outer(s->rows, s->in, s->out, src_half, src_half ? (void *)half_src : near_src, diff_half,
                        diff_half ? (void *)half_diff : near_diff, acc ? from : NULL, acc ? from + weights : NULL,
                        weight, bias ? sum : NULL, scratch, threads);
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
    void *made[] = {src, diff, near_src, near_diff, weight, before, half_src, half_diff, scratch};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) free(made[i]);
}

static void test_shapes(void **state)
{
    (void)state;
    const struct shape shapes[] = {{1, 1, 1},     {2, 33, 47},    {3, 16, 48},     {37, 147, 65},  {511, 40, 13},
                                   {512, 64, 12}, {513, 31, 100}, {1573, 17, 395}, {600, 65, 800}, {64, 450, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int threads = 1; threads <= 6; threads++)
            check(&shapes[i], i % 3 != 1, i % 3 != 2, threads % 2, threads % 4 == 1, threads != 4, threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

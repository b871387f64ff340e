/* Rounding to bf16 at each level of this CPU: the bits of integer arithmetic for every number that is not denormal, at every
 * position of a block. Denormals, which AVX-512 BF16 flushes to zero, come out as zero of their sign or rounded. */
#include "ops/kernels/add.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/convert.h"
#include "ops/kernels/relu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Lower halves: exact, just above, at and beside ties, just below the next. */
static const uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
enum { LOWER = sizeof lower / sizeof *lower, COUNT = LOWER << 16 };

static float number(int64_t i)
{
    uint32_t bits = (uint32_t)(i / LOWER) << 16 | lower[i % LOWER];
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void check(enum dg_cpu_level level, float x, dg_bf16 rounded)
{
    dg_bf16 want = dg_to_bf16(x), zero = want & 0x8000;
    float is = dg_from_bf16(rounded);
    bool denormal = x != 0 && fabsf(x) < 0x1p-126F;
    if (isnan(x) ? !isnan(is) : rounded != want && !(denormal && rounded == zero))
        fail_msg("%s: %a is rounded to %a, not %a", dg_cpu_level_name(level), (double)x, (double)is,
                 (double)dg_from_bf16(want));
}

/* What rounds whole vectors (add, convert), from any first element on. */
static void test_rounding(void **state)
{
    (void)state;
    float *x = malloc(COUNT * sizeof *x), *zeros = calloc(COUNT, sizeof *zeros);
    dg_bf16 *y = malloc(COUNT * sizeof *y);
    assert_true(x && y && zeros);
    for (int64_t i = 0; i < COUNT; i++) x[i] = number(i), zeros[i] = signbit(x[i]) ? -0.0F : 0;
    for (enum dg_cpu_level level = DG_CPU_V1; level < DG_CPU_LEVELS; level++) {
        if (!dg_cpu_has_level(level)) continue;
        for (int64_t first = 0; first < 33; first += 11) {
            const int64_t count = COUNT - first;
            dg_convert_kernels_at(level)->to_bf16(count, x + first, y);
            for (int64_t i = 0; i < count; i++) check(level, x[first + i], y[i]);
            dg_add_kernels_at(level)->add(
                &(struct dg_add_args){.count = count, .dst_bf16 = true, .a = x + first, .b = zeros + first, .dst = y});
            for (int64_t i = 0; i < count; i++)
                if (!isnan(x[first + i])) check(level, x[first + i], y[i]);
        }
    }
    free(x);
    free(y);
    free(zeros);
}

/* ReLU of bf16, whose bits it compares as integers, is that of the numbers: every bf16 as its sign, forward and backward. */
static void test_relu(void **state)
{
    (void)state;
    enum { ALL = 1 << 16 };
    dg_bf16 *x = malloc(2 * ALL * sizeof *x), *y = x + ALL, ones[64];
    assert_non_null(x);
    for (int i = 0; i < ALL; i++) x[i] = (dg_bf16)i;
    for (int i = 0; i < 64; i++) ones[i] = 0x3f80;
    for (enum dg_cpu_level level = DG_CPU_V1; level < DG_CPU_LEVELS; level++) {
        if (!dg_cpu_has_level(level)) continue;
        dg_relu_kernels_at(level)->forward(ALL, true, x, y);
        for (int i = 0; i < ALL; i++) assert_int_equal(y[i], dg_from_bf16(x[i]) > 0 ? x[i] : 0);
        for (int64_t i = 0; i < ALL; i += 64) dg_relu_kernels_at(level)->backward(64, true, x + i, ones, y + i);
        for (int i = 0; i < ALL; i++) assert_int_equal(y[i], dg_from_bf16(x[i]) > 0 ? 0x3f80 : 0);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounding), cmocka_unit_test(test_relu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The GELU kernels of this process's CPU level against libm: f32 from -10 to 10, NaN and infinities, every finite bf16. */
#include "ops/kernels/bf16.h"
#include "ops/kernels/gelu.h"
#include "tests/support/op_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Both kernels along the line; values far below zero, which a bf16 can tell apart, also relative to themselves. */
static void test_gelu_tails(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    float *x = malloc(3 * COUNT * sizeof *x), *y = x + COUNT, *ones = y + COUNT;
    assert_non_null(x);
    for (int i = 0; i < COUNT; i++) x[i] = -10 + 20 * (float)i / COUNT, ones[i] = 1;
    dg_gelu_kernels()->forward(COUNT, 0, x, y);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x[i], want = v * 0.5 * erfc(-v / sqrt(2)), far = fabs((double)y[i] - want);
        if (far > 2e-7 * fmax(1, fabs(want)) || (v > -7 && far > 5e-4 * fabs(want)))
            fail_msg("gelu(%g) is %g, not %g", v, (double)y[i], want);
    }
    dg_gelu_kernels()->backward(COUNT, 0, x, ones, y);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x[i], want = 0.5 * erfc(-v / sqrt(2)) + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
        if (fabs((double)y[i] - want) > 2.5e-7) fail_msg("its slope at %g is %g, not %g", v, (double)y[i], want);
    }
    float odd[] = {NAN, INFINITY, 3e38f, -3e38f};
    dg_gelu_kernels()->forward(4, 0, odd, y);
    assert_true(isnan(y[0]));
    assert_true(y[1] == odd[1] && y[2] == odd[2] && fabsf(y[3]) < 1e-10f);
    dg_gelu_kernels()->backward(4, 0, odd, ones, y);
    assert_true(isnan(y[0]) && y[2] == 1 && fabsf(y[3]) < 1e-10f);
    free(x);
}

/* Of each finite number of bf16: a tenth more than what rounding the result leaves, down to where the tail is cut off. The slope is
 * 0 near -0.75: there it counts beside 1. */
static void test_gelu_bf16(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16 };
    dg_bf16 *x = malloc(4 * COUNT * sizeof *x), *y = x + COUNT, *slope = y + COUNT, *ones = slope + COUNT;
    assert_non_null(x);
    for (int i = 0; i < COUNT; i++) x[i] = (dg_bf16)i, ones[i] = 0x3f80;
    dg_gelu_kernels()->forward(COUNT, 1, x, y);
    dg_gelu_kernels()->backward(COUNT, 1, x, ones, slope);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)dg_from_bf16(x[i]), phi = 0.5 * erfc(-v / sqrt(2)), want = v * phi;
        if (!isfinite(v) || fabs(v) < 1e-30) continue;
        if (fabs((double)dg_from_bf16(y[i]) - want) > (v > -6 ? 1.1 * bf16_half_ulp(want) : 6e-9))
            fail_msg("gelu(%g) is %g, not %g", v, (double)dg_from_bf16(y[i]), want);
        want = phi + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
        if (fabs((double)dg_from_bf16(slope[i]) - want) > bf16_half_ulp(want) + 7e-5)
            fail_msg("its slope at %g is %g, not %g", v, (double)dg_from_bf16(slope[i]), want);
    }
    static const float far[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) x[i] = dg_to_bf16(far[i]);
    dg_gelu_kernels()->forward(3, 1, x, y);
    dg_gelu_kernels()->backward(3, 1, x, ones, slope);
    assert_true(isnan(dg_from_bf16(y[0])) && isnan(dg_from_bf16(slope[0])));
    assert_true(dg_from_bf16(y[1]) == INFINITY && dg_from_bf16(slope[1]) == 1);
    assert_true(fabsf(dg_from_bf16(y[2])) < 6e-9F && fabsf(dg_from_bf16(slope[2])) < 1e-6F);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gelu_tails), cmocka_unit_test(test_gelu_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

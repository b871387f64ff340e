/* Bilinear interpolation, of numbers that PyTorch 2.15 has made of the same. */
#include "runtime/image/interpolate.h"
#include "tests/support/check.h"

#include <math.h>

enum { HEIGHT = 5, WIDTH = 7 };

static void check(double scale, int height, int width, const double *expected)
{
    float in[HEIGHT * WIDTH * 3], out[HEIGHT * WIDTH * 3];
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) in[i] = (float)(i * i % 31) / 8;
    assert_int_equal(dg_interpolated_size(HEIGHT, scale), height);
    assert_int_equal(dg_interpolated_size(WIDTH, scale), width);
    dg_interpolate(in, HEIGHT, WIDTH, scale, out);
    for (int i = 0; i < height * width * 3; i++)
        if (!(fabs((double)out[i] - expected[i]) <=
              4e-6)) /* places are below 8, weights within 2^-21, inputs below 4 */
            fail_msg("number %d at scale %g: %g, and not %g", i, scale, (double)out[i], expected[i]);
}

static void test_numbers(void **state)
{
    (void)state;
    static const double root[] = {
        0.4249368, 0.8238275, 1.002602,  1.079505,  1.9027281, 1.3708742, 1.9152913, 0.7267135, 2.7514205,
        1.7953913, 1.3065341, 1.4286164, 2.3242738, 2.1223979, 1.3109487, 1.5698594, 1.2651649, 1.766139,
        2.1552484, 0.5891504, 1.5095642, 1.5951166, 1.6689708, 1.3279809, 0.566599,  1.0366116, 1.0632621,
        2.1119905, 1.3442239, 1.6811371, 0.8753157, 3.3053303, 2.3808398, 1.3944761, 1.2806457, 1.3548881};
    static const double half[] = {1.0625,  1.28125, 1.75,  1.28125, 1.0625,  1.09375, 1.78125, 1.125,  1.6875,
                                  1.71875, 1.78125, 1.125, 1.96875, 1.59375, 2.4375,  1.53125, 1.6875, 1.125};
    check(1 / sqrt(2), 3, 4, root);
    check(0.5, 2, 3, half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

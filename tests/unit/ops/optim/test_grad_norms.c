/* Norms of gradients and the finite check at the end of a step, against the same in f64. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SMALL = 7, MIDDLE = 4096, LARGE = 30011 };

struct norms {
    double each[3], all;
    bool finite;
};

static struct norms norms_of(float *a, float *b, float *c, double loss, int threads)
{
    struct op_result r = op_run(&(struct op_run){.op = "grad_norms",
                                                 .input = {{NULL, F32(SMALL), a},
                                                           {NULL, F32(64, 64), b},
                                                           {NULL, F32(LARGE), c},
                                                           {NULL, dg_desc_scalar(DG_F64), &loss}},
                                                 .threads = threads});
    struct norms n = {.all = ((double *)r.data[1])[0], .finite = ((double *)r.data[1])[1] == 1};
    assert_true(n.finite || ((double *)r.data[1])[1] == 0);
    memcpy(n.each, r.data[0], sizeof n.each);
    op_result_free(&r);
    return n;
}

static double norm(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void test_norms(void **state)
{
    (void)state;
    float *a = random_f32("a", 1, SMALL), *b = random_f32("b", 1e-3, MIDDLE), *c = random_f32("c", 1e20, LARGE);
    double want[3] = {norm(a, SMALL), norm(b, MIDDLE), norm(c, LARGE)};
    struct norms one = norms_of(a, b, c, 5, 1);
    for (int i = 0; i < 3; i++) assert_true(fabs(one.each[i] - want[i]) <= 1e-12 * want[i]);
    assert_true(fabs(one.all - want[2]) <= 1e-12 * want[2]); /* squares of 1e20 do not overflow */
    assert_true(one.finite);
    struct norms two = norms_of(a, b, c, 5, 2), three = norms_of(a, b, c, 5, 3);
    assert_memory_equal(two.each, one.each, sizeof one.each); /* whatever the threads */
    assert_memory_equal(three.each, one.each, sizeof one.each);
    free(c);
    c = random_f32("c", 1, LARGE);
    two = norms_of(a, b, c, 5, 2);
    assert_true(fabs(two.all - hypot(hypot(want[0], want[1]), norm(c, LARGE))) <= 1e-12 * two.all);
    free(a);
    free(b);
    free(c);
}

static void test_anything_not_finite_is_seen(void **state)
{
    (void)state;
    float *g[3] = {random_f32("a", 1, SMALL), random_f32("b", 1, MIDDLE), random_f32("c", 1, LARGE)};
    static const int last[3] = {SMALL - 1, MIDDLE - 1, LARGE - 1};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            for (int end = 0; end < 2; end++) {
                float *at = &g[i][end ? last[i] : 0], good = *at;
                *at = bad[k];
                assert_false(norms_of(g[0], g[1], g[2], 5, 2).finite);
                *at = good;
            }
    for (int k = 0; k < 3; k++) assert_false(norms_of(g[0], g[1], g[2], (double)bad[k], 2).finite);
    assert_true(norms_of(g[0], g[1], g[2], 5, 2).finite);
    for (int i = 0; i < 3; i++) free(g[i]);
}

static const struct op_test tests[] = {
    OP_TEST("grad_norms", OP_VALUE, test_norms),
    OP_TEST("grad_norms", OP_VALUE, test_anything_not_finite_is_seen),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

/* The learning rate of a layer, counted from the end of the network. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_powers(void **state)
{
    (void)state;
    double rate = 3e-4, decay = 0.65;
    for (int power = 0; power < 14; power++) {
        struct op_result r =
            op_run(&(struct op_run){.op = "layer_rate",
                                    .attrs = {ATTR("power", power)},
                                    .input = {{"rate", F64_SCALAR, &rate}, {"decay", F64_SCALAR, &decay}}});
        double want = rate;
        for (int i = 0; i < power; i++) want *= decay;
        assert_true(fabs(*(double *)r.data[0] - want) < 1e-14 * want);
        op_result_free(&r);
    }
    decay = 0; /* only the last layer learns */
    struct op_result r =
        op_run(&(struct op_run){.op = "layer_rate",
                                .attrs = {ATTR("power", 0)},
                                .input = {{"rate", F64_SCALAR, &rate}, {"decay", F64_SCALAR, &decay}}});
    assert_true(*(double *)r.data[0] >= rate && *(double *)r.data[0] <= rate);
    op_result_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "layer_rate",
                                .attrs = {ATTR("power", 1)},
                                .input = {{"rate", F64_SCALAR}, {"decay", F64(2)}}},
               "scalars");
}

static const struct op_test tests[] = {
    OP_TEST("layer_rate", OP_VALUE, test_powers),
    OP_TEST("layer_rate", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

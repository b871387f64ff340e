/* The teacher's average of parameters that no optimiser steps. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 1003 };

static void test_ema(void **state)
{
    (void)state;
    float *param = random_f32("param", 1, COUNT), *teacher = random_f32("teacher", 1, COUNT);
    double want[COUNT], momentum = 0.996;
    for (int i = 0; i < COUNT; i++) want[i] = 0.996 * (double)teacher[i] + (1 - 0.996) * (double)param[i];
    struct op_run ema = {.op = "ema",
                         .input = {{"param", F32(COUNT), param},
                                   {"teacher", F32(COUNT), teacher},
                                   {"momentum", dg_desc_scalar(DG_F64), &momentum}}};
    struct op_result r = op_run(&ema);
    op_result_free(&r);
    assert_near(teacher, want, COUNT, 2e-7, "teacher");
    op_input(&ema, "teacher")->desc = F32(COUNT + 1);
    op_refused(&ema, "do not fit");
    free(param);
    free(teacher);
}

static const struct op_test tests[] = {
    OP_TEST("ema", OP_VALUE, test_ema),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

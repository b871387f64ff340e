/* to_pixel, a view. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_copy(const struct dg_op_call *call, double *const *in, double *const *out)
{
    memcpy(out[0], in[0], (size_t)dg_desc_count(&call->input[0]) * sizeof *out[0]);
}

static const struct op_case cases[] = {{.op = "to_pixel",
                                        .modes = OP_VALUE | OP_GRADIENT,
                                        .input = {IN("src", 5, 7)},
                                        .reference = ref_copy,
                                        .grad = {true},
                                        .f32_grad = 1e-6}};

static void test_shapes(void **state)
{
    (void)state;
    float src[6] = {0};
    struct op_result r = op_run(&(struct op_run){.op = "to_pixel", .input = {{"src", F32(2, 3), src}}});
    assert_desc(r.desc[0], F32(2, 1, 1, 3));
    op_result_free(&r);
    op_refused(&(struct op_run){.op = "to_pixel", .input = {{"src", F32(2, 3, 4)}}}, "must have 2 dim");
}

static const struct op_test tests[] = {OP_TEST("to_pixel", OP_VALUE, test_shapes)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

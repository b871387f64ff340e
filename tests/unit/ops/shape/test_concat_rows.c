/* concat_rows and slice_rows. */
#include "tests/support/op_harness.h"

#include <string.h>

static void ref_concat(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t first = dg_desc_count(&call->input[0]);
    memcpy(out[0], in[0], (size_t)first * sizeof(double));
    memcpy(out[0] + first, in[1], (size_t)dg_desc_count(&call->input[1]) * sizeof(double));
}

static void ref_slice(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t cols = call->input[0].dim[1], first = (int64_t)attr_of(call, "first");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++) out[0][i] = in[0][first * cols + i];
}

#define SLICE(first, count)                                                                                            \
    {                                                                                                                  \
        .op = "slice_rows", .modes = OP_VALUE, .attrs = {ATTR("first", first), ATTR("count", count)},                  \
        .input = {IN("src", 7, 5)}, .reference = ref_slice                                                             \
    }

static const struct op_case cases[] = {
    {.op = "concat_rows",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {IN("a", 4, 7), IN("b", 3, 7)},
     .reference = ref_concat,
     .grad = {true, true},
     .f32_grad = 1e-6},
    SLICE(0, 7),
    SLICE(0, 1),
    SLICE(2, 3),
    SLICE(6, 1),
};

static void test_refused(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "slice_rows",
                                .attrs = {ATTR("first", 5), ATTR("count", 3)},
                                .input = {{"src", F32(7, 5)}}},
               "there are fewer rows");
}

static const struct op_test tests[] = {OP_TEST("slice_rows", 0, test_refused)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

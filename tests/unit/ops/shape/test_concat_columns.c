/* concat_columns, slice_columns and place_columns. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int64_t columns(const struct dg_desc *desc) { return desc->dim[desc->ndim - 1]; }

/* Column k of part i is column k * parts + i of the result where columns are interleaved. */
static void ref_concat(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), all = 0, before = 0;
    bool interleave = attr_of(call, "interleave") != 0;
    for (int i = 0; i < call->num_inputs; i++) all += columns(&call->input[i]);
    for (int i = 0; i < call->num_inputs; i++) {
        int64_t cols = columns(&call->input[i]);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < cols; k++)
                out[0][r * all + (interleave ? k * call->num_inputs + i : before + k)] = in[i][r * cols + k];
        before += cols;
    }
}

static void ref_slice(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t all = columns(&call->input[0]), cols = columns(&call->output[0]);
    int64_t first = (int64_t)attr_of(call, "first"), stride = (int64_t)attr_of(call, "stride");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = in[0][i / cols * all + first + i % cols * stride];
}

static void ref_place(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t all = columns(&call->output[0]), cols = columns(&call->input[0]);
    int64_t first = (int64_t)attr_of(call, "first"), stride = (int64_t)attr_of(call, "stride");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++) out[0][i] = 0;
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++)
        out[0][i / cols * all + first + i % cols * stride] = in[0][i];
}

#define CONCAT(in_turn, ...)                                                                                           \
    {                                                                                                                  \
        .op = "concat_columns", .modes = OP_VALUE | OP_GRADIENT, .attrs = {ATTR("interleave", in_turn)},               \
        .input = {__VA_ARGS__}, .reference = ref_concat, .grad = {true, true, true}, .f32_grad = 1e-6                  \
    }
#define SLICE(first, stride, count)                                                                                    \
    {                                                                                                                  \
        .op = "slice_columns", .modes = OP_VALUE | OP_GRADIENT,                                                        \
        .attrs = {ATTR("first", first), ATTR("stride", stride), ATTR("count", count)}, .input = {IN("src", 5, 12)},    \
        .reference = ref_slice, .grad = {true}, .f32_grad = 1e-6                                                       \
    }
#define PLACE(first, stride, ...)                                                                                      \
    {                                                                                                                  \
        .op = "place_columns", .modes = OP_VALUE,                                                                      \
        .attrs = {ATTR("first", first), ATTR("stride", stride), ATTR("cols", 12)}, .input = {IN("src", __VA_ARGS__)},  \
        .reference = ref_place                                                                                         \
    }

static const struct op_case cases[] = {
    CONCAT(0, IN("parts", 5, 11)),
    CONCAT(1, IN("parts", 5, 11)),
    CONCAT(0, IN("parts", 5, 11), IN("parts", 5, 3)),
    CONCAT(1, IN("parts", 5, 11), IN("parts", 5, 11)),
    CONCAT(0, IN("parts", 5, 11), IN("parts", 5, 3), IN("parts", 5, 11)),
    CONCAT(1, IN("parts", 5, 11), IN("parts", 5, 11), IN("parts", 5, 11)),
    CONCAT(0, IN("parts", 2, 3, 4, 11), IN("parts", 2, 3, 4, 3)), /* channels of images */
    SLICE(0, 1, 12),
    SLICE(3, 1, 4),
    SLICE(2, 3, 4),
    SLICE(10, 1, 2),
    PLACE(3, 1, 5, 4),
    PLACE(2, 3, 2, 3, 3),
};

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "concat_columns",
                                .attrs = {ATTR("interleave", 0)},
                                .input = {{NULL, F32(2, 3, 4)}, {NULL, F32(2, 2, 4)}}},
               "input 2, f32 [2, 2, 4], must have the dimensions of the first, f32 [2, 3, 4], but for the last");
    op_refused(&(struct op_run){.op = "slice_columns",
                                .attrs = {ATTR("first", 3), ATTR("count", 2)},
                                .input = {{"src", F32(2, 3, 4)}}},
               "first, stride and count reach column 4, and the input has 0 to 3");
}

static const struct op_test tests[] = {OP_TEST("concat_columns slice_columns", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* concat_columns and slice_columns. */
#include "tests/support/op_harness.h"

/* Column k of part i is column k * parts + i of the result where columns are interleaved. */
static void ref_concat(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = call->input[0].dim[0], all = 0, before = 0;
    bool interleave = attr_of(call, "interleave") != 0;
    for (int i = 0; i < call->num_inputs; i++) all += call->input[i].dim[1];
    for (int i = 0; i < call->num_inputs; i++) {
        int64_t cols = call->input[i].dim[1];
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < cols; k++)
                out[0][r * all + (interleave ? k * call->num_inputs + i : before + k)] = in[i][r * cols + k];
        before += cols;
    }
}

static void ref_slice(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t all = call->input[0].dim[1], cols = call->output[0].dim[1];
    int64_t first = (int64_t)attr_of(call, "first"), stride = (int64_t)attr_of(call, "stride");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = in[0][i / cols * all + first + i % cols * stride];
}

#define CONCAT(in_turn, ...)                                                                                           \
    {                                                                                                                  \
        .op = "concat_columns", .modes = OP_VALUE | OP_GRADIENT, .attrs = {ATTR("interleave", in_turn)},               \
        .input = {__VA_ARGS__}, .reference = ref_concat, .grad = {true, true, true}, .f32_grad = 1e-6                  \
    }
#define SLICE(first, stride, count)                                                                                    \
    {                                                                                                                  \
        .op = "slice_columns", .modes = OP_VALUE,                                                                      \
        .attrs = {ATTR("first", first), ATTR("stride", stride), ATTR("count", count)}, .input = {IN("src", 5, 12)},    \
        .reference = ref_slice                                                                                         \
    }

static const struct op_case cases[] = {
    CONCAT(0, IN("parts", 5, 11)),
    CONCAT(1, IN("parts", 5, 11)),
    CONCAT(0, IN("parts", 5, 11), IN("parts", 5, 3)),
    CONCAT(1, IN("parts", 5, 11), IN("parts", 5, 11)),
    CONCAT(0, IN("parts", 5, 11), IN("parts", 5, 3), IN("parts", 5, 11)),
    CONCAT(1, IN("parts", 5, 11), IN("parts", 5, 11), IN("parts", 5, 11)),
    SLICE(0, 1, 12),
    SLICE(3, 1, 4),
    SLICE(2, 3, 4),
    SLICE(11, 1, 1),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

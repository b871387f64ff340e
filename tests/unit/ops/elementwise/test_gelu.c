/* gelu and its gradient. The kernels along the whole line: tests/unit/ops/kernels. */
#include "tests/support/op_harness.h"

#include <math.h>

static void ref_gelu(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++)
        out[0][i] = in[0][i] * 0.5 * (1 + erf(in[0][i] / sqrt(2)));
}

/* src, diff_dst */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) {
        double x = in[0][i], slope = 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
        out[0][i] = in[1][i] * slope;
    }
}

enum { ROW_IMAGES = 70, ROW_TOKENS = 3, DIM = 16 };
#define ROWS_SHAPE ROW_IMAGES, ROW_TOKENS, DIM

/* The slope in bf16 is right to 1.2e-4 before it is rounded (tests/unit/ops/kernels/test_gelu_line.c). */
#define SLOPE (1.2e-4 / BF16_ROUNDING)

static const struct op_case cases[] = {
    {.op = "gelu",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {{F32(31, 67), "src", .scale = 6}},
     .reference = ref_gelu,
     .grad = {true},
     .f32 = 2e-7,
     .f32_grad = 1e-6,
     .bf16 = 0.15, /* the same test has it for each number */
     .bf16_grad = 1},
    {.op = "gelu", .modes = OP_VALUE | OP_ROWS, .input = {IN("src", ROWS_SHAPE)}, .reference = ref_gelu, .f32 = 2e-7},
    {.op = "gelu_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {{F32(ROWS_SHAPE), "src", .scale = 6}, IN("diff_dst", ROWS_SHAPE)},
     .reference = ref_grad,
     .f32 = 1e-6,
     .bf16 = SLOPE},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

/* relu and its gradient, which goes by the sign of the result. */
#include "tests/support/op_harness.h"

#include <math.h>

static void ref_relu(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = fmax(0, in[0][i]);
}

/* diff_dst, dst */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = in[1][i] > 0 ? in[0][i] : 0;
}

static const float edges[] = {0, -0.0F, 1, -1, 1e-30F, 3e38F}, ones[] = {1, 2, 3, 4, 5, 6};

static const struct op_case cases[] = {
    {.op = "relu",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {IN("src", 31, 67)},
     .reference = ref_relu,
     .grad = {true},
     .f32_grad = 1e-6},
    {.op = "relu_grad",
     .modes = OP_VALUE | OP_BF16,
     .input = {IN("diff_dst", 31, 67), IN("dst", 31, 67)},
     .reference = ref_grad},
    {.op = "relu_grad",
     .modes = OP_VALUE,
     .input = {{F32(6), "diff_dst", .data = ones}, {F32(6), "dst", .data = edges}},
     .reference = ref_grad},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

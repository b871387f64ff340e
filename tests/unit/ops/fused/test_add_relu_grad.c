/* add_relu_grad: a sum of gradients, where the ReLU that they are of let through. */
#include "tests/support/op_harness.h"

static void ref_add_relu_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = in[2][i] > 0 ? in[0][i] + in[1][i] : 0;
}

static const struct op_case cases[] = {
    {.op = "add_relu_grad",
     .modes = OP_VALUE | OP_BF16,
     .input = {IN("a", 9, 7), IN("b", 9, 7), IN("dst", 9, 7)},
     .reference = ref_add_relu_grad,
     .f32 = 1e-6},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

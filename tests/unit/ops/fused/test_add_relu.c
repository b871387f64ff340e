/* add_relu: a sum and the ReLU on it. */
#include "tests/support/op_harness.h"

#include <math.h>

static void ref_add_relu(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = fmax(0, in[0][i] + in[1][i]);
}

static const struct op_case cases[] = {
    {.op = "add_relu",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {IN("a", 9, 7), IN("b", 9, 7)},
     .reference = ref_add_relu,
     .grad = {true, true},
     .f32 = 1e-6,
     .f32_grad = 1e-6},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

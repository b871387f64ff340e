/* add. In bf16: the residual stream, f32, and what is added to it, and all that may be bf16. */
#include "tests/support/op_harness.h"

static void ref_add(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = in[0][i] + in[1][i];
}

static const struct op_case cases[] = {
    {.op = "add",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {IN("a", 7, 13), IN("b", 7, 13)},
     .reference = ref_add,
     .grad = {true, true},
     .f32 = 1e-6,
     .f32_grad = 1e-6},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

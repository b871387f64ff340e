/* softmax and its gradient. */
#include "tests/support/op_harness.h"

#include <math.h>

static void ref_softmax(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t c = 0; c < n; c++) sum += exp(in[0][r * n + c]);
        for (int64_t c = 0; c < n; c++) out[0][r * n + c] = exp(in[0][r * n + c]) / sum;
    }
}

/* dst, diff_dst */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    for (int64_t r = 0; r < rows; r++) {
        double along = 0;
        for (int64_t c = 0; c < n; c++) along += in[0][r * n + c] * in[1][r * n + c];
        for (int64_t c = 0; c < n; c++) out[0][r * n + c] = in[0][r * n + c] * (in[1][r * n + c] - along);
    }
}

static const struct op_case cases[] = {
    {.op = "softmax",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {{F32(11, 29), "src", .scale = 3}},
     .reference = ref_softmax,
     .grad = {true},
     .f32 = 1e-6,
     .f32_grad = 1e-5},
    {.op = "softmax_grad",
     .modes = OP_VALUE,
     .input = {{F32(11, 29), "dst", .scale = 0.03, .offset = 0.034}, IN("diff_dst", 11, 29)},
     .reference = ref_grad,
     .f32 = 1e-6},
    {.op = "softmax_grad",
     .modes = OP_VALUE,
     .input = {{F32(2, 3, 257), "dst", .scale = 0.003, .offset = 0.004}, IN("diff_dst", 2, 3, 257)},
     .reference = ref_grad,
     .f32 = 1e-6},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

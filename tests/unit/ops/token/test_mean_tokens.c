/* mean_tokens and its gradient. */
#include "tests/support/op_harness.h"

static void ref_mean_tokens(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t images = call->input[0].dim[0], t = call->input[0].dim[1], d = call->input[0].dim[2];
    int64_t first = (int64_t)attr_of(call, "first");
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < d; c++) {
            double sum = 0;
            for (int64_t i = first; i < t; i++) sum += in[0][(n * t + i) * d + c];
            out[0][n * d + c] = sum / (double)(t - first);
        }
}

static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->output[0].dim[1], d = call->output[0].dim[2], first = (int64_t)attr_of(call, "first");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = i / d % t < first ? 0 : in[0][i / d / t * d + i % d] / (double)(t - first);
}

#define MEAN_TOKENS(first)                                                                                             \
    {.op = "mean_tokens",                                                                                              \
     .modes = OP_VALUE | OP_GRADIENT,                                                                                  \
     .attrs = {ATTR("first", first)},                                                                                  \
     .input = {IN("src", 3, 7, 13)},                                                                                   \
     .reference = ref_mean_tokens,                                                                                     \
     .grad = {true},                                                                                                   \
     .f32 = 1e-6,                                                                                                      \
     .f32_grad = 1e-6},                                                                                                \
    {                                                                                                                  \
        .op = "mean_tokens_grad", .modes = OP_VALUE, .attrs = {ATTR("first", first), ATTR("tokens", 7)},               \
        .input = {IN("diff_dst", 3, 13)}, .reference = ref_grad, .f32 = 2e-7                                           \
    }

static const struct op_case cases[] = {MEAN_TOKENS(0), MEAN_TOKENS(1), MEAN_TOKENS(2)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

/* linear, linear_grad_src and linear_grad_weights against plain products. */
#include "tests/support/op_harness.h"

static void ref_linear(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = call->input[1].dim[0], k = call->input[1].dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < n; o++) {
            double sum = call->num_inputs > 2 ? in[2][o] : 0;
            for (int64_t c = 0; c < k; c++) sum += in[0][r * k + c] * in[1][o * k + c];
            out[0][r * n + o] = sum;
        }
}

static void ref_grad_src(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = call->input[1].dim[0], k = call->input[1].dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < k; c++) {
            double sum = 0;
            for (int64_t o = 0; o < n; o++) sum += in[0][r * n + o] * in[1][o * k + c];
            out[0][r * k + c] = sum;
        }
}

static void ref_grad_weights(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = call->output[0].dim[0], k = call->output[0].dim[1];
    for (int64_t o = 0; o < n; o++) {
        out[1][o] = in[3] ? in[3][o] : 0;
        for (int64_t r = 0; r < rows; r++) out[1][o] += in[1][r * n + o];
        for (int64_t c = 0; c < k; c++) {
            double sum = in[2] ? in[2][o * k + c] : 0;
            for (int64_t r = 0; r < rows; r++) sum += in[1][r * n + o] * in[0][r * k + c];
            out[0][o * k + c] = sum;
        }
    }
}

enum { IMAGES = 70, TOKENS = 3, ROWS = IMAGES * TOKENS, DIM = 16 }; /* of runs with a row map */

#define LINEAR(a, b, in, n, with_bias)                                                                                 \
    {                                                                                                                  \
        .op = "linear", .modes = OP_VALUE | OP_GRADIENT | OP_BF16, .attrs = {ATTR("out", n), ATTR("bias", with_bias)}, \
        .input = {IN("src", a, b, in)}, .reference = ref_linear, .grad = {true}, .f32 = F32_SUM(in),                   \
        .f32_grad = F32_SUM(LARGER((a) * (b), n)), .bf16_grad = 1                                                      \
    }

static const struct op_case cases[] = {
    LINEAR(3, 5, 17, 11, 0),
    LINEAR(3, 5, 17, 11, 1),
    LINEAR(1, 1, 7, 3, 0),
    LINEAR(1, 1, 7, 3, 1),
    LINEAR(5, 37, 48, 31, 0), /* these pack their weights */
    LINEAR(5, 37, 48, 31, 1),
    LINEAR(5, 37, 48, 32, 0),
    LINEAR(5, 37, 48, 32, 1),
    {.op = "linear",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("out", 3 * DIM)},
     .input = {IN("src", IMAGES, TOKENS, DIM)},
     .reference = ref_linear,
     .f32 = F32_SUM(DIM)},
    {.op = "linear",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("out", 3 * DIM), ATTR("bias", false)},
     .input = {IN("src", IMAGES, DIM)},
     .reference = ref_linear,
     .f32 = F32_SUM(DIM)},
    {.op = "linear_grad_src",
     .modes = OP_VALUE | OP_BF16,
     .input = {IN("diff_dst", 3, 5, 11), IN("weight", 11, 17)},
     .reference = ref_grad_src,
     .f32 = F32_SUM(11)},
    {.op = "linear_grad_src",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {IN("diff_dst", IMAGES, TOKENS, 3 * DIM), IN("weight", 3 * DIM, DIM)},
     .reference = ref_grad_src,
     .f32 = F32_SUM(3 * DIM)},
    {.op = "linear_grad_weights",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {IN("src", IMAGES, TOKENS, DIM), IN("diff_dst", IMAGES, TOKENS, 3 * DIM), IN("acc_weight", 3 * DIM, DIM),
               IN("acc_bias", 3 * DIM)},
     .reference = ref_grad_weights,
     .outputs = 2,
     .f32 = F32_SUM(ROWS)},
    {.op = "linear_grad_weights",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {IN("src", IMAGES, TOKENS, DIM), IN("diff_dst", IMAGES, TOKENS, 3 * DIM)},
     .reference = ref_grad_weights,
     .outputs = 2,
     .f32 = F32_SUM(ROWS)},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

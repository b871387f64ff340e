/* layer_norm and layer_norm_grad against their definitions. */
#include "tests/support/op_harness.h"

#include <math.h>

static void ref_layer_norm(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t rows = dg_desc_rows(src), n = src->dim[src->ndim - 1];
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, square = 0;
        for (int64_t c = 0; c < n; c++) mean += in[0][r * n + c] / (double)n;
        for (int64_t c = 0; c < n; c++) square += pow(in[0][r * n + c] - mean, 2) / (double)n;
        double rstd = 1 / sqrt(square + attr_of(call, "eps"));
        for (int64_t c = 0; c < n; c++) out[0][r * n + c] = (in[0][r * n + c] - mean) * rstd * in[1][c] + in[2][c];
        out[1][r] = mean;
        out[2][r] = rstd;
    }
}

/* src, diff_dst, weight, mean, rstd, then what is added to each result. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t rows = dg_desc_rows(src), n = src->dim[src->ndim - 1];
    for (int64_t c = 0; c < n; c++) {
        out[1][c] = in[6] ? in[6][c] : 0;
        out[2][c] = in[7] ? in[7][c] : 0;
    }
    for (int64_t r = 0; r < rows; r++) {
        double mean_g = 0, mean_gx = 0, mean = in[3][r], rstd = in[4][r];
        for (int64_t c = 0; c < n; c++) {
            double x = (in[0][r * n + c] - mean) * rstd, diff = in[1][r * n + c];
            out[1][c] += diff * x;
            out[2][c] += diff;
            mean_g += diff * in[2][c] / (double)n;
            mean_gx += diff * in[2][c] * x / (double)n;
        }
        for (int64_t c = 0; c < n; c++) {
            double x = (in[0][r * n + c] - mean) * rstd;
            out[0][r * n + c] =
                (in[5] ? in[5][r * n + c] : 0) + rstd * (in[1][r * n + c] * in[2][c] - mean_g - x * mean_gx);
        }
    }
}

enum { IMAGES = 70, TOKENS = 3, DIM = 16, ROWS = IMAGES * TOKENS };

static const struct op_case cases[] = {
    {.op = "layer_norm",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .attrs = {ATTR("eps", 1e-6)},
     .input = {IN("src", 2, 7, 19)},
     .reference = ref_layer_norm,
     .outputs = 3,
     .grad = {true},
     .f32 = F32_SUM(19),
     .f32_grad = 2 * F32_SUM(19)}, /* in bf16 nothing on the way back is rounded */
    {.op = "layer_norm",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("eps", 1e-5)},
     .input = {IN("src", IMAGES, TOKENS, DIM)},
     .reference = ref_layer_norm,
     .outputs = 3,
     .f32 = F32_SUM(DIM)},
    {.op = "layer_norm_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {IN("src", IMAGES, TOKENS, DIM),
               IN("diff_dst", IMAGES, TOKENS, DIM),
               IN("weight", DIM),
               IN("mean", ROWS),
               {F32(ROWS), "rstd", .scale = 0.1, .offset = 1},
               IN("acc_src", IMAGES, TOKENS, DIM),
               IN("acc_weight", DIM),
               IN("acc_bias", DIM)},
     .reference = ref_grad,
     .outputs = 3,
     .f32 = F32_SUM(ROWS)},
    {.op = "layer_norm_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {IN("src", IMAGES, TOKENS, DIM),
               IN("diff_dst", IMAGES, TOKENS, DIM),
               IN("weight", DIM),
               IN("mean", ROWS),
               {F32(ROWS), "rstd", .scale = 0.1, .offset = 1}},
     .reference = ref_grad,
     .outputs = 3,
     .f32 = F32_SUM(ROWS)},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

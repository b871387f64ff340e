/* rms_norm and its gradient. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static double scale_of(const double *x, int64_t cols, double eps)
{
    double sum = 0;
    for (int64_t c = 0; c < cols; c++) sum += x[c] * x[c];
    return 1 / sqrt(sum / (double)cols + eps);
}

static void ref_norm(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t cols = src->dim[src->ndim - 1];
    for (int64_t r = 0; r < dg_desc_rows(src); r++) {
        double scale = scale_of(in[0] + r * cols, cols, attr_of(call, "eps"));
        for (int64_t c = 0; c < cols; c++) out[0][r * cols + c] = in[0][r * cols + c] * scale * in[1][c];
    }
}

/* src, diff_dst, weight, rstd, acc_weight; rstd is what is given, whatever src is. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t cols = src->dim[src->ndim - 1];
    for (int64_t c = 0; c < cols; c++) out[1][c] = in[4] ? in[4][c] : 0;
    for (int64_t r = 0; r < dg_desc_rows(src); r++) {
        const double *x = in[0] + r * cols, *dy = in[1] + r * cols;
        double scale = in[3][r], dot = 0;
        for (int64_t c = 0; c < cols; c++) {
            out[1][c] += dy[c] * x[c] * scale;
            dot += dy[c] * in[2][c] * x[c] * scale / (double)cols;
        }
        for (int64_t c = 0; c < cols; c++) out[0][r * cols + c] = scale * (dy[c] * in[2][c] - x[c] * scale * dot);
    }
}

/* Sums of 21 squares, and of 15 rows. */
static const struct op_case cases[] = {
    {.op = "rms_norm",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .attrs = {ATTR("eps", 1e-3)},
     .input = {IN("src", 3, 5, 21)},
     .reference = ref_norm,
     .grad = {true},
     .f32 = 1e-6,
     .f32_grad = 5e-6,
     .bf16_grad = 1},
    {.op = "rms_norm_grad",
     .modes = OP_VALUE | OP_BF16,
     .input = {IN("src", 3, 5, 21),
               IN("diff_dst", 3, 5, 21),
               IN("weight", 21),
               {F32(15), "rstd", .scale = 0.5, .offset = 1},
               IN("acc_weight", 21)},
     .reference = ref_grad,
     .outputs = 2,
     .f32 = 3e-6},
};

static void test_refusals(void **state)
{
    (void)state;
    struct op_run op = {.op = "rms_norm", .input = {{"src", F32(2, 7)}, {"weight", F32(6)}}};
    op_refused(&op, "weight must have 7 elements");
    op_input(&op, "src")->desc = F32(6);
    op_refused(&op, "at least 2 dimensions");
}

static const struct op_test tests[] = {OP_TEST("rms_norm", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* gelu_grad_sums: the gradient of GELU and its column sums, which are the gradient of the bias in front of it. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* src, diff_dst and what is added to the sums */
static void ref_grad_sums(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t cols = call->output[1].dim[0];
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) {
        double x = in[0][i], slope = 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
        out[0][i] = in[1][i] * slope;
    }
    for (int64_t c = 0; c < cols; c++) out[1][c] = in[2] ? in[2][c] : 0;
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[1][i % cols] += out[0][i];
}

enum { ROW_IMAGES = 70, ROW_TOKENS = 3, DIM = 16 };
#define ROWS_SHAPE ROW_IMAGES, ROW_TOKENS, DIM

/* The slope in bf16 is right to 1.2e-4 before it is rounded (tests/unit/ops/kernels/test_gelu_line.c). */
#define SLOPE (1.2e-4 / BF16_ROUNDING)

static const struct op_case cases[] = {
    {.op = "gelu_grad_sums",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {{F32(ROWS_SHAPE), "src", .scale = 6}, IN("diff_dst", ROWS_SHAPE), IN("acc_bias", DIM)},
     .reference = ref_grad_sums,
     .outputs = 2,
     .f32 = 1e-6,
     .bf16 = SLOPE},
    {.op = "gelu_grad_sums",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {{F32(ROWS_SHAPE), "src", .scale = 6}, IN("diff_dst", ROWS_SHAPE)},
     .reference = ref_grad_sums,
     .outputs = 2,
     .f32 = 1e-6,
     .bf16 = SLOPE},
};

enum { IMAGES = 24, TOKENS = 3, WIDTH = 37, ROWS = IMAGES * TOKENS, COUNT = ROWS * WIDTH };

/* GELU's gradient to the bit; its column sums as f64 has them, of numbers that are not yet rounded where they are
 * stored so. */
static void test_gelu_grad_sums(void **state)
{
    (void)state;
    struct two_types src = random_two_types("src", 3, COUNT), diff = random_two_types("diff", 1, COUNT);
    float *acc = random_f32("acc", 1, WIDTH);
    struct dg_desc desc = F32(IMAGES, TOKENS, WIDTH);
    struct op_run wide = {.op = "gelu_grad", .input = {{"src", desc, src.f32}, {"diff_dst", desc, diff.f32}}};
    struct op_result exact = op_run(&wide);
    for (int form = 0; form < 16; form++) {
        bool bf16 = form & 1, in_place = form & 2, adds = form & 4;
        int threads = form & 8 ? 3 : 1;
        struct op_run one = {.op = "gelu_grad",
                             .input = {tensor_of("src", desc, &src, bf16), tensor_of("diff_dst", desc, &diff, bf16)},
                             .bf16 = bf16};
        struct op_result want = op_run(&one);
        struct op_run fused = one;
        fused.op = "gelu_grad_sums";
        if (adds) *op_input(&fused, "acc_bias") = (struct op_tensor){"acc_bias", F32(WIDTH), acc};
        fused.in_place = in_place;
        fused.threads = threads;
        struct op_result got = op_run(&fused);
        assert_same_output(&got, 0, &want, 0);
        double sums[WIDTH];
        for (int c = 0; c < WIDTH; c++) {
            sums[c] = adds ? (double)acc[c] : 0;
            for (int r = 0; r < ROWS; r++) sums[c] += (double)((float *)exact.data[0])[r * WIDTH + c];
        }
        assert_near(got.data[1], sums, WIDTH, bf16 ? 1e-4 /* the polynomial for bf16 */ : F32_SUM(ROWS), "column sums");
        op_result_free(&want);
        op_result_free(&got);
    }
    op_refused(
        &(struct op_run){
            .op = "gelu_grad_sums",
            .input = {{"src", desc, src.f32}, {"diff_dst", desc, diff.f32}, {"acc_bias", F32(WIDTH + 1), acc}}},
        "accumulator has another shape");
    op_refused(&(struct op_run){.op = "gelu_grad_sums",
                                .input = {{"src", dg_desc_scalar(DG_F32), src.f32},
                                          {"diff_dst", dg_desc_scalar(DG_F32), diff.f32}}},
               "src must have at least 2 dimensions");
    op_result_free(&exact);
    free_two_types(&src);
    free_two_types(&diff);
    free(acc);
}

static const struct op_test tests[] = {
    OP_TEST("gelu_grad_sums gelu_grad", OP_VALUE | OP_BF16, test_gelu_grad_sums),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

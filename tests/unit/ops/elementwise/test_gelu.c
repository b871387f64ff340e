/* gelu, its gradient, and the gradient with its column sums. The kernels along the whole line: tests/unit/ops/kernels. */
#include "ops/kernels/bf16.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_gelu(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++)
        out[0][i] = in[0][i] * 0.5 * (1 + erf(in[0][i] / sqrt(2)));
}

/* src, diff_dst */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) {
        double x = in[0][i], slope = 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
        out[0][i] = in[1][i] * slope;
    }
}

/* src, diff_dst and what is added to the sums */
static void ref_grad_sums(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t cols = call->output[1].dim[0];
    ref_grad(call, in, out);
    for (int64_t c = 0; c < cols; c++) out[1][c] = in[2] ? in[2][c] : 0;
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[1][i % cols] += out[0][i];
}

enum { ROW_IMAGES = 70, ROW_TOKENS = 3, DIM = 16 };
#define ROWS_SHAPE ROW_IMAGES, ROW_TOKENS, DIM

/* The slope in bf16 is right to 1.2e-4 before it is rounded (tests/unit/ops/kernels/test_gelu_line.c). */
#define SLOPE (1.2e-4 / BF16_ROUNDING)

static const struct op_case cases[] = {
    {.op = "gelu",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {{F32(31, 67), "src", .scale = 6}},
     .reference = ref_gelu,
     .grad = {true},
     .f32 = 2e-7,
     .f32_grad = 1e-6,
     .bf16 = 0.15, /* the same test has it for each number */
     .bf16_grad = 1},
    {.op = "gelu", .modes = OP_VALUE | OP_ROWS, .input = {IN("src", ROWS_SHAPE)}, .reference = ref_gelu, .f32 = 2e-7},
    {.op = "gelu_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .input = {{F32(ROWS_SHAPE), "src", .scale = 6}, IN("diff_dst", ROWS_SHAPE)},
     .reference = ref_grad,
     .f32 = 1e-6,
     .bf16 = SLOPE},
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

/* Numbers that bf16 has, in both types. */
struct both {
    float *wide;
    dg_bf16 *half;
};

static struct both rounded(const char *name, double scale)
{
    struct both x = {random_f32(name, scale, COUNT), malloc(COUNT * sizeof(dg_bf16))};
    assert_non_null(x.half);
    for (int i = 0; i < COUNT; i++) {
        x.half[i] = dg_to_bf16(x.wide[i]);
        x.wide[i] = dg_from_bf16(x.half[i]);
    }
    return x;
}

static void free_both(struct both *x)
{
    free(x->wide);
    free(x->half);
}

static struct dg_desc typed(struct dg_desc desc, bool half)
{
    if (half) desc.dtype = DG_BF16;
    return desc;
}

static void same(const struct op_result *got, int o, const struct op_result *want, int w)
{
    assert_true(dg_desc_equal(&got->desc[o], &want->desc[w]));
    assert_memory_equal(got->data[o], want->data[w], (size_t)dg_desc_bytes(&want->desc[w]));
}

/* GELU's gradient to the bit; its column sums as f64 has them, of numbers that are not yet rounded where they are
 * stored so. */
static void test_gelu_grad_sums(void **state)
{
    (void)state;
    struct both src = rounded("src", 3), diff = rounded("diff", 1);
    float *acc = random_f32("acc", 1, WIDTH);
    struct dg_desc desc = F32(IMAGES, TOKENS, WIDTH);
    struct op_run wide = {.op = "gelu_grad", .input = {{"src", desc, src.wide}, {"diff_dst", desc, diff.wide}}};
    struct op_result exact = op_run(&wide);
    for (int form = 0; form < 16; form++) {
        bool half = form & 1, in_place = form & 2, adds = form & 4;
        int threads = form & 8 ? 3 : 1;
        struct op_run one = {.op = "gelu_grad",
                             .input = {{"src", typed(desc, half), half ? (void *)src.half : src.wide},
                                       {"diff_dst", typed(desc, half), half ? (void *)diff.half : diff.wide}},
                             .bf16 = half};
        struct op_result want = op_run(&one);
        struct op_run joined = one;
        joined.op = "gelu_grad_sums";
        if (adds) *op_input(&joined, "acc_bias") = (struct op_tensor){"acc_bias", F32(WIDTH), acc};
        joined.in_place = in_place;
        joined.threads = threads;
        struct op_result got = op_run(&joined);
        same(&got, 0, &want, 0);
        double sums[WIDTH];
        for (int c = 0; c < WIDTH; c++) {
            sums[c] = adds ? (double)acc[c] : 0;
            for (int r = 0; r < ROWS; r++) sums[c] += (double)((float *)exact.data[0])[r * WIDTH + c];
        }
        assert_near(got.data[1], sums, WIDTH, half ? 1e-4 /* the polynomial for bf16 */ : F32_SUM(ROWS), "column sums");
        op_result_free(&want);
        op_result_free(&got);
    }
    op_refused(
        &(struct op_run){
            .op = "gelu_grad_sums",
            .input = {{"src", desc, src.wide}, {"diff_dst", desc, diff.wide}, {"acc_bias", F32(WIDTH + 1), acc}}},
        "accumulator has another shape");
    op_refused(&(struct op_run){.op = "gelu_grad_sums",
                                .input = {{"src", dg_desc_scalar(DG_F32), src.wide},
                                          {"diff_dst", dg_desc_scalar(DG_F32), diff.wide}}},
               "src must have at least 2 dimensions");
    op_result_free(&exact);
    free_both(&src);
    free_both(&diff);
    free(acc);
}

static const struct op_test tests[] = {
    OP_TEST("gelu_grad_sums gelu_grad", OP_VALUE | OP_BF16, test_gelu_grad_sums),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* linear, linear_grad_src and linear_grad_weights against plain products. */
#include "ops/dnnl/cpu.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

/* --- products of bf16 parts --- */

/* c[m,n] = a b, sums over `terms`: element t of row i of a lies at i * a_row + t * a_term, and so on; also of absolute values. */
struct sums {
    int64_t m, n, terms, a_row, a_term, b_col, b_term;
    const float *a, *b;
};

/* The largest error of an element, in parts of the sum of the products' absolute values. */
static double worst(const struct sums *s, const float *got)
{
    double most = 0;
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++) {
            double sum = 0, size = 0;
            for (int64_t t = 0; t < s->terms; t++) {
                double one = (double)s->a[i * s->a_row + t * s->a_term] * (double)s->b[j * s->b_col + t * s->b_term];
                sum += one;
                size += fabs(one);
            }
            most = fmax(most, fabs((double)got[i * s->n + j] - sum) / size);
        }
    return most;
}

/* The largest error of linear, linear_grad_src and linear_grad_weights; where one side is 1, of the op that has sums of one product. */
static double error_of(enum dg_math math, int64_t rows, int64_t in, int64_t out)
{
    float *src = random_f32("src", 1, rows * in), *diff = random_f32("diff", 1, rows * out),
          *weight = random_f32("weight", 1, out * in);
    struct op_tensor of_src = {"src", F32(rows, in), src}, of_diff = {"diff_dst", F32(rows, out), diff},
                     of_weight = {"weight", F32(out, in), weight};
    struct op_run run[3] = {{.op = "linear", .math = math, .input = {of_src, of_weight}},
                            {.op = "linear_grad_src", .math = math, .input = {of_diff, of_weight}},
                            {.op = "linear_grad_weights", .math = math, .input = {of_src, of_diff}}};
    op_set_attr(&run[0], "out", (double)out);
    op_set_attr(&run[0], "bias", 0);
    struct sums sums[3] = {{rows, out, in, in, 1, in, 1, src, weight},
                           {rows, in, out, out, 1, 1, in, diff, weight},
                           {out, in, rows, 1, out, 1, in, diff, src}};
    double most = 0;
    for (int k = 0; k < 3; k++) {
        bool chosen = sums[k].terms == 1 || (in > 1 && out > 1 && rows > 1);
        if (chosen) {
            struct op_result result = op_run(&run[k]);
            most = fmax(most, worst(&sums[k], result.data[0]));
            op_result_free(&result);
        }
    }
    free(src);
    free(diff);
    free(weight);
    return most;
}

/* What three products leave out: the product of the second parts, and what two parts lack of each operand; u is what rounding to bf16
 * moves a number by at most, in parts of it. Six products leave out two of u^3, and each operand u^3. */
static const double u = 0x1p-8;

static void test_math(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) return;
    static const int64_t one[][3] = {
        {90, 1, 80}, {90, 80, 1}, {1, 90, 80}}; /* each op in turn has sums of one product */
    double three = 3 * u * u, six = 4 * u * u * u + 6 * F32_ROUNDING, seen = 0;
    for (int k = 0; k < 3; k++) {
        double x3 = error_of(DG_MATH_BF16X3, one[k][0], one[k][1], one[k][2]),
               x6 = error_of(DG_MATH_BF16X6, one[k][0], one[k][1], one[k][2]);
        if (!(x3 <= three && x6 <= six)) fail_msg("a product is off by %g of three and %g of six", x3, x6);
        seen = fmax(seen, x3);
    }
    assert_true(seen > six); /* three products are not six */
    enum { MANY = 150, IN = 70, OUT = 50 };
    double rounding = (MANY + 8) * F32_ROUNDING, x3 = error_of(DG_MATH_BF16X3, MANY, IN, OUT),
           x6 = error_of(DG_MATH_BF16X6, MANY, IN, OUT), f32 = error_of(DG_MATH_F32, MANY, IN, OUT);
    print_message("largest errors of sums: f32 %.1e, bf16x6 %.1e, bf16x3 %.1e\n", f32, x6, x3);
    assert_true(x3 <= three + rounding && x6 <= six + rounding && f32 <= rounding);
}

/* The bias, its gradient, accumulators and row maps: as in f32, to 3 * 2^-16 of the largest. */
static void test_math_operands(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) return;
    enum { NUMBER = 100, EACH = 2, IN = 30, OUT = 40, LEFT = 37 };
    static int64_t rows[1 + 2 * NUMBER];
    rows[0] = LEFT;
    for (int i = 0; i < NUMBER; i++) {
        rows[1 + i] = i < LEFT ? i : -1;
        rows[1 + NUMBER + i] = i < LEFT ? i : -1;
    }
    struct op_tensor map = {"rows", I64(1 + 2 * NUMBER), rows};
    struct op_tensor src = {"src", F32(NUMBER, EACH, IN), random_f32("src", 1, NUMBER * EACH * IN)},
                     diff = {"diff_dst", F32(NUMBER, EACH, OUT), random_f32("diff", 1, NUMBER * EACH * OUT)},
                     weight = {"weight", F32(OUT, IN), random_f32("weight", 1, OUT * IN)},
                     bias = {"bias", F32(OUT), random_f32("bias", 1, OUT)},
                     acc_weight = {"acc_weight", F32(OUT, IN), random_f32("acc", 1, OUT * IN)},
                     acc_bias = {"acc_bias", F32(OUT), random_f32("acc b", 1, OUT)};
    struct op_run run[3] = {{.op = "linear", .input = {src, weight, bias, map}},
                            {.op = "linear_grad_src", .input = {diff, weight, map}},
                            {.op = "linear_grad_weights", .input = {src, diff, acc_weight, acc_bias, map}}};
    op_set_attr(&run[0], "out", OUT);
    for (int k = 0; k < 3; k++) {
        struct op_result want = op_run(&run[k]);
        for (int math = DG_MATH_BF16X3; math < DG_MATHS; math++) {
            run[k].math = (enum dg_math)math;
            struct op_result got = op_run(&run[k]);
            for (int o = 0; o < (k == 2 ? 2 : 1); o++) {
                int64_t count = dg_desc_count(&want.desc[o]) / (k == 2 ? 1 : NUMBER) * (k == 2 ? 1 : LEFT);
                double *exact = malloc((size_t)count * sizeof *exact);
                assert_non_null(exact);
                for (int64_t i = 0; i < count; i++) exact[i] = op_element(&want.desc[o], want.data[o], i);
                assert_near(got.data[o], exact, count, 3 * u * u + 2 * F32_SUM(EACH * LEFT), run[k].op);
                free(exact);
            }
            op_result_free(&got);
        }
        op_result_free(&want);
    }
    struct op_tensor *all[] = {&src, &diff, &weight, &bias, &acc_weight, &acc_bias};
    for (int i = 0; i < 6; i++) free(all[i]->data);
}

static const struct op_test tests[] = {
    OP_TEST("linear linear_grad_src linear_grad_weights", OP_VALUE, test_math),
    OP_TEST("linear linear_grad_src linear_grad_weights", OP_VALUE, test_math_operands)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

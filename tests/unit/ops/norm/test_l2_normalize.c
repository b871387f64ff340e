/* L2 normalisation against its definition, and at the edge: rows shorter than eps are divided by eps, and then the gradient knows
 * no projection. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_l2(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = call->input[0].dim[0], n = call->input[0].dim[1];
    for (int64_t r = 0; r < rows; r++) {
        double square = 0;
        for (int64_t c = 0; c < n; c++) square += in[0][r * n + c] * in[0][r * n + c];
        out[1][r] = fmax(sqrt(square), attr_of(call, "eps"));
        for (int64_t c = 0; c < n; c++) out[0][r * n + c] = in[0][r * n + c] / out[1][r];
    }
}

/* dst, diff_dst and the norm of each row. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = call->input[0].dim[0], n = call->input[0].dim[1];
    for (int64_t r = 0; r < rows; r++) {
        double along = 0;
        for (int64_t c = 0; c < n; c++) along += in[0][r * n + c] * in[1][r * n + c];
        for (int64_t c = 0; c < n; c++) out[0][r * n + c] = (in[1][r * n + c] - in[0][r * n + c] * along) / in[2][r];
    }
}

static const struct op_case cases[] = {
    {.op = "l2_normalize",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {IN("src", 5, 23)},
     .reference = ref_l2,
     .outputs = 2,
     .grad = {true},
     .f32 = 1e-6,
     .f32_grad = 1e-5},
    {.op = "l2_normalize_grad",
     .modes = OP_VALUE,
     .input = {IN("dst", 5, 23), IN("diff_dst", 5, 23), {F32(5), "norm", .scale = 0.4, .offset = 1}},
     .reference = ref_grad,
     .f32 = 1e-6},
};

enum { ROWS = 3, COLS = 37 };

static void test_short_rows(void **state)
{
    (void)state;
    const float eps = 1e-3f;
    float *src = random_f32("src", 1, ROWS * COLS), *diff_dst = random_f32("diff_dst", 1, ROWS * COLS);
    for (int c = 0; c < COLS; c++) {
        src[COLS + c] = 0;
        src[2 * COLS + c] *= 1e-5f;
    }
    struct op_result r = op_run(
        &(struct op_run){.op = "l2_normalize", .attrs = {ATTR("eps", eps)}, .input = {{"src", F32(ROWS, COLS), src}}});
    const float *dst = r.data[0], *norm = r.data[1];
    double square = 0;
    for (int c = 0; c < COLS; c++) square += (double)dst[c] * dst[c];
    assert_true(fabs(square - 1) < 1e-6);
    assert_true(norm[0] > 1 && norm[1] == eps && norm[2] == eps);
    for (int c = 0; c < COLS; c++) {
        assert_true(dst[COLS + c] == 0);
        assert_true(dst[2 * COLS + c] == src[2 * COLS + c] / eps);
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        struct op_result d = op_run(&(struct op_run){
            .op = "l2_normalize_grad",
            .attrs = {ATTR("eps", eps)},
            .input = {{"dst", r.desc[0], r.data[0]}, {"diff_dst", r.desc[0], diff_dst}, {"norm", r.desc[1], r.data[1]}},
            .in_place = in_place});
        const float *diff_src = d.data[0];
        double along = 0;
        for (int c = 0; c < COLS; c++) along += (double)diff_src[c] * dst[c];
        assert_true(fabs(along) < 1e-6);
        for (int i = COLS; i < ROWS * COLS; i++) assert_true(diff_src[i] == diff_dst[i] / eps);
        op_result_free(&d);
    }
    op_result_free(&r);
    free(src);
    free(diff_dst);
}

static void test_norm_is_left_out_where_nothing_reads_it(void **state)
{
    (void)state;
    float *src = random_f32("src", 1, ROWS * COLS);
    struct op_run op = {.op = "l2_normalize", .attrs = {ATTR("eps", 1e-12)}, .input = {{"src", F32(ROWS, COLS), src}}};
    struct op_result both = op_run(&op);
    op.unwanted = 2;
    struct op_result one = op_run(&op);
    assert_null(one.data[1]);
    assert_memory_equal(one.data[0], both.data[0], ROWS * COLS * sizeof *src);
    op_result_free(&both);
    op_result_free(&one);
    free(src);
}

static const struct op_test tests[] = {
    OP_TEST("l2_normalize l2_normalize_grad", OP_VALUE, test_short_rows),
    OP_TEST("l2_normalize", 0, test_norm_is_left_out_where_nothing_reads_it),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

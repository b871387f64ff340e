/* L2 normalisation at the edge: rows shorter than eps are divided by eps, and then the gradient knows no projection. */
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    struct one_op_result r = one_op_run(&(struct one_op){
        .op = "l2_normalize", .attr = {{.f = eps}}, .num_inputs = 1, .desc = {F32(ROWS, COLS)}, .data = {src}});
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
        struct one_op_result d = one_op_run(&(struct one_op){.op = "l2_normalize_grad",
                                                             .attr = {{.f = eps}},
                                                             .num_inputs = 3,
                                                             .desc = {r.desc[0], r.desc[0], r.desc[1]},
                                                             .data = {r.data[0], diff_dst, r.data[1]},
                                                             .in_place = in_place});
        const float *diff_src = d.data[0];
        double along = 0;
        for (int c = 0; c < COLS; c++) along += (double)diff_src[c] * dst[c];
        assert_true(fabs(along) < 1e-6);
        for (int i = COLS; i < ROWS * COLS; i++) assert_true(diff_src[i] == diff_dst[i] / eps);
        one_op_free(&d);
    }
    one_op_free(&r);
    free(src);
    free(diff_dst);
}

static void test_norm_is_left_out_where_nothing_reads_it(void **state)
{
    (void)state;
    float *src = random_f32("src", 1, ROWS * COLS);
    struct one_op op = {
        .op = "l2_normalize", .attr = {{.f = 1e-12}}, .num_inputs = 1, .desc = {F32(ROWS, COLS)}, .data = {src}};
    struct one_op_result both = one_op_run(&op);
    op.unwanted = 2;
    struct one_op_result one = one_op_run(&op);
    assert_null(one.data[1]);
    assert_memory_equal(one.data[0], both.data[0], ROWS * COLS * sizeof *src);
    one_op_free(&both);
    one_op_free(&one);
    free(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_rows),
        cmocka_unit_test(test_norm_is_left_out_where_nothing_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

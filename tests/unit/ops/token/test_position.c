/* Position tables (interpolate_pos_encoding of the official code): when they are resized, and to what. */
#include "ops/token/position.h"
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is added to images of zeros. */
static float *position(const float *table, int64_t g, int64_t h, int64_t w, int64_t dim, bool say_grid)
{
    int64_t tokens = 1 + h * w;
    float *zero = calloc((size_t)(2 * tokens * dim), sizeof *zero);
    struct one_op_result r = one_op_run(&(struct one_op){
        .op = "add_position",
        .attr = {{0}, {.i = say_grid ? h : 0}, {.i = say_grid ? w : 0}},
        .num_inputs = 2,
        .desc = {F32(2, tokens, dim), F32(1, 1 + g * g, dim)},
        .data = {zero, (void *)table},
    });
    float *dst = r.data[0];
    assert_memory_equal(dst, dst + tokens * dim, (size_t)(tokens * dim) * sizeof *dst); /* every image alike */
    free(zero);
    return dst;
}

static void test_the_trained_grid_is_used_untouched(void **state)
{
    (void)state;
    enum { G = 7, D = 5, SIZE = (1 + G * G) * D };
    float *table = random_f32("table", 1, SIZE);
    for (int say_grid = 0; say_grid < 2; say_grid++) {
        float *got = position(table, G, G, G, D, say_grid);
        assert_memory_equal(got, table, SIZE * sizeof *got);
        free(got);
    }
    free(table);
}

/* As many tokens, but not as square: resized all the same (only the class token's row stays). */
static void test_same_count_of_another_shape_is_resized(void **state)
{
    (void)state;
    enum { G = 4, D = 3, SIZE = (1 + G * G) * D };
    float *table = random_f32("table", 1, SIZE), *got = position(table, G, 2, 8, D, true);
    assert_memory_equal(got, table, D * sizeof *got);
    int same = 0;
    for (int i = D; i < SIZE; i++) same += got[i] == table[i];
    assert_int_equal(same, 0);
    free(got);
    free(table);
}

/* Worked out apart from this program, by the definition: sum over all taps of W(y - row) W(x - column). */
static void test_worked_example(void **state)
{
    (void)state;
    static const float table[26] = {9, 0, 5, 3, 1, 6, 3, 2, 1, 0, 6, 5, 5, 5, 5, 5, 6, 0, 1, 2, 3, 6, 1, 3, 5, 0};
    static const double want[13] = {9,          1.06759231, 3.90419903, 0.538378795, 4.83484938,   4.85250495,
                                    5.04212263, 4.82870858, 5.0924024,  5.5312441,   -0.150197163, 2.97718252,
                                    1.70946855};
    float *got = position(table, 5, 3, 4, 1, true);
    assert_near(got, want, 13, 1e-6, "resized table");
    free(got);
}

/* A table resized for good is what the op would add from the original. */
static void test_resized_tables_add_the_same(void **state)
{
    (void)state;
    enum { D = 3 };
    static const int64_t grids[][2] = {{4, 7}, {7, 4}, {14, 28}, {1, 2}};
    for (size_t k = 0; k < sizeof grids / sizeof grids[0]; k++) {
        int64_t from = grids[k][0], to = grids[k][1], size = (1 + to * to) * D;
        float *table = random_f32("table", 1, (1 + from * from) * D), *got = position(table, from, to, to, D, true);
        float *resized = malloc((size_t)size * sizeof *resized);
        assert_non_null(resized);
        dg_position_resize(table, from, resized, to, D);
        for (int64_t i = 0; i < size; i++) assert_true(fabsf(resized[i] - got[i]) <= 1e-6f);
        free(table);
        free(got);
        free(resized);
    }
    assert_int_equal(dg_position_grid(197), 14);
    assert_int_equal(dg_position_grid(198), 0);
    assert_int_equal(dg_position_grid(1), 0);
}

/* The weights of a token sum to one, also where taps are clamped; a table of rows gives rows, of columns columns. */
static void test_constants_rows_and_columns(void **state)
{
    (void)state;
    static const int64_t grids[][3] = {{14, 6, 6}, {14, 30, 52}, {28, 12, 12}, {3, 61, 1}, {2, 1, 1}, {1, 3, 2}};
    for (size_t k = 0; k < sizeof grids / sizeof grids[0]; k++) {
        int64_t g = grids[k][0], h = grids[k][1], w = grids[k][2];
        float *table = calloc((size_t)((1 + g * g) * 3), sizeof *table);
        for (int64_t t = 0; t < g * g; t++) {
            table[(1 + t) * 3] = 1;
            table[(1 + t) * 3 + 1] = sinf((float)(t / g));
            table[(1 + t) * 3 + 2] = sinf((float)(t % g));
        }
        float *got = position(table, g, h, w, 3, true);
        for (int64_t t = 0; t < h * w; t++) {
            const float *at = got + (1 + t) * 3, *left = got + (1 + t / w * w) * 3, *top = got + (1 + t % w) * 3;
            assert_true(fabsf(at[0] - 1) <= 5e-7f);
            assert_true(fabsf(at[1] - left[1]) <= 5e-7f);
            assert_true(fabsf(at[2] - top[2]) <= 5e-7f);
        }
        free(got);
        free(table);
    }
}

/* <A x, y> = <x, A' y>: the backward is the forward's transpose, summed over images, on top of the accumulator. */
static void test_backward_is_the_transpose(void **state)
{
    (void)state;
    enum { G = 6, H = 3, W = 5, D = 4, N = 3, ROWS = 1 + G * G, TOKENS = 1 + H * W };
    float *table = random_f32("table", 1, ROWS * D), *diff_dst = random_f32("diff_dst", 1, N * TOKENS * D);
    float *acc = random_f32("acc", 1, ROWS * D), *resized = position(table, G, H, W, D, true);
    double forward = 0;
    for (int i = 0; i < N * TOKENS * D; i++) forward += (double)resized[i % (TOKENS * D)] * diff_dst[i];
    for (int with_acc = 0; with_acc < 2; with_acc++)
        for (int in_place = 0; in_place < 2; in_place++) {
            struct one_op_result r = one_op_run(&(struct one_op){
                .op = "add_position_grad",
                .attr = {{.i = H}, {.i = W}, {.i = ROWS}},
                .num_inputs = 2,
                .desc = {F32(N, TOKENS, D), with_acc ? F32(1, ROWS, D) : DG_ABSENT_DESC},
                .data = {diff_dst, acc},
                .in_place = in_place,
            });
            const float *diff_table = r.data[0];
            double backward = 0;
            for (int i = 0; i < ROWS * D; i++)
                backward += (double)table[i] * ((double)diff_table[i] - (with_acc ? acc[i] : 0));
            assert_true(fabs(forward) > 0.1);
            assert_true(fabs(backward - forward) <= 1e-5 * fabs(forward));
            one_op_free(&r);
        }
    free(table);
    free(diff_dst);
    free(acc);
    free(resized);
}

static void test_refusals(void **state)
{
    (void)state;
    struct one_op op = {.op = "add_position", .num_inputs = 2, .desc = {F32(2, 7, 4), F32(1, 10, 4)}};
    one_op_refused(&op, "7 tokens are not one class token and a square grid");
    op.attr[1].i = 2;
    op.attr[2].i = 4;
    one_op_refused(&op, "a grid of 2x4");
    op.attr[2].i = 3;
    op.desc[1] = F32(1, 11, 4);
    one_op_refused(&op, "table must be [1, 1 + grid * grid, 4], got f32 [1, 11, 4]");
    op.desc[1] = F32(1, 10, 5);
    one_op_refused(&op, "table must be");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_trained_grid_is_used_untouched),
        cmocka_unit_test(test_same_count_of_another_shape_is_resized),
        cmocka_unit_test(test_worked_example),
        cmocka_unit_test(test_resized_tables_add_the_same),
        cmocka_unit_test(test_constants_rows_and_columns),
        cmocka_unit_test(test_backward_is_the_transpose),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Position tables (interpolate_pos_encoding of the official code): when they are resized, and to what. */
#include "ops/token/position.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double cubic(double x)
{
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

struct tap {
    int64_t row; /* of the table */
    double weight;
};

/* The official interpolate_pos_encoding (PyTorch's bicubic interpolation), written the long way round: the taps of the table [g, g]
 * that make the position of a token on an h by w grid, behind `cls` class tokens. Returns how many. */
static int taps_of(int64_t token, int64_t cls, int64_t g, int64_t h, int64_t w, struct tap tap[16])
{
    if (token < cls || (h == g && w == g)) {
        tap[0] = (struct tap){token, 1};
        return 1;
    }
    int count = 0;
    double y = (double)(float)((double)g / ((double)h + 0.1)) * ((double)((token - cls) / w) + 0.5) - 0.5;
    double x = (double)(float)((double)g / ((double)w + 0.1)) * ((double)((token - cls) % w) + 0.5) - 0.5;
    for (int64_t ty = (int64_t)floor(y) - 1; ty <= (int64_t)floor(y) + 2; ty++)
        for (int64_t tx = (int64_t)floor(x) - 1; tx <= (int64_t)floor(x) + 2; tx++) {
            int64_t cy = ty < 0 ? 0 : ty >= g ? g - 1 : ty, cx = tx < 0 ? 0 : tx >= g ? g - 1 : tx;
            tap[count++] = (struct tap){cls + cy * g + cx, cubic(y - (double)ty) * cubic(x - (double)tx)};
        }
    return count;
}

/* Of a table with a class token's row or without. */
static int64_t side_of(int64_t rows) { return (int64_t)lround(sqrt((double)(rows - 1))); }

static void ref_position(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t t = src->dim[1], d = src->dim[2], g = side_of(call->input[1].dim[1]);
    for (int64_t i = 0; i < dg_desc_count(src); i++) {
        struct tap tap[16];
        int64_t h = (int64_t)attr_of(call, "grid_h"), w = (int64_t)attr_of(call, "grid_w");
        int taps = taps_of(i / d % t, t - h * w, g, h, w, tap);
        out[0][i] = in[0][i];
        for (int k = 0; k < taps; k++) out[0][i] += tap[k].weight * in[1][tap[k].row * d + i % d];
    }
}

static void ref_position_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *diff = &call->input[0], *table = &call->output[0];
    int64_t t = diff->dim[1], d = diff->dim[2], g = side_of(table->dim[1]);
    for (int64_t i = 0; i < dg_desc_count(table); i++) out[0][i] = in[1] ? in[1][i] : 0;
    for (int64_t i = 0; i < dg_desc_count(diff); i++) {
        struct tap tap[16];
        int64_t h = (int64_t)attr_of(call, "grid_h"), w = (int64_t)attr_of(call, "grid_w");
        int taps = taps_of(i / d % t, t - h * w, g, h, w, tap);
        for (int k = 0; k < taps; k++) out[0][tap[k].row * d + i % d] += tap[k].weight * in[0][i];
    }
}

#define POSITION(h, w, cls)                                                                                            \
    {                                                                                                                  \
        .op = "add_position", .modes = OP_VALUE | OP_GRADIENT, .attrs = {ATTR("grid_h", h), ATTR("grid_w", w)},        \
        .input = {IN("src", 2, (cls) + (h) * (w), 3), IN("table", 1, (cls) + 25, 3)}, .reference = ref_position,       \
        .grad = {true, true}, .f32 = 2e-6, .f32_grad = 1e-5                                                            \
    }

static const struct op_case cases[] = {
    POSITION(5, 5, 1),
    POSITION(3, 3, 1),
    POSITION(7, 4, 1),
    POSITION(5, 5, 0), /* without a class token */
    POSITION(7, 4, 0),
    {.op = "add_position_grad",
     .modes = OP_VALUE,
     .attrs = {ATTR("grid_h", 7), ATTR("grid_w", 4), ATTR("table_rows", 26)},
     .input = {IN("diff_dst", 2, 29, 3), IN("acc_table", 1, 26, 3)},
     .reference = ref_position_grad,
     .f32 = 2e-6},
    {.op = "add_position_grad",
     .modes = OP_VALUE,
     .attrs = {ATTR("grid_h", 7), ATTR("grid_w", 4), ATTR("table_rows", 25)},
     .input = {IN("diff_dst", 2, 28, 3), IN("acc_table", 1, 25, 3)},
     .reference = ref_position_grad,
     .f32 = 2e-6},
};

/* What is added to images of zeros. */
static float *position(const float *table, int64_t g, int64_t h, int64_t w, int64_t dim, bool say_grid)
{
    int64_t tokens = 1 + h * w;
    float *zero = calloc((size_t)(2 * tokens * dim), sizeof *zero);
    struct op_result r = op_run(&(struct op_run){
        .op = "add_position",
        .attrs = {ATTR("grid_h", say_grid ? h : 0), ATTR("grid_w", say_grid ? w : 0)},
        .input = {{"src", F32(2, tokens, dim), zero}, {"table", F32(1, 1 + g * g, dim), (void *)table}},
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
        dg_position_resize(table, (int64_t[]){from, from}, resized, (int64_t[]){to, to}, D);
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
            struct op_result r = op_run(&(struct op_run){
                .op = "add_position_grad",
                .attrs = {ATTR("grid_h", H), ATTR("grid_w", W), ATTR("table_rows", ROWS)},
                .input = {{"diff_dst", F32(N, TOKENS, D), diff_dst},
                          {"acc_table", with_acc ? F32(1, ROWS, D) : DG_ABSENT_DESC, acc}},
                .in_place = in_place,
            });
            const float *diff_table = r.data[0];
            double backward = 0;
            for (int i = 0; i < ROWS * D; i++)
                backward += (double)table[i] * ((double)diff_table[i] - (with_acc ? acc[i] : 0));
            assert_true(fabs(forward) > 0.1);
            assert_true(fabs(backward - forward) <= 1e-5 * fabs(forward));
            op_result_free(&r);
        }
    free(table);
    free(diff_dst);
    free(acc);
    free(resized);
}

static void test_refusals(void **state)
{
    (void)state;
    struct op_run op = {.op = "add_position", .input = {{"src", F32(2, 7, 4)}, {"table", F32(1, 10, 4)}}};
    op_refused(&op, "7 tokens are not one class token and a square grid");
    op_set_attr(&op, "grid_h", 2);
    op_set_attr(&op, "grid_w", 4);
    op_refused(&op, "7 tokens are not a grid of 2x4, with or without a class token");
    op_set_attr(&op, "grid_w", 3);
    op_input(&op, "table")->desc = F32(1, 11, 4);
    op_refused(&op, "table must be [1, 1 + grid * grid, 4], got f32 [1, 11, 4]");
    op_input(&op, "table")->desc = F32(1, 10, 5);
    op_refused(&op, "table must be");
    op_set_attr(&op, "same_grid", 1);
    op_input(&op, "table")->desc = F32(1, 10, 4);
    op_refused(&op, "table must be");
}

/* A table of the tokens' own grid is added as it is, also where its rows would make a square. */
static void test_the_same_grid_is_not_resized(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{2, 3}, {2, 8}};
    for (int k = 0; k < 2; k++) {
        int64_t tokens = 1 + grids[k][0] * grids[k][1];
        float *table = random_f32("table", 1, tokens * 4), *zero = calloc((size_t)(tokens * 4), sizeof *zero);
        struct op_result r = op_run(&(struct op_run){
            .op = "add_position",
            .attrs = {ATTR("grid_h", grids[k][0]), ATTR("grid_w", grids[k][1]), ATTR("same_grid", 1)},
            .input = {{"src", F32(1, tokens, 4), zero}, {"table", F32(1, tokens, 4), table}},
        });
        assert_memory_equal(r.data[0], table, (size_t)(tokens * 4) * sizeof *table);
        free(r.data[0]);
        free(table);
        free(zero);
    }
}

static const struct op_test tests[] = {
    OP_TEST("add_position", OP_VALUE, test_the_trained_grid_is_used_untouched),
    OP_TEST("add_position", OP_VALUE, test_same_count_of_another_shape_is_resized),
    OP_TEST("add_position", OP_VALUE, test_worked_example),
    OP_TEST("add_position", OP_VALUE, test_resized_tables_add_the_same),
    OP_TEST("add_position", OP_VALUE, test_constants_rows_and_columns),
    OP_TEST("add_position_grad", OP_VALUE, test_backward_is_the_transpose),
    OP_TEST("add_position", OP_VALUE, test_the_same_grid_is_not_resized),
    OP_TEST("add_position", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

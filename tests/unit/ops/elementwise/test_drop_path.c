/* Drop path: how many rows go, which rows go, and that the gradient loses the same ones. */
#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROW = 3 };

static struct one_op_result drop(const char *op, const float *src, int64_t rows, double rate, int view0, int batch,
                                 int64_t step, uint64_t stream)
{
    return one_op_run(&(struct one_op){.op = op,
                                       .attr = {{.f = rate}},
                                       .num_inputs = 1,
                                       .desc = {F32(rows, ROW)},
                                       .data = {(void *)src},
                                       .stream = stream,
                                       .view0 = view0,
                                       .batch = batch,
                                       .step = {.seed = 5, .step = step}});
}

/* Rows that are kept, from `rows` ones; checks that a row goes or stays as a whole. */
static void mask_of(int64_t rows, double rate, int view0, int batch, int64_t step, uint64_t stream, bool *kept)
{
    float *ones = malloc((size_t)(rows * ROW) * sizeof *ones), value = 1.0f / (float)(1.0 - rate);
    for (int64_t i = 0; i < rows * ROW; i++) ones[i] = 1;
    struct one_op_result r = drop("drop_path", ones, rows, rate, view0, batch, step, stream);
    const float *dst = r.data[0];
    for (int64_t i = 0; i < rows; i++) {
        kept[i] = dst[i * ROW] != 0;
        for (int c = 0; c < ROW; c++) assert_true(dst[i * ROW + c] == (kept[i] ? value : 0));
    }
    one_op_free(&r);
    free(ones);
}

static void test_keeps_the_right_share(void **state)
{
    (void)state;
    enum { N = 20000 };
    bool *kept = malloc(N);
    static const double rates[] = {0.00909090880304575, 0.1, 0.5, 0.9};
    for (int k = 0; k < 4; k++) {
        int count = 0;
        mask_of(N, rates[k], 0, N, 0, 17, kept);
        for (int i = 0; i < N; i++) count += kept[i];
        assert_true(fabs(count - N * (1 - rates[k])) < 5 * sqrt(N * rates[k] * (1 - rates[k])));
    }
    free(kept);
}

/* Every pair of view, step and node has a mask of its own: about half of it agrees with any other. */
static void test_masks_are_independent(void **state)
{
    (void)state;
    enum { N = 2000, MASKS = 4 };
    bool *kept = malloc(MASKS * N);
    mask_of(N, 0.5, 0, N, 0, 17, kept);
    mask_of(N, 0.5, 1, N, 0, 17, kept + N);
    mask_of(N, 0.5, 0, N, 1, 17, kept + 2 * N);
    mask_of(N, 0.5, 0, N, 0, 18, kept + 3 * N);
    for (int a = 0; a < MASKS; a++)
        for (int b = 0; b < a; b++) {
            int agree = 0;
            for (int i = 0; i < N; i++) agree += kept[a * N + i] == kept[b * N + i];
            assert_true(abs(agree - N / 2) < 5 * sqrt(N / 4.0));
        }
    free(kept);
}

/* Eight views of a batch of 6 in one application, view by view, or in two groups: each row meets the same fate. */
static void test_masks_do_not_depend_on_grouping(void **state)
{
    (void)state;
    enum { VIEWS = 8, BATCH = 6, FIRST = 2 };
    bool whole[VIEWS * BATCH], part[VIEWS * BATCH];
    mask_of(VIEWS * BATCH, 0.5, FIRST, BATCH, 3, 17, whole);
    for (int v = 0; v < VIEWS; v++) mask_of(BATCH, 0.5, FIRST + v, BATCH, 3, 17, part + v * BATCH);
    assert_memory_equal(part, whole, sizeof whole);
    mask_of(3 * BATCH, 0.5, FIRST, BATCH, 3, 17, part);
    mask_of(5 * BATCH, 0.5, FIRST + 3, BATCH, 3, 17, part + 3 * BATCH);
    assert_memory_equal(part, whole, sizeof whole);
    for (int r = 0; r < VIEWS * BATCH; r++) { /* as ops/base/rng.h words it; the factor of step is ours */
        uint64_t stream = 17 ^ UINT64_C(3) * UINT64_C(0x9E3779B97F4A7C15);
        uint32_t word = dg_rng_at(5, DG_RNG_DROP_PATH, stream, (uint32_t)(FIRST + r / BATCH), (uint64_t)(r % BATCH));
        assert_int_equal(whole[r], floorf(0.5f + dg_unit_float(word)) == 1);
    }
}

static void test_gradient_has_the_same_mask(void **state)
{
    (void)state;
    enum { N = 64 };
    float *x = random_f32("x", 1, N * ROW);
    struct one_op_result forward = drop("drop_path", x, N, 0.3, 2, 16, 4, 99);
    struct one_op_result backward = drop("drop_path_grad", x, N, 0.3, 2, 16, 4, 99);
    assert_memory_equal(forward.data[0], backward.data[0], N * ROW * sizeof *x);
    struct one_op_result in_place = one_op_run(&(struct one_op){.op = "drop_path_grad",
                                                                .attr = {{.f = 0.3}},
                                                                .num_inputs = 1,
                                                                .desc = {F32(N, ROW)},
                                                                .data = {x},
                                                                .in_place = true,
                                                                .stream = 99,
                                                                .view0 = 2,
                                                                .batch = 16,
                                                                .threads = 1,
                                                                .step = {.seed = 5, .step = 4}});
    assert_memory_equal(in_place.data[0], backward.data[0], N * ROW * sizeof *x);
    one_op_free(&forward);
    one_op_free(&backward);
    one_op_free(&in_place);
    free(x);
}

/* The sum that the compiler makes of drop path and the add behind it: bit for bit what the two make, and in bf16 what they
 * make of the same rows rounded. */
static void test_with_residual(void **state)
{
    (void)state;
    enum { N = 32, COUNT = N * ROW };
    float *src = random_f32("src", 1, COUNT), *residual = random_f32("residual", 1, COUNT);
    dg_bf16 half[COUNT];
    for (int i = 0; i < COUNT; i++) {
        half[i] = dg_to_bf16(src[i]);
        src[i] = dg_from_bf16(half[i]);
    }
    struct one_op_result dropped = drop("drop_path", src, N, 0.3, 2, 16, 4, 99);
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int in_place = 0; in_place < 2; in_place++) {
            struct dg_desc desc = F32(N, ROW), narrow = desc;
            narrow.dtype = DG_BF16;
            struct one_op_result sum = one_op_run(&(struct one_op){.op = "drop_path_add",
                                                                   .attr = {{.f = 0.3}},
                                                                   .num_inputs = 2,
                                                                   .desc = {bf16 ? narrow : desc, desc},
                                                                   .data = {bf16 ? (void *)half : src, residual},
                                                                   .bf16 = bf16,
                                                                   .in_place = in_place,
                                                                   .stream = 99,
                                                                   .view0 = 2,
                                                                   .batch = 16,
                                                                   .step = {.seed = 5, .step = 4}});
            for (int i = 0; i < COUNT; i++)
                assert_true(((float *)sum.data[0])[i] == residual[i] + ((float *)dropped.data[0])[i]);
            one_op_free(&sum);
        }
    one_op_free(&dropped);
    free(src);
    free(residual);
}

/* The gradient is where a plan in bf16 leaves the f32 of the residual stream. */
static void test_bf16(void **state)
{
    (void)state;
    enum { N = 32, COUNT = N * ROW };
    float *src = random_f32("src", 1, COUNT);
    struct one_op_result wide = drop("drop_path_grad", src, N, 0.3, 2, 16, 4, 99);
    struct one_op_result narrow = one_op_run(&(struct one_op){.op = "drop_path_grad",
                                                              .attr = {{.f = 0.3}},
                                                              .num_inputs = 1,
                                                              .desc = {F32(N, ROW)},
                                                              .data = {src},
                                                              .bf16 = true,
                                                              .stream = 99,
                                                              .view0 = 2,
                                                              .batch = 16,
                                                              .step = {.seed = 5, .step = 4}});
    assert_int_equal(narrow.desc[0].dtype, DG_BF16);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(((dg_bf16 *)narrow.data[0])[i], dg_to_bf16(((float *)wide.data[0])[i]));
    one_op_free(&wide);
    one_op_free(&narrow);
    free(src);
}

/* A value that is not finite must not survive where its row is dropped: zero, not zero times it. */
static void test_dropped_rows_are_zero_whatever_was_in_them(void **state)
{
    (void)state;
    enum { N = 32 };
    float src[N * ROW];
    bool kept[N];
    mask_of(N, 0.5, 0, N, 0, 17, kept);
    for (int i = 0; i < N * ROW; i++) src[i] = kept[i / ROW] ? 1 : NAN;
    struct one_op_result r = drop("drop_path", src, N, 0.5, 0, N, 0, 17);
    for (int i = 0; i < N * ROW; i++) assert_true(((float *)r.data[0])[i] == (kept[i / ROW] ? 2 : 0));
    one_op_free(&r);
}

static void test_identity(void **state)
{
    (void)state;
    const struct dg_op *op = dg_op_find("drop_path");
    for (int eval = 0; eval < 2; eval++)
        for (int rate = 0; rate < 2; rate++) {
            struct dg_desc desc = F32(4, ROW);
            union dg_attr attr[] = {{.f = rate ? 0.5 : 0}};
            struct dg_op_call call = {.op = op, .attr = attr, .num_inputs = 1, .input = &desc, .train = !eval};
            assert_int_equal(op->is_identity(&call), eval || !rate);
            if (!eval && rate) continue;
            float *src = random_f32("src", 1, 4 * ROW);
            struct one_op_result r = one_op_run(&(struct one_op){.op = "drop_path",
                                                                 .attr = {attr[0]},
                                                                 .num_inputs = 1,
                                                                 .desc = {desc},
                                                                 .data = {src},
                                                                 .batch = 4,
                                                                 .eval = eval});
            assert_memory_equal(r.data[0], src, 4 * ROW * sizeof *src);
            one_op_free(&r);
            free(src);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_right_share),
        cmocka_unit_test(test_masks_are_independent),
        cmocka_unit_test(test_masks_do_not_depend_on_grouping),
        cmocka_unit_test(test_gradient_has_the_same_mask),
        cmocka_unit_test(test_dropped_rows_are_zero_whatever_was_in_them),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_with_residual),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

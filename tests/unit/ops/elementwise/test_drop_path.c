/* Drop path: how many rows go, which rows go, and that the gradient loses the same ones. */
#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"
#include "tests/support/op_harness.h"
#include "tests/support/op_references.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROW = 3, VIEW0 = 2, IN_BATCH = 4 };

static void ref_drop_path(const struct dg_op_call *call, double *const *in, double *const *out)
{
    double rate = attr_of(call, "rate");
    int64_t count = dg_desc_count(&call->input[0]), row = count / call->input[0].dim[0];
    for (int64_t i = 0; i < count; i++)
        out[0][i] = ref_row_survives(rate, VIEW0, IN_BATCH, i / row) ? in[0][i] / (1 - rate) : 0;
}

enum { ROWS_IMAGES = 70, TOKENS = 3, DIM = 16 };

static const struct op_case cases[] = {
    {.op = "drop_path",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .attrs = {ATTR("rate", 0.4)},
     .input = {IN("src", 12, 5, 7)},
     .reference = ref_drop_path,
     .grad = {true},
     .f32 = 2e-7,
     .f32_grad = 1e-6,
     .bf16_grad = 1,
     .view0 = VIEW0,
     .batch = IN_BATCH},
    {.op = "drop_path_grad",
     .modes = OP_VALUE | OP_BF16,
     .attrs = {ATTR("rate", 0.4)},
     .input = {IN("diff_dst", 12, 5, 7)},
     .reference = ref_drop_path,
     .f32 = 2e-7,
     .view0 = VIEW0,
     .batch = IN_BATCH},
    {.op = "drop_path_grad",
     .modes = OP_ROWS,
     .attrs = {ATTR("rate", 0)},
     .input = {IN("diff_dst", ROWS_IMAGES, TOKENS, DIM)}},
};

static struct op_result drop(const char *op, const float *src, int64_t rows, double rate, int view0, int batch,
                             int64_t step, uint64_t stream)
{
    return op_run(&(struct op_run){.op = op,
                                   .attrs = {ATTR("rate", rate)},
                                   .input = {{NULL, F32(rows, ROW), (void *)src}},
                                   .stream = stream,
                                   .view0 = view0,
                                   .batch = batch,
                                   .step = {.seed = 5, .step = step}});
}

/* Rows that survive, from `rows` ones; checks that a row goes or stays as a whole. */
static void mask_of(int64_t rows, double rate, int view0, int batch, int64_t step, uint64_t stream, bool *survives)
{
    float *ones = malloc((size_t)(rows * ROW) * sizeof *ones), value = 1.0f / (float)(1.0 - rate);
    for (int64_t i = 0; i < rows * ROW; i++) ones[i] = 1;
    struct op_result r = drop("drop_path", ones, rows, rate, view0, batch, step, stream);
    const float *dst = r.data[0];
    for (int64_t i = 0; i < rows; i++) {
        survives[i] = dst[i * ROW] != 0;
        for (int c = 0; c < ROW; c++) assert_true(dst[i * ROW + c] == (survives[i] ? value : 0));
    }
    op_result_free(&r);
    free(ones);
}

static void test_keeps_the_right_share(void **state)
{
    (void)state;
    enum { N = 20000 };
    bool *survives = malloc(N);
    static const double rates[] = {0.00909090880304575, 0.1, 0.5, 0.9};
    for (int k = 0; k < 4; k++) {
        int count = 0;
        mask_of(N, rates[k], 0, N, 0, 17, survives);
        for (int i = 0; i < N; i++) count += survives[i];
        assert_true(fabs(count - N * (1 - rates[k])) < 5 * sqrt(N * rates[k] * (1 - rates[k])));
    }
    free(survives);
}

/* Every pair of view, step and node has a mask of its own: about half of it agrees with any other. */
static void test_masks_are_independent(void **state)
{
    (void)state;
    enum { N = 2000, MASKS = 4 };
    bool *survives = malloc(MASKS * N);
    mask_of(N, 0.5, 0, N, 0, 17, survives);
    mask_of(N, 0.5, 1, N, 0, 17, survives + N);
    mask_of(N, 0.5, 0, N, 1, 17, survives + 2 * N);
    mask_of(N, 0.5, 0, N, 0, 18, survives + 3 * N);
    for (int a = 0; a < MASKS; a++)
        for (int b = 0; b < a; b++) {
            int agree = 0;
            for (int i = 0; i < N; i++) agree += survives[a * N + i] == survives[b * N + i];
            assert_true(abs(agree - N / 2) < 5 * sqrt(N / 4.0));
        }
    free(survives);
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
    struct op_result forward = drop("drop_path", x, N, 0.3, 2, 16, 4, 99);
    struct op_result backward = drop("drop_path_grad", x, N, 0.3, 2, 16, 4, 99);
    assert_memory_equal(forward.data[0], backward.data[0], N * ROW * sizeof *x);
    struct op_result in_place = op_run(&(struct op_run){.op = "drop_path_grad",
                                                        .attrs = {ATTR("rate", 0.3)},
                                                        .input = {{"diff_dst", F32(N, ROW), x}},
                                                        .in_place = true,
                                                        .stream = 99,
                                                        .view0 = 2,
                                                        .batch = 16,
                                                        .threads = 1,
                                                        .step = {.seed = 5, .step = 4}});
    assert_memory_equal(in_place.data[0], backward.data[0], N * ROW * sizeof *x);
    op_result_free(&forward);
    op_result_free(&backward);
    op_result_free(&in_place);
    free(x);
}

/* The gradient is where a plan in bf16 leaves the f32 of the residual stream. */
static void test_bf16(void **state)
{
    (void)state;
    enum { N = 32, COUNT = N * ROW };
    float *src = random_f32("src", 1, COUNT);
    struct op_result wide = drop("drop_path_grad", src, N, 0.3, 2, 16, 4, 99);
    struct op_result narrow = op_run(&(struct op_run){.op = "drop_path_grad",
                                                      .attrs = {ATTR("rate", 0.3)},
                                                      .input = {{"diff_dst", F32(N, ROW), src}},
                                                      .bf16 = true,
                                                      .stream = 99,
                                                      .view0 = 2,
                                                      .batch = 16,
                                                      .step = {.seed = 5, .step = 4}});
    assert_int_equal(narrow.desc[0].dtype, DG_BF16);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(((dg_bf16 *)narrow.data[0])[i], dg_to_bf16(((float *)wide.data[0])[i]));
    op_result_free(&wide);
    op_result_free(&narrow);
    free(src);
}

/* A value that is not finite must not survive where its row is dropped: zero, not zero times it. */
static void test_dropped_rows_are_zero_whatever_was_in_them(void **state)
{
    (void)state;
    enum { N = 32 };
    float src[N * ROW];
    bool survives[N];
    mask_of(N, 0.5, 0, N, 0, 17, survives);
    for (int i = 0; i < N * ROW; i++) src[i] = survives[i / ROW] ? 1 : NAN;
    struct op_result r = drop("drop_path", src, N, 0.5, 0, N, 0, 17);
    for (int i = 0; i < N * ROW; i++) assert_true(((float *)r.data[0])[i] == (survives[i / ROW] ? 2 : 0));
    op_result_free(&r);
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
            struct op_result r = op_run(&(struct op_run){
                .op = "drop_path", .attr = attr, .input = {{"src", desc, src}}, .batch = 4, .eval = eval});
            assert_memory_equal(r.data[0], src, 4 * ROW * sizeof *src);
            op_result_free(&r);
            free(src);
        }
}

static const struct op_test tests[] = {
    OP_TEST("drop_path", OP_VALUE, test_keeps_the_right_share),
    OP_TEST("drop_path", OP_VALUE, test_masks_are_independent),
    OP_TEST("drop_path", OP_VALUE, test_masks_do_not_depend_on_grouping),
    OP_TEST("drop_path drop_path_grad", OP_VALUE, test_gradient_has_the_same_mask),
    OP_TEST("drop_path", OP_VALUE, test_dropped_rows_are_zero_whatever_was_in_them),
    OP_TEST("drop_path", OP_VALUE, test_identity),
    OP_TEST("drop_path_grad", OP_VALUE | OP_BF16, test_bf16),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

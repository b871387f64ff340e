/* Cross-entropy against its definition in f64: value, gradient by finite differences, rows that do not count, refusals. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 7, C = 23 };

static double naive(const double *logits, const int64_t *labels)
{
    double sum = 0;
    int count = 0;
    for (int r = 0; r < B; r++) {
        const double *x = logits + (ptrdiff_t)r * C;
        double most = x[0], total = 0;
        if (labels[r] < 0) continue;
        for (int c = 0; c < C; c++) most = fmax(most, x[c]);
        for (int c = 0; c < C; c++) total += exp(x[c] - most);
        sum += most + log(total) - x[labels[r]];
        count++;
    }
    return count ? sum / count : 0;
}

static void ref_cross_entropy(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t labels[B];
    (void)call;
    for (int r = 0; r < B; r++) labels[r] = (int64_t)in[1][r];
    out[0][0] = naive(in[0], labels);
}

static const int64_t some_labels[B] = {0, -1, 5, 5, -1, 1, -1};

static const struct op_case cases[] = {
    {.op = "cross_entropy",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {{F32(B, C), "logits", .scale = 3}, {I64(B), "labels", .data = some_labels}},
     .reference = ref_cross_entropy,
     .grad = {true},
     .f32 = 1e-12,
     .f32_grad = 1e-6},
};

static struct dg_desc labels_desc(int64_t rows) { return dg_desc_make(DG_I64, 1, &rows); }

static struct op_result forward(float *logits, int64_t *labels)
{
    return op_run(&(struct op_run){.op = "cross_entropy",
                                   .input = {{"logits", F32(B, C), logits}, {"labels", labels_desc(B), labels}}});
}

static struct op_result backward(float *logits, int64_t *labels, bool in_place)
{
    struct op_result made = forward(logits, labels);
    struct op_result diff = op_run(&(struct op_run){.op = "cross_entropy_grad",
                                                    .input = {{"logits", F32(B, C), logits},
                                                              {"labels", labels_desc(B), labels},
                                                              {"lse", made.desc[1], made.data[1]}},
                                                    .in_place = in_place});
    op_result_free(&made);
    return diff;
}

/* Against differences, with and without rows that do not count, and with logits beyond what exp can take in f32. */
static void check(double scale, const int64_t *given)
{
    int64_t labels[B];
    memcpy(labels, given, sizeof labels);
    float *logits = random_f32("logits", scale, (int64_t)B * C);
    double exact[B * C], want[B * C];
    for (int i = 0; i < B * C; i++) exact[i] = (double)logits[i];
    struct op_result made = forward(logits, labels);
    assert_desc(made.desc[0], dg_desc_scalar(DG_F64));
    double loss = *(double *)made.data[0];
    assert_true(fabs(loss - naive(exact, labels)) <= 1e-12 * scale);
    for (int i = 0; i < B * C; i++) {
        double here = exact[i], h = 1e-4;
        exact[i] = here + h;
        want[i] = naive(exact, labels);
        exact[i] = here - h;
        want[i] = (want[i] - naive(exact, labels)) / (2 * h);
        exact[i] = here;
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        struct op_result diff = backward(logits, labels, in_place);
        assert_near(diff.data[0], want, (int64_t)B * C, 1e-6, "diff_logits");
        for (int i = 0; i < B * C; i++)
            if (labels[i / C] < 0) assert_true(((float *)diff.data[0])[i] == 0);
        op_result_free(&diff);
    }
    op_result_free(&made);
    free(logits);
}

static void test_against_definition(void **state)
{
    (void)state;
    static const int64_t all[B] = {0, 22, 5, 5, 17, 1, 9}, some[B] = {0, -1, 5, 5, -1, 1, -1};
    check(1, all);
    check(3, some);
    check(200, all);
}

static void test_no_row_counts(void **state)
{
    (void)state;
    int64_t labels[B] = {-1, -1, -1, -1, -1, -1, -1};
    float *logits = random_f32("logits", 1, (int64_t)B * C);
    struct op_result made = forward(logits, labels), diff = backward(logits, labels, false);
    assert_true(*(double *)made.data[0] == 0);
    for (int i = 0; i < B * C; i++) assert_true(((float *)diff.data[0])[i] == 0);
    op_result_free(&made);
    op_result_free(&diff);
    free(logits);
}

static void test_refused(void **state)
{
    (void)state;
    op_refused(
        &(struct op_run){.op = "cross_entropy", .input = {{"logits", F32(B, C)}, {"labels", labels_desc(B - 1)}}},
        "labels must be an i64 a row");
    op_refused(&(struct op_run){.op = "cross_entropy", .input = {{"logits", F32(B, C)}, {"labels", F32(B)}}},
               "input labels must be i64, got f32");
    op_refused(&(struct op_run){.op = "cross_entropy", .input = {{"logits", F32(B, C, 2)}, {"labels", labels_desc(B)}}},
               "logits");
}

/* A label that is no class is an error of the run, not a read beyond the row. */
static void test_wrong_label(void **state)
{
    (void)state;
    const struct dg_op *op = dg_op_find("cross_entropy");
    float logits[2 * 3] = {0};
    struct dg_desc desc[2] = {F32(2, 3), labels_desc(2)}, out[DG_MAX_OUTPUTS];
    struct dg_op_call call = {.op = op,
                              .num_inputs = 2,
                              .input = desc,
                              .num_outputs = 2,
                              .output = out,
                              .output_wanted = (bool[]){true, true}};
    struct dg_error err = {0};
    assert_int_equal(op->infer(&call, out, &err), DG_OK);
    struct dg_prepare p = {.call = &call, .threads = 1};
    assert_int_equal(op->prepare(&p, &err), DG_OK);
    static const int64_t wrong[] = {3, -2};
    for (int w = 0; w < 2; w++) {
        int64_t labels[2] = {1, wrong[w]};
        double loss, lse[2];
        struct dg_run r = {
            .state = p.state, .input = (void *[]){logits, labels}, .output = (void *[]){&loss, lse}, .threads = 1};
        err = (struct dg_error){0};
        assert_int_equal(op->run(&r, &err), DG_ERR_INPUT);
        assert_non_null(strstr(err.text, "there are 3 classes"));
    }
    free(p.state);
}

static const struct op_test tests[] = {
    OP_TEST("cross_entropy cross_entropy_grad", OP_VALUE, test_against_definition),
    OP_TEST("cross_entropy cross_entropy_grad", OP_VALUE, test_no_row_counts),
    OP_TEST("cross_entropy", 0, test_refused),
    OP_TEST("cross_entropy", 0, test_wrong_label),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

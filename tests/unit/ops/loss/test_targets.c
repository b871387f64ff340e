/* Targets of the teacher that are no softmax of centred logits, against their definitions in f64. */
#include "tests/support/op_harness.h"
#include "tests/support/peers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 6, K = 1301, VIEWS = 3, ROWS = VIEWS * B };

static double temp = 0.05;

static struct op_result centred(const char *op, float *t, float *center, bool in_place)
{
    struct op_run run = {.op = op,
                         .input = {{"teacher_logits", F32(ROWS, K), t}, {"center", F32(1, K), center}},
                         .in_place = in_place,
                         .batch = B};
    return op_run(&run);
}

static void check_mean(const float *t, const float *mean)
{
    double want[K] = {0};
    for (int i = 0; i < ROWS * K; i++) want[i % K] += (double)t[i] / ROWS;
    assert_near(mean, want, K, F32_SUM(ROWS), "batch_mean");
}

static void test_hard(void **state)
{
    (void)state;
    float *t = random_f32("t", 1, ROWS * K), *center = random_f32("center", 0.5, K);
    t[3] = t[17] = 9; /* of equals the first */
    center[3] = center[17] = 0;
    for (int in_place = 0; in_place < 2; in_place++) {
        struct op_result r = centred("hard_target", t, center, in_place);
        const float *q = r.data[0];
        for (int row = 0; row < ROWS; row++) {
            int most = 0;
            for (int k = 1; k < K; k++)
                if (t[row * K + k] - center[k] > t[row * K + most] - center[most]) most = k;
            for (int k = 0; k < K; k++) assert_true(q[row * K + k] == (k == most ? 1 : 0));
        }
        assert_true(q[3] == 1 && q[17] == 0);
        check_mean(t, r.data[1]);
        assert_true(*(double *)r.data[2] == 0);
        op_result_free(&r);
    }
    t[K + 5] = NAN; /* must reach the finite check */
    struct op_result r = centred("hard_target", t, center, false);
    double sum = 0;
    for (int k = 0; k < K; k++) sum += (double)((float *)r.data[0])[K + k];
    assert_true(isnan(sum));
    op_result_free(&r);
    free(t);
    free(center);
}

static void test_unit(void **state)
{
    (void)state;
    float *t = random_f32("t", 1, ROWS * K), *center = random_f32("center", 0.5, K);
    double *want = malloc(ROWS * K * sizeof *want);
    for (int k = 0; k < K; k++) t[2 * K + k] = center[k]; /* nothing is left: it stays zero */
    for (int row = 0; row < ROWS; row++) {
        double square = 0;
        for (int k = 0; k < K; k++) {
            want[row * K + k] = (double)t[row * K + k] - (double)center[k];
            square += want[row * K + k] * want[row * K + k];
        }
        for (int k = 0; k < K; k++) want[row * K + k] /= fmax(sqrt(square), 1e-12);
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        struct op_result r = centred("unit_target", t, center, in_place);
        assert_near(r.data[0], want, ROWS * K, 4 * F32_ROUNDING, "z");
        check_mean(t, r.data[1]);
        assert_true(*(double *)r.data[2] == 0);
        op_result_free(&r);
    }
    free(want);
    free(t);
    free(center);
}

/* As the paper writes it: columns, then rows, divided by their sums. */
static void naive_sinkhorn(const float *t, int iterations, double *q)
{
    for (int i = 0; i < ROWS * K; i++) q[i] = exp((double)t[i] / temp);
    for (int view = 0; view < VIEWS; view++) {
        double *x = q + view * B * K;
        for (int i = 0; i < iterations; i++) {
            for (int k = 0; k < K; k++) {
                double sum = 0;
                for (int n = 0; n < B; n++) sum += x[n * K + k];
                for (int n = 0; n < B; n++) x[n * K + k] /= sum;
            }
            for (int n = 0; n < B; n++) {
                double sum = 0;
                for (int k = 0; k < K; k++) sum += x[n * K + k];
                for (int k = 0; k < K; k++) x[n * K + k] /= sum;
            }
        }
    }
}

/* What is under the exponential is within 2 / temp + ln (B K) of zero, in a few roundings, twice an iteration. */
static double sinkhorn_tolerance(int iterations)
{
    return 4 * (1 + iterations) * F32_ROUNDING * (2 / temp + log(B * K));
}

static void test_sinkhorn(void **state)
{
    (void)state;
    float *t = random_f32("t", 1, ROWS * K);
    double *want = malloc(ROWS * K * sizeof *want);
    for (int iterations = 1; iterations <= 3; iterations += 2)
        for (int in_place = 0; in_place < 2; in_place++) {
            struct op_run run = {.op = "sinkhorn_target",
                                 .attrs = {ATTR("iterations", iterations), ATTR("views", VIEWS)},
                                 .input = {{"teacher_logits", F32(ROWS, K), t}, {"teacher_temp", F64_SCALAR, &temp}},
                                 .in_place = in_place};
            struct op_result r = op_run(&run);
            naive_sinkhorn(t, iterations, want);
            double entropy = 0;
            for (int i = 0; i < ROWS * K; i++) entropy -= want[i] > 0 ? want[i] * log(want[i]) / ROWS : 0;
            double tolerance = sinkhorn_tolerance(iterations);
            assert_near(r.data[0], want, ROWS * K, tolerance, "q");
            assert_true(fabs(*(double *)r.data[1] - entropy) < tolerance * entropy);
            op_result_free(&r);
        }
    free(want);
    free(t);
}

/* Of each view the images of one of `ranks` processes. */
static void take_rows(const void *from, int ranks, int rank, size_t row, void *to)
{
    size_t part = (size_t)(B / ranks) * row;
    for (int view = 0; view < VIEWS; view++)
        memcpy((char *)to + (size_t)view * part, (const char *)from + (size_t)(view * ranks + rank) * part, part);
}

/* Processes that share the images have the targets of one that has them all. */
static void check_sinkhorn_of_peers(const float *t, int ranks, int iterations)
{
    enum { MOST = 3 };
    struct op_run run[MOST];
    struct op_result result[MOST];
    float *mine[MOST];
    double *want = malloc(ROWS * K * sizeof *want), *part = malloc(ROWS * K * sizeof *part), got = 0, entropy = 0;
    naive_sinkhorn(t, iterations, want);
    for (int i = 0; i < ROWS * K; i++) entropy -= want[i] > 0 ? want[i] * log(want[i]) / ROWS : 0;
    for (int rank = 0; rank < ranks; rank++) {
        mine[rank] = malloc(ROWS * K * sizeof *mine[rank]);
        take_rows(t, ranks, rank, K * sizeof(float), mine[rank]);
        run[rank] = (struct op_run){
            .op = "sinkhorn_target",
            .attrs = {ATTR("iterations", iterations), ATTR("views", VIEWS)},
            .input = {{"teacher_logits", F32(ROWS / ranks, K), mine[rank]}, {"teacher_temp", F64_SCALAR, &temp}}};
    }
    op_run_peers(run, ranks, result);
    for (int rank = 0; rank < ranks; rank++) {
        take_rows(want, ranks, rank, K * sizeof(double), part);
        /* Sums of the processes are added with one more logarithm and exponential in each iteration. */
        assert_near(result[rank].data[0], part, ROWS / ranks * K, 1.5 * sinkhorn_tolerance(iterations), "q");
        got += *(double *)result[rank].data[1] / ranks;
        op_result_free(&result[rank]);
        free(mine[rank]);
    }
    assert_true(fabs(got - entropy) < 1.5 * sinkhorn_tolerance(iterations) * entropy);
    free(want);
    free(part);
}

static void test_sinkhorn_of_peers(void **state)
{
    (void)state;
    float *t = random_f32("t", 1, ROWS * K);
    for (int ranks = 2; ranks <= 3; ranks++)
        for (int iterations = 1; iterations <= 3; iterations += 2) check_sinkhorn_of_peers(t, ranks, iterations);
    free(t);
}

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "hard_target", .input = {{"teacher_logits", F32(6, 8)}, {"center", F32(1, 9)}}},
               "center");
    op_refused(
        &(struct op_run){.op = "unit_target", .input = {{"teacher_logits", F32(6, 8, 2)}, {"center", F32(1, 8)}}},
        "2 dimensions");
    op_refused(&(struct op_run){.op = "sinkhorn_target",
                                .attrs = {ATTR("iterations", 3), ATTR("views", 2)},
                                .input = {{"teacher_logits", F32(6, 8)}, {"teacher_temp", F64(2)}}},
               "scalar");
    op_refused(&(struct op_run){.op = "sinkhorn_target",
                                .attrs = {ATTR("iterations", 3), ATTR("views", 4)},
                                .input = {{"teacher_logits", F32(6, 8)}, {"teacher_temp", F64_SCALAR}}},
               "no whole views");
}

static const struct op_test tests[] = {
    OP_TEST("hard_target", OP_VALUE, test_hard),
    OP_TEST("unit_target", OP_VALUE, test_unit),
    OP_TEST("sinkhorn_target", OP_VALUE, test_sinkhorn),
    OP_TEST("sinkhorn_target", OP_VALUE, test_sinkhorn_of_peers),
    OP_TEST("hard_target unit_target sinkhorn_target", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

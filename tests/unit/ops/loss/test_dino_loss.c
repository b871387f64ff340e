/* The DINO loss against the definition, pair by pair in f64: value, gradient, target, centre. */
#include "tests/support/gradient_rule.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 3, K = 1531, GLOBALS = 2, LOCALS = 3, VIEWS = GLOBALS + LOCALS };

static const double teacher_temp = 0.04, student_temp = 0.1;

/* Logits are within 1 and the centre within 0.1, so that what is under the exponential reaches 2.2 / teacher_temp. It is the
 * quotient of a difference, two roundings, and its error is the relative error of the exponential. */
#define SOFTMAX_ROUNDING (2 * F32_ROUNDING * 2.2 / teacher_temp)

static struct dg_desc f64_scalar(void) { return dg_desc_scalar(DG_F64); }

static void softmax(const double *x, double temp, double *p, double *log_p)
{
    double most = x[0], sum = 0;
    for (int k = 0; k < K; k++) most = fmax(most, x[k]);
    for (int k = 0; k < K; k++) sum += exp((x[k] - most) / temp);
    for (int k = 0; k < K; k++) {
        if (p) p[k] = exp((x[k] - most) / temp) / sum;
        if (log_p) log_p[k] = (x[k] - most) / temp - log(sum);
    }
}

/* q [2B, K] of teacher logits t and centre c. */
static void naive_target(const float *t, const float *c, double *q)
{
    double x[K];
    for (int r = 0; r < 2 * B; r++) {
        for (int k = 0; k < K; k++) x[k] = (double)t[r * K + k] - (double)c[k];
        softmax(x, teacher_temp, q + r * K, NULL);
    }
}

/* The loss of all pairs of a teacher and another view; s [views * B, K]. */
static double naive_loss(const double *s, const double *q, int views)
{
    double total = 0, log_p[K];
    int terms = 0;
    for (int i = 0; i < 2; i++)
        for (int v = 0; v < views; v++) {
            if (v == i) continue;
            double term = 0;
            for (int b = 0; b < B; b++) {
                softmax(s + (v * B + b) * K, student_temp, NULL, log_p);
                for (int k = 0; k < K; k++) term -= q[(i * B + b) * K + k] * log_p[k];
            }
            total += term / B;
            terms++;
        }
    return total / terms;
}

struct world {
    float *t, *center, *s;
    double *s64, *q64;
    struct op_result target; /* stats, q, batch_mean, entropy */
};

static struct op_run target_op(struct world *w, double *temp)
{
    return (struct op_run){.op = "dino_target",
                           .input = {{"teacher_logits", F32(2 * B, K), w->t},
                                     {"center", F32(1, K), w->center},
                                     {"teacher_temp", f64_scalar(), temp}},
                           .batch = B};
}

static struct world make(void)
{
    struct world w = {.t = random_f32("t", 1, 2 * B * K),
                      .center = random_f32("center", 0.1, K),
                      .s = random_f32("s", 1, VIEWS * B * K),
                      .s64 = malloc(VIEWS * B * K * sizeof(double)),
                      .q64 = malloc(2 * B * K * sizeof(double))};
    double temp = teacher_temp;
    for (int i = 0; i < VIEWS * B * K; i++) w.s64[i] = (double)w.s[i];
    naive_target(w.t, w.center, w.q64);
    struct op_run op = target_op(&w, &temp);
    w.target = op_run(&op);
    return w;
}

static void drop(struct world *w)
{
    free(w->t);
    free(w->center);
    free(w->s);
    free(w->s64);
    free(w->q64);
    op_result_free(&w->target);
}

/* The loss of views [view0, view0 + count) of `views`, on top of `so_far` (NULL: none); lse into `lse` if asked for. */
static double loss_of(const struct world *w, int view0, int count, int views, const double *so_far, float **lse)
{
    double temp = student_temp;
    struct op_result r =
        op_run(&(struct op_run){.op = "dino_loss",
                                .attrs = {ATTR("views", views)},
                                .input = {{"student_logits", F32(count * B, K), w->s + view0 * B * K},
                                          {"q", w->target.desc[1], w->target.data[1]},
                                          {"student_temp", f64_scalar(), &temp},
                                          {"loss_so_far", so_far ? f64_scalar() : DG_ABSENT_DESC, (void *)so_far}},
                                .unwanted = lse ? 0 : 2,
                                .view0 = view0,
                                .batch = B});
    double loss = *(double *)r.data[0];
    if (lse) {
        *lse = r.data[1];
        r.data[1] = NULL;
    }
    op_result_free(&r);
    return loss;
}

static void test_target(void **state)
{
    (void)state;
    struct world w = make();
    assert_near(w.target.data[1], w.q64, 2 * B * K, SOFTMAX_ROUNDING, "q");
    double mean[K], entropy = 0;
    for (int k = 0; k < K; k++) {
        mean[k] = 0;
        for (int r = 0; r < 2 * B; r++)
            mean[k] += (double)w.t[r * K + k] / (2 * B); /* raw: neither centre nor softmax */
    }
    assert_near(w.target.data[2], mean, K, 1e-6, "batch_mean");
    for (int i = 0; i < 2 * B * K; i++)
        if (w.q64[i] > 0) entropy -= w.q64[i] * log(w.q64[i]) / (2 * B);
    assert_true(fabs(*(double *)w.target.data[3] - entropy) < 2e-6 * entropy);

    double temp = teacher_temp;
    struct op_run op = target_op(&w, &temp);
    op.in_place = true;
    struct op_result r = op_run(&op);
    for (int o = 0; o < 4; o++) assert_memory_equal(r.data[o], w.target.data[o], (size_t)dg_desc_bytes(&r.desc[o]));
    op_result_free(&r);
    drop(&w);
}

static void test_loss_in_any_grouping(void **state)
{
    (void)state;
    struct world w = make();
    double want = naive_loss(w.s64, w.q64, VIEWS);
    double all = loss_of(&w, 0, VIEWS, VIEWS, NULL, NULL);
    assert_true(fabs(all - want) < 2e-6 * want);
    double first = loss_of(&w, 0, GLOBALS, VIEWS, NULL, NULL);
    assert_true(fabs(loss_of(&w, GLOBALS, LOCALS, VIEWS, &first, NULL) - all) < 1e-12 * all);
    first = loss_of(&w, GLOBALS, LOCALS, VIEWS, NULL, NULL); /* locals first */
    assert_true(fabs(loss_of(&w, 0, GLOBALS, VIEWS, &first, NULL) - all) < 1e-12 * all);
    double sum = 0;
    for (int v = 0; v < VIEWS; v++) sum = loss_of(&w, v, 1, VIEWS, v ? &sum : NULL, NULL);
    assert_true(fabs(sum - all) < 1e-12 * all);

    want = naive_loss(w.s64, w.q64, GLOBALS); /* no local crops: two pairs */
    assert_true(fabs(loss_of(&w, 0, GLOBALS, GLOBALS, NULL, NULL) - want) < 2e-6 * want);
    drop(&w);
}

static float *gradient_of(const struct world *w, int view0, int count, bool in_place)
{
    double temp = student_temp;
    float *lse;
    loss_of(w, view0, count, VIEWS, NULL, &lse);
    struct op_result r = op_run(&(struct op_run){.op = "dino_loss_grad",
                                                 .attrs = {ATTR("views", VIEWS)},
                                                 .input = {{"student_logits", F32(count * B, K), w->s + view0 * B * K},
                                                           {"q", w->target.desc[1], w->target.data[1]},
                                                           {"student_temp", f64_scalar(), &temp},
                                                           {"lse", F32(count * B), lse}},
                                                 .in_place = in_place,
                                                 .view0 = view0,
                                                 .batch = B});
    free(lse);
    return r.data[0];
}

static void test_gradient(void **state)
{
    (void)state;
    struct world w = make();
    double *want = calloc(VIEWS * B * K, sizeof *want), p[K];
    for (int v = 0; v < VIEWS; v++)
        for (int b = 0; b < B; b++) {
            softmax(w.s64 + (v * B + b) * K, student_temp, p, NULL);
            for (int i = 0; i < 2; i++)
                for (int k = 0; k < K; k++)
                    if (i != v)
                        want[(v * B + b) * K + k] +=
                            (p[k] - w.q64[(i * B + b) * K + k]) / (student_temp * B * (2 * VIEWS - 2));
        }
    float *whole = gradient_of(&w, 0, VIEWS, false);
    assert_near(whole, want, VIEWS * B * K, SOFTMAX_ROUNDING, "diff_s");
    /* The formula above, too, against differences of the definition: at the entries that matter most, and at some
     * others. */
    for (int v = 0; v < VIEWS; v++)
        for (int n = 0; n < 4; n++) {
            int at = v * B * K + n * 1151;
            if (n == 0)
                for (int j = v * B * K; j < (v + 1) * B * K; j++)
                    if (fabs(want[j]) > fabs(want[at])) at = j;
            double here = w.s64[at], h = 1e-4, difference = 0;
            for (int side = -1; side <= 1; side += 2) {
                w.s64[at] = here + side * h;
                difference += side * naive_loss(w.s64, w.q64, VIEWS) / (2 * h);
            }
            w.s64[at] = here;
            assert_true(fabs(difference - want[at]) < 1e-6 * fabs(want[at]) + 1e-9);
        }
    for (int in_place = 0; in_place < 2; in_place++)
        for (int g = 0; g < 2; g++) { /* a resolution group at a time */
            int view0 = g ? GLOBALS : 0, count = g ? LOCALS : GLOBALS;
            float *part = gradient_of(&w, view0, count, in_place);
            assert_memory_equal(part, whole + view0 * B * K, (size_t)(count * B * K) * sizeof *part);
            free(part);
        }
    free(whole);
    free(want);
    drop(&w);
}

/* Collapse to one value everywhere: the loss is ln K, and so is the teacher's entropy. */
static void test_collapse(void **state)
{
    (void)state;
    struct world w = make();
    double temp = teacher_temp;
    for (int i = 0; i < 2 * B * K; i++) w.t[i] = w.center[i % K] + 0.25f;
    for (int i = 0; i < VIEWS * B * K; i++) w.s[i] = -3;
    op_result_free(&w.target);
    struct op_run op = target_op(&w, &temp);
    w.target = op_run(&op);
    assert_true(fabs(loss_of(&w, 0, VIEWS, VIEWS, NULL, NULL) - log(K)) < 1e-5);
    assert_true(fabs(*(double *)w.target.data[3] - log(K)) < 1e-5);
    drop(&w);
}

/* One logit far above the others: all sums stay finite, the teacher is sure, and agreement costs nothing. */
static void test_sharp_and_large_logits(void **state)
{
    (void)state;
    struct world w = make();
    double temp = teacher_temp;
    for (int i = 0; i < 2 * B * K; i++) w.t[i] = i % K == 5 ? 1000 : -1000;
    for (int i = 0; i < VIEWS * B * K; i++) w.s[i] = i % K == 5 ? 1000 : -1000;
    op_result_free(&w.target);
    struct op_run op = target_op(&w, &temp);
    w.target = op_run(&op);
    assert_true(fabs(*(double *)w.target.data[3]) < 1e-6);
    assert_true(fabs(loss_of(&w, 0, VIEWS, VIEWS, NULL, NULL)) < 1e-6);
    float *diff_s = gradient_of(&w, 0, VIEWS, false);
    for (int i = 0; i < VIEWS * B * K; i++) assert_true(fabsf(diff_s[i]) < 1e-6f);
    free(diff_s);
    for (int i = 0; i < VIEWS * B * K; i++) w.s[i] = i % K == 6 ? 1000 : -1000; /* sure of something else */
    assert_true(fabs(loss_of(&w, 0, VIEWS, VIEWS, NULL, NULL) - 2000 / student_temp) < 0.1);
    w.s[7] = NAN; /* must reach the finite check */
    assert_true(isnan(loss_of(&w, 0, VIEWS, VIEWS, NULL, NULL)));
    drop(&w);
}

/* --- the gradient rule --- */

static void test_gradient_rule(void **state)
{
    (void)state;
    union dg_attr attr[] = {{.i = VIEWS}};
    struct dg_op_call call = {.op = dg_op_find("dino_loss"), .attr = attr, .num_inputs = 4, .train = true};
    for (int chained = 0; chained < 2; chained++) {
        bool wants[] = {true, false, false, chained};
        struct gradient_rule rule = run_gradient_rule(&call, wants);
        assert_ptr_equal(rule.op, dg_op_find("dino_loss_grad"));
        assert_int_equal(rule.attr[0].i, VIEWS);
        assert_int_equal(rule.num_inputs, 4);
        for (int i = 0; i < 3; i++) assert_int_equal(rule.input[i], RULE_INPUT + i);
        assert_int_equal(rule.input[3], RULE_OUTPUT + 1); /* the log-sum-exp */
        assert_int_equal(rule.gradient[0], RULE_ADDED);
        assert_int_equal(rule.gradient[3], chained ? RULE_DIFF_OUTPUT : 0); /* the loss so far weighs one */
    }
}

static void test_center_update(void **state)
{
    (void)state;
    float *center = random_f32("center", 1, K), *mean = random_f32("mean", 1, K);
    double want[K], momentum = 0.9;
    for (int k = 0; k < K; k++) want[k] = (double)center[k] * 0.9 + (double)mean[k] * (1 - 0.9);
    struct op_result r = op_run(&(struct op_run){.op = "center_update",
                                                 .input = {{"center", F32(1, K), center},
                                                           {"batch_mean", F32(1, K), mean},
                                                           {"momentum", f64_scalar(), &momentum}}});
    assert_near(center, want, K, 2e-7, "center");
    op_result_free(&r);
    free(center);
    free(mean);
}

static void test_refusals(void **state)
{
    (void)state;
    op_refused(
        &(struct op_run){
            .op = "dino_target",
            .input = {{"teacher_logits", F32(6, 8)}, {"center", F32(1, 9)}, {"teacher_temp", f64_scalar()}}},
        "center or temperature");
    struct op_run loss = {.op = "dino_loss",
                          .attrs = {ATTR("views", 5)},
                          .input = {{"student_logits", F32(9, 8)}, {"q", F32(6, 8)}, {"student_temp", f64_scalar()}}};
    op_input(&loss, "q")->desc = F32(6, 9);
    op_refused(&loss, "do not fit");
    op_input(&loss, "q")->desc = F32(5, 8);
    op_refused(&loss, "do not fit");
    op_input(&loss, "q")->desc = F32(4, 8);
    op_refused(&loss, "do not fit"); /* nine rows are no whole views of a batch of two */
}

static const struct op_test tests[] = {
    OP_TEST("dino_target", OP_VALUE, test_target),
    OP_TEST("dino_loss", OP_VALUE, test_loss_in_any_grouping),
    OP_TEST("dino_loss dino_loss_grad", OP_VALUE, test_gradient),
    OP_TEST("dino_target dino_loss", OP_VALUE, test_collapse),
    OP_TEST("dino_target dino_loss dino_loss_grad", OP_VALUE, test_sharp_and_large_logits),
    OP_TEST("dino_loss", OP_GRADIENT, test_gradient_rule),
    OP_TEST("center_update", OP_VALUE, test_center_update),
    OP_TEST("dino_target dino_loss", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

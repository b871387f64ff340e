/* Losses between views, pair by pair in f64: value, gradient against finite differences, any grouping of the views. */
#include "tests/support/gradient_rule.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 4, K = 701, LOCALS = 3 };
enum kind { CROSS_ENTROPY, MSE, INFONCE };

static double temp = 0.2;

struct world {
    enum kind kind;
    int globals, views;
    float *s, *target;
    double *s64;
};

/* Targets are probabilities for the cross-entropy, directions for the others. */
static struct world make(enum kind kind, int globals)
{
    struct world w = {.kind = kind, .globals = globals, .views = globals + LOCALS};
    w.s = random_f32("s", 1, w.views * B * K);
    w.target = random_f32("target", 1, globals * B * K);
    w.s64 = malloc((size_t)(w.views * B * K) * sizeof *w.s64);
    for (int i = 0; i < w.views * B * K; i++) w.s64[i] = (double)w.s[i];
    for (int row = 0; row < globals * B; row++) {
        double sum = 0;
        float *z = w.target + row * K;
        for (int k = 0; k < K; k++) {
            if (kind == CROSS_ENTROPY) z[k] *= z[k];
            sum += kind == CROSS_ENTROPY ? (double)z[k] : (double)z[k] * (double)z[k];
        }
        for (int k = 0; k < K; k++) z[k] = (float)((double)z[k] / (kind == CROSS_ENTROPY ? sum : sqrt(sum)));
    }
    return w;
}

static void drop(struct world *w)
{
    free(w->s);
    free(w->target);
    free(w->s64);
}

static double length_of(const double *s)
{
    double square = 0;
    for (int k = 0; k < K; k++) square += s[k] * s[k];
    return sqrt(square);
}

static double cosine(const double *s, const float *z)
{
    double sum = 0;
    for (int k = 0; k < K; k++) sum += s[k] * (double)z[k];
    return sum / length_of(s);
}

static double naive_pair(const struct world *w, const double *s, int view, int image)
{
    const float *z = w->target + (view * B + image) * K;
    double sum = 0, cost = 0;
    if (w->kind == MSE) {
        for (int k = 0; k < K; k++) cost += pow(s[k] / length_of(s) - (double)z[k], 2);
    } else if (w->kind == INFONCE) {
        for (int m = 0; m < B; m++) sum += exp(cosine(s, w->target + (view * B + m) * K) / temp);
        cost = log(sum) - cosine(s, z) / temp;
    } else {
        for (int k = 0; k < K; k++) sum += exp(s[k] / temp);
        for (int k = 0; k < K; k++) cost -= (double)z[k] * (s[k] / temp - log(sum));
    }
    return cost;
}

/* What the student's row adds to the loss. */
static double naive_row(const struct world *w, int row)
{
    double sum = 0;
    for (int view = 0; view < w->globals; view++)
        if (view != row / B) sum += naive_pair(w, w->s64 + row * K, view, row % B);
    return sum / (B * w->globals * (w->views - 1));
}

static double naive_loss(const struct world *w)
{
    double sum = 0;
    for (int row = 0; row < w->views * B; row++) sum += naive_row(w, row);
    return sum;
}

static struct op_run run_of(const struct world *w, const char *op, int view0, int count)
{
    return (struct op_run){
        .op = op,
        .attrs = {ATTR("kind", w->kind), ATTR("views", w->views), ATTR("globals", w->globals)},
        .input = {{"student_logits", F32(count * B, K), w->s + view0 * B * K},
                  {"target", F32(w->globals * B, K), w->target},
                  {"student_temp", w->kind == MSE ? DG_ABSENT_DESC : F64_SCALAR, w->kind == MSE ? NULL : &temp}},
        .view0 = view0,
        .batch = B};
}

static double loss_of(const struct world *w, int view0, int count, double *so_far)
{
    struct op_run run = run_of(w, "view_loss", view0, count);
    if (so_far) *op_input(&run, "loss_so_far") = (struct op_tensor){"loss_so_far", F64_SCALAR, so_far};
    struct op_result r = op_run(&run);
    double loss = *(double *)r.data[0];
    op_result_free(&r);
    return loss;
}

static void test_loss_in_any_grouping(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int globals = 1; globals <= 3; globals++) {
            struct world w = make((enum kind)kind, globals);
            double want = naive_loss(&w), all = loss_of(&w, 0, w.views, NULL);
            /* Sums of K products, a tenth of which may cancel; divided by the temperature. */
            assert_true(fabs(all - want) < 4 * F32_SUM(K) / temp * fabs(want));
            double first = loss_of(&w, 0, globals, NULL);
            assert_true(fabs(loss_of(&w, globals, LOCALS, &first) - all) < 1e-12 * fabs(all));
            drop(&w);
        }
}

static void test_gradient(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int globals = 1; globals <= 3; globals++) {
            struct world w = make((enum kind)kind, globals);
            int rows = w.views * B, checked[] = {0, 1, 350, K - 1};
            struct op_run run = run_of(&w, "view_loss_grad", 0, w.views);
            struct op_result r = op_run(&run);
            const float *diff = r.data[0];
            double largest = 0;
            for (int i = 0; i < rows * K; i++) largest = fmax(largest, fabs((double)diff[i]));
            for (int row = 0; row < rows; row++)
                for (int c = 0; c < 4; c++) {
                    double *at = &w.s64[row * K + checked[c]], here = *at, h = 1e-4;
                    *at = here + h;
                    double above = naive_row(&w, row);
                    *at = here - h;
                    double below = naive_row(&w, row), want = (above - below) / (2 * h);
                    *at = here;
                    assert_true(fabs((double)diff[row * K + checked[c]] - want) < 1e-4 * largest);
                }
            run.in_place = true;
            struct op_result again = op_run(&run);
            assert_memory_equal(again.data[0], diff, (size_t)(rows * K) * sizeof *diff);
            op_result_free(&again);
            op_result_free(&r);
            drop(&w);
        }
}

/* The student's rows of one of `slices` of the images, of each view one behind the other. */
static float *rows_of_slice(const struct world *w, const float *rows, int slices, int slice)
{
    int part = B / slices * K;
    float *mine = malloc((size_t)(w->views * part) * sizeof *mine);
    for (int view = 0; view < w->views; view++)
        memcpy(mine + view * part, rows + (view * slices + slice) * part, (size_t)part * sizeof *mine);
    return mine;
}

/* InfoNCE of slices, each beside the targets of all: their losses add up to that of the batch, and gradients are the batch's, to the
 * bit. */
static void test_slices_beside_all(void **state)
{
    (void)state;
    struct world w = make(INFONCE, 2);
    struct op_run whole = run_of(&w, "view_loss_grad", 0, w.views);
    struct op_result all = op_run(&whole);
    for (int slices = 2; slices <= B; slices += 2) {
        double sum = 0, want = loss_of(&w, 0, w.views, NULL);
        for (int slice = 0; slice < slices; slice++) {
            float *s = rows_of_slice(&w, w.s, slices, slice), *diff = rows_of_slice(&w, all.data[0], slices, slice);
            for (int gradient = 0; gradient < 2; gradient++) {
                struct op_run run = run_of(&w, gradient ? "view_loss_grad" : "view_loss", 0, w.views);
                *op_input(&run, "student_logits") =
                    (struct op_tensor){"student_logits", F32(w.views * B / slices, K), s};
                run.slices = slices;
                run.step.slice = slice;
                struct op_result r = op_run(&run);
                if (gradient)
                    assert_memory_equal(r.data[0], diff, (size_t)(w.views * B / slices * K) * sizeof *diff);
                else
                    sum += *(double *)r.data[0];
                op_result_free(&r);
            }
            free(s);
            free(diff);
        }
        assert_true(fabs(sum - want) < 1e-12 * fabs(want)); /* in another order */
    }
    op_result_free(&all);
    drop(&w);
}

/* Equal outputs for all images: nothing to pay for directions, ln B for the choice among B equal images. */
static void test_collapse(void **state)
{
    (void)state;
    for (int kind = MSE; kind <= INFONCE; kind++) {
        struct world w = make((enum kind)kind, 2);
        for (int i = 0; i < 2 * B * K; i++) w.target[i] = (float)(1 / sqrt(K));
        for (int i = 0; i < w.views * B * K; i++) w.s[i] = 3;
        double want = kind == MSE ? 0 : log(B);
        assert_true(fabs(loss_of(&w, 0, w.views, NULL) - want) < 4 * F32_SUM(K) / temp);
        w.s[7] = NAN; /* must reach the finite check */
        assert_true(isnan(loss_of(&w, 0, w.views, NULL)));
        drop(&w);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct op_run run = {.op = "view_loss",
                         .attrs = {ATTR("kind", CROSS_ENTROPY), ATTR("views", 4), ATTR("globals", 3)},
                         .input = {{"student_logits", F32(8, 5)}, {"target", F32(6, 5)}, {"student_temp", F64_SCALAR}}};
    op_input(&run, "target")->desc = F32(7, 5);
    op_refused(&run, "do not fit"); /* seven rows are no three views */
    struct op_run slices = {
        .op = "view_loss",
        .attrs = {ATTR("kind", INFONCE), ATTR("views", 4), ATTR("globals", 3)},
        .input = {{"student_logits", F32(8, 5)}, {"target", F32(6, 5)}, {"student_temp", F64_SCALAR}},
        .slices = 4};
    op_refused(&slices, "do not fit"); /* six rows are no four slices of three views */
    op_input(&run, "target")->desc = F32(6, 4);
    op_refused(&run, "do not fit");
    op_input(&run, "target")->desc = F32(6, 5);
    op_input(&run, "student_temp")->desc = DG_ABSENT_DESC;
    op_refused(&run, "do not fit"); /* only mse has no temperature */
}

/* --- the gradient rule --- */

static void test_gradient_rule(void **state)
{
    (void)state;
    union dg_attr attr[] = {{.i = MSE}, {.i = 5}, {.i = 2}};
    struct dg_op_call call = {.op = dg_op_find("view_loss"), .attr = attr, .num_inputs = 4, .train = true};
    for (int chained = 0; chained < 2; chained++) {
        bool wants[] = {true, false, false, chained};
        struct gradient_rule rule = run_gradient_rule(&call, wants);
        assert_ptr_equal(rule.op, dg_op_find("view_loss_grad"));
        assert_ptr_equal(rule.attr, attr);
        assert_int_equal(rule.num_inputs, 3);
        for (int i = 0; i < 3; i++) assert_int_equal(rule.input[i], RULE_INPUT + i);
        assert_int_equal(rule.gradient[0], RULE_ADDED);
        assert_int_equal(rule.gradient[3], chained ? RULE_DIFF_OUTPUT : 0); /* the loss so far weighs one */
    }
}

static const struct op_test tests[] = {
    OP_TEST("view_loss", OP_VALUE, test_loss_in_any_grouping),
    OP_TEST("view_loss_grad", OP_VALUE, test_gradient),
    OP_TEST("view_loss view_loss_grad", OP_VALUE, test_slices_beside_all),
    OP_TEST("view_loss", OP_VALUE, test_collapse),
    OP_TEST("view_loss", OP_GRADIENT, test_gradient_rule),
    OP_TEST("view_loss", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

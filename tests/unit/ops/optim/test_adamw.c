/* AdamW, clipping, freezing and the teacher's average, as in train_one_epoch of the official code, against the same written
 * plainly in f64. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double norm(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

enum { COUNT = 1003 };

struct trial {
    struct op_run op;
    float *param, *grad, *exp_avg, *exp_avg_sq, *teacher;
    int64_t step;
    double norms[3], lr, weight_decay, clip, beta1, beta2, eps, momentum, frozen;
    bool has_teacher;
    /* The same in f64. */
    double p[COUNT], m[COUNT], v[COUNT], t[COUNT];
    int count;
};

static struct trial *open_trial(bool decay, bool teacher)
{
    struct trial *x = calloc(1, sizeof *x);
    x->param = random_f32("param", 1, COUNT);
    x->teacher = random_f32("teacher", 1, COUNT);
    x->exp_avg = calloc(COUNT, sizeof(float));
    x->exp_avg_sq = calloc(COUNT, sizeof(float));
    for (int i = 0; i < COUNT; i++) {
        x->p[i] = (double)x->param[i];
        x->t[i] = (double)x->teacher[i];
    }
    x->has_teacher = teacher;
    x->beta1 = 0.9;
    x->beta2 = 0.999;
    x->eps = 1e-8;
    const struct dg_desc desc = F32(17, 59), scalar = F64_SCALAR, none = DG_ABSENT_DESC;
    x->op = (struct op_run){.op = "adamw",
                            .attrs = {ATTR("norm_index", 1), ATTR("decay", decay)},
                            .input = {{"param", desc, x->param},
                                      {"grad", desc},
                                      {"norms", F64(3), x->norms},
                                      {"exp_avg", desc, x->exp_avg},
                                      {"exp_avg_sq", desc, x->exp_avg_sq},
                                      {"step", I64_SCALAR, &x->step},
                                      {"teacher", teacher ? desc : none, x->teacher},
                                      {"lr", scalar, &x->lr},
                                      {"weight_decay", scalar, &x->weight_decay},
                                      {"clip", scalar, &x->clip},
                                      {"beta1", scalar, &x->beta1},
                                      {"beta2", scalar, &x->beta2},
                                      {"eps", scalar, &x->eps},
                                      {"momentum", teacher ? scalar : none, &x->momentum},
                                      {"frozen", scalar, &x->frozen}}};
    return x;
}

static void close_trial(struct trial *x)
{
    free(x->param);
    free(x->teacher);
    free(x->exp_avg);
    free(x->exp_avg_sq);
    free(x);
}

/* One step of both sides; then both must be near. `scale`: size of the gradient. */
static void step_trial(struct trial *x, const char *grad_name, double scale, double lr, double weight_decay,
                       double clip, double momentum, bool frozen)
{
    x->grad = random_f32(grad_name, scale, COUNT);
    op_input(&x->op, "grad")->data = x->grad;
    x->norms[0] = x->norms[2] = 1e9; /* of other parameters: must not matter */
    x->norms[1] = norm(x->grad, COUNT);
    x->lr = lr;
    x->weight_decay = weight_decay;
    x->clip = clip;
    x->momentum = momentum;
    x->frozen = frozen;
    struct op_result r = op_run(&x->op);
    op_result_free(&r);

    double factor = clip > 0 ? fmin(1, clip / (x->norms[1] + 1e-6)) : 1;
    if (!frozen) x->count++;
    for (int i = 0; i < COUNT; i++) {
        double g = (double)x->grad[i] * factor;
        if (!frozen) {
            x->p[i] *= 1 - lr * (x->op.attrs[1].value != 0 ? weight_decay : 0);
            x->m[i] = 0.9 * x->m[i] + 0.1 * g;
            x->v[i] = 0.999 * x->v[i] + 0.001 * g * g;
            double denominator = sqrt(x->v[i] / (1 - pow(0.999, x->count))) + 1e-8;
            x->p[i] -= lr * x->m[i] / (1 - pow(0.9, x->count)) / denominator;
        }
        if (x->has_teacher) x->t[i] = momentum * x->t[i] + (1 - momentum) * x->p[i];
    }
    free(x->grad);
    assert_int_equal(x->step, x->count);
    assert_near(x->param, x->p, COUNT, 5e-7, "param");
    assert_near(x->exp_avg, x->m, COUNT, 1e-6, "exp_avg");
    assert_near(x->exp_avg_sq, x->v, COUNT, 1e-6, "exp_avg_sq");
    assert_near(x->teacher, x->t, COUNT, 5e-7, "teacher");
}

static void test_three_steps_across_a_freeze(void **state)
{
    (void)state;
    for (int decay = 0; decay < 2; decay++)
        for (int teacher = 0; teacher < 2; teacher++) {
            struct trial *x = open_trial(decay, teacher);
            step_trial(x, "g0", 1, 0.1, 0.4, 0.3, 0.9, true); /* frozen: only the teacher moves */
            step_trial(x, "g1", 1, 0.1, 0.4, 0.3, 0.95, false);
            step_trial(x, "g2", 1e-3, 0.05, 0.3, 3, 0.97, false); /* short of the clip */
            step_trial(x, "g3", 1, 0.05, 0.3, 0.3, 0.98, true);
            step_trial(x, "g4", 1, 0.02, 0.2, 0, 0.99, false); /* clip 0: none */
            assert_int_equal(x->step, 3);
            close_trial(x);
        }
}

/* The very first step of a warm-up: lr 0 moves no parameter, but the moments and the count begin, as torch.optim.AdamW's
 * do. */
static void test_zero_lr_still_counts(void **state)
{
    (void)state;
    struct trial *x = open_trial(true, true);
    float *before = random_f32("param", 1, COUNT);
    step_trial(x, "g0", 1, 0, 0.04, 0, 0.996, false);
    assert_memory_equal(x->param, before, COUNT * sizeof *before);
    assert_int_equal(x->step, 1);
    free(before);
    close_trial(x);
}

/* The published clip divides by norm + 1e-6: with gradients as small as that it shows. */
static void test_clip_of_tiny_gradients(void **state)
{
    (void)state;
    struct trial *x = open_trial(true, true);
    step_trial(x, "g0", 1e-8, 0.1, 0.4, 1e-7, 0.9, false);
    close_trial(x);
}

/* Without a `frozen` input nothing freezes; a zero gradient is no division by zero. */
static void test_absent_freeze_and_zero_gradient(void **state)
{
    (void)state;
    struct trial *x = open_trial(true, true);
    op_input(&x->op, "frozen")->desc = DG_ABSENT_DESC;
    step_trial(x, "g0", 0, 0.1, 0.4, 0.3, 0.9, false);
    step_trial(x, "g1", 1, 0.1, 0.4, 0.3, 0.9, false);
    close_trial(x);
}

static void test_refusals(void **state)
{
    (void)state;
    struct trial *x = open_trial(true, true);
    op_set_attr(&x->op, "norm_index", 3); /* there are three norms */
    op_refused(&x->op, "do not fit");
    op_set_attr(&x->op, "norm_index", 2);
    op_input(&x->op, "momentum")->desc = DG_ABSENT_DESC; /* a teacher needs one */
    op_refused(&x->op, "do not fit");
    op_input(&x->op, "momentum")->desc = dg_desc_scalar(DG_F64);
    op_input(&x->op, "exp_avg")->desc = F32(17, 60);
    op_refused(&x->op, "do not fit");
    close_trial(x);
}

static const struct op_test tests[] = {
    OP_TEST("adamw", OP_VALUE, test_three_steps_across_a_freeze),
    OP_TEST("adamw", OP_VALUE, test_zero_lr_still_counts),
    OP_TEST("adamw", OP_VALUE, test_clip_of_tiny_gradients),
    OP_TEST("adamw", OP_VALUE, test_absent_freeze_and_zero_gradient),
    OP_TEST("adamw", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

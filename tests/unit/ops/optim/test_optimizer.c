/* The end of a step, as in train_one_epoch of the official code: norms and the finite check; AdamW, clipping, freezing
 * and the teacher's average against the same written plainly in f64. */
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- grad_norms --- */

enum { SMALL = 7, MIDDLE = 4096, LARGE = 30011 };

struct norms {
    double each[3], all;
    bool finite;
};

static struct norms norms_of(float *a, float *b, float *c, double loss, int threads)
{
    struct one_op_result r =
        one_op_run(&(struct one_op){.op = "grad_norms",
                                    .num_inputs = 4,
                                    .desc = {F32(SMALL), F32(64, 64), F32(LARGE), dg_desc_scalar(DG_F64)},
                                    .data = {a, b, c, &loss},
                                    .threads = threads});
    struct norms n = {.all = ((double *)r.data[1])[0], .finite = ((double *)r.data[1])[1] == 1};
    assert_true(n.finite || ((double *)r.data[1])[1] == 0);
    memcpy(n.each, r.data[0], sizeof n.each);
    one_op_free(&r);
    return n;
}

static double norm(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void test_norms(void **state)
{
    (void)state;
    float *a = random_f32("a", 1, SMALL), *b = random_f32("b", 1e-3, MIDDLE), *c = random_f32("c", 1e20, LARGE);
    double want[3] = {norm(a, SMALL), norm(b, MIDDLE), norm(c, LARGE)};
    struct norms one = norms_of(a, b, c, 5, 1);
    for (int i = 0; i < 3; i++) assert_true(fabs(one.each[i] - want[i]) <= 1e-12 * want[i]);
    assert_true(fabs(one.all - want[2]) <= 1e-12 * want[2]); /* squares of 1e20 do not overflow */
    assert_true(one.finite);
    struct norms two = norms_of(a, b, c, 5, 2), three = norms_of(a, b, c, 5, 3);
    assert_memory_equal(two.each, one.each, sizeof one.each); /* whatever the threads */
    assert_memory_equal(three.each, one.each, sizeof one.each);
    free(c);
    c = random_f32("c", 1, LARGE);
    two = norms_of(a, b, c, 5, 2);
    assert_true(fabs(two.all - hypot(hypot(want[0], want[1]), norm(c, LARGE))) <= 1e-12 * two.all);
    free(a);
    free(b);
    free(c);
}

static void test_anything_not_finite_is_seen(void **state)
{
    (void)state;
    float *g[3] = {random_f32("a", 1, SMALL), random_f32("b", 1, MIDDLE), random_f32("c", 1, LARGE)};
    static const int last[3] = {SMALL - 1, MIDDLE - 1, LARGE - 1};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            for (int end = 0; end < 2; end++) {
                float *at = &g[i][end ? last[i] : 0], good = *at;
                *at = bad[k];
                assert_false(norms_of(g[0], g[1], g[2], 5, 2).finite);
                *at = good;
            }
    for (int k = 0; k < 3; k++) assert_false(norms_of(g[0], g[1], g[2], (double)bad[k], 2).finite);
    assert_true(norms_of(g[0], g[1], g[2], 5, 2).finite);
    for (int i = 0; i < 3; i++) free(g[i]);
}

/* --- adamw --- */

enum { COUNT = 1003 };

/* In the op's order: the first seven are tensors. */
enum { PARAM, GRAD, NORMS, EXP_AVG, EXP_AVG_SQ, STEP, TEACHER, LR, DECAY, CLIP, BETA1, BETA2, EPS, MOMENTUM, FROZEN };

struct trial {
    struct one_op op;
    float *param, *grad, *exp_avg, *exp_avg_sq, *teacher;
    int64_t step;
    double norms[3], scalar[FROZEN + 1];
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
    x->op = (struct one_op){
        .op = "adamw",
        .attr = {{.i = 1}, {.i = decay}},
        .num_inputs = FROZEN + 1,
        .data = {x->param, NULL, x->norms, x->exp_avg, x->exp_avg_sq, &x->step, x->teacher},
    };
    for (int i = 0; i <= FROZEN; i++) x->op.desc[i] = F32(17, 59);
    x->op.desc[NORMS] = dg_desc_make(DG_F64, 1, (int64_t[]){3});
    x->op.desc[STEP] = dg_desc_scalar(DG_I64);
    for (int i = LR; i <= FROZEN; i++) {
        x->op.desc[i] = dg_desc_scalar(DG_F64);
        x->op.data[i] = &x->scalar[i];
    }
    if (!teacher) x->op.desc[TEACHER] = x->op.desc[MOMENTUM] = DG_ABSENT_DESC;
    x->scalar[BETA1] = 0.9;
    x->scalar[BETA2] = 0.999;
    x->scalar[EPS] = 1e-8;
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
    x->op.data[GRAD] = x->grad;
    x->norms[0] = x->norms[2] = 1e9; /* of other parameters: must not matter */
    x->norms[1] = norm(x->grad, COUNT);
    x->scalar[LR] = lr;
    x->scalar[DECAY] = weight_decay;
    x->scalar[CLIP] = clip;
    x->scalar[MOMENTUM] = momentum;
    x->scalar[FROZEN] = frozen;
    struct one_op_result r = one_op_run(&x->op);
    one_op_free(&r);

    double factor = clip > 0 ? fmin(1, clip / (x->norms[1] + 1e-6)) : 1;
    if (!frozen) x->count++;
    for (int i = 0; i < COUNT; i++) {
        double g = (double)x->grad[i] * factor;
        if (!frozen) {
            x->p[i] *= 1 - lr * (x->op.attr[1].i ? weight_decay : 0);
            x->m[i] = 0.9 * x->m[i] + 0.1 * g;
            x->v[i] = 0.999 * x->v[i] + 0.001 * g * g;
            double denominator = sqrt(x->v[i] / (1 - pow(0.999, x->count))) + 1e-8;
            x->p[i] -= lr * x->m[i] / (1 - pow(0.9, x->count)) / denominator;
        }
        if (!dg_absent(&x->op.desc[TEACHER])) x->t[i] = momentum * x->t[i] + (1 - momentum) * x->p[i];
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
    x->op.desc[FROZEN] = DG_ABSENT_DESC;
    step_trial(x, "g0", 0, 0.1, 0.4, 0.3, 0.9, false);
    step_trial(x, "g1", 1, 0.1, 0.4, 0.3, 0.9, false);
    close_trial(x);
}

static void test_refusals(void **state)
{
    (void)state;
    struct trial *x = open_trial(true, true);
    x->op.attr[0].i = 3; /* there are three norms */
    one_op_refused(&x->op, "do not fit");
    x->op.attr[0].i = 2;
    x->op.desc[MOMENTUM] = DG_ABSENT_DESC; /* a teacher needs one */
    one_op_refused(&x->op, "do not fit");
    x->op.desc[MOMENTUM] = dg_desc_scalar(DG_F64);
    x->op.desc[EXP_AVG] = F32(17, 60);
    one_op_refused(&x->op, "do not fit");
    close_trial(x);
}

/* --- sgd, lars --- */

/* Three steps of one parameter against the formulas in f64: PyTorch's SGD (momentum 0.9, weight decay added to the
 * gradient) and LARS as the published code has it (You et al. 2017; tensors of one dimension are left alone). */
static void check_sgd(bool lars, bool vector, bool frozen_first)
{
    enum { ELEMENTS = 5000 };
    float *param = random_f32("param", 0.1, ELEMENTS), *buffer = calloc(ELEMENTS, sizeof *buffer),
          *teacher = malloc(ELEMENTS * 4);
    double want_param[ELEMENTS], want_buffer[ELEMENTS] = {0}, want_teacher[ELEMENTS];
    double lr = 0.3, decay = 0.01, clip = 1.5, momentum = 0.9, eta = 0.02, average = 0.99;
    for (int i = 0; i < ELEMENTS; i++) want_teacher[i] = want_param[i] = (double)(teacher[i] = param[i]);
    for (int s = 0; s < 3; s++) {
        char name[16];
        snprintf(name, sizeof name, "grad%d", s);
        float *grad = random_f32(name, 0.05 * (s + 1), ELEMENTS);
        double norms[2] = {7, norm(grad, ELEMENTS)}, frozen = frozen_first && !s;
        struct dg_desc desc = vector ? F32(ELEMENTS) : F32(50, 100), scalar = dg_desc_scalar(DG_F64);
        struct one_op op = {
            .op = lars ? "lars" : "sgd",
            .attr = {{.i = 1}, {.i = !vector}},
            .num_inputs = 12,
            .desc = {desc, desc, dg_desc_make(DG_F64, 1, (int64_t[]){2}), desc, desc, scalar, scalar, scalar, scalar,
                     lars ? scalar : DG_ABSENT_DESC, scalar, scalar},
            .data = {param, grad, norms, buffer, teacher, &lr, &decay, &clip, &momentum, &eta, &average, &frozen}};
        struct one_op_result none = one_op_run(&op);
        one_op_free(&none);
        double factor = fmin(1, clip / (norms[1] + 1e-6)), p2 = 0, d2 = 0, scale = 1, wd = vector ? 0 : decay;
        for (int i = 0; i < ELEMENTS && !frozen; i++) {
            double d = (double)grad[i] * factor + wd * want_param[i];
            p2 += want_param[i] * want_param[i];
            d2 += d * d;
        }
        if (lars && !vector && !frozen) scale = eta * sqrt(p2) / sqrt(d2);
        for (int i = 0; i < ELEMENTS; i++) {
            if (!frozen) {
                want_buffer[i] = momentum * want_buffer[i] + scale * ((double)grad[i] * factor + wd * want_param[i]);
                want_param[i] -= lr * want_buffer[i];
            }
            want_teacher[i] = average * want_teacher[i] + (1 - average) * want_param[i];
        }
        free(grad);
    }
    assert_near(param, want_param, ELEMENTS, 1e-6, "param");
    assert_near(buffer, want_buffer, ELEMENTS, 1e-6, "buffer");
    assert_near(teacher, want_teacher, ELEMENTS, 1e-6, "teacher");
    free(param);
    free(buffer);
    free(teacher);
}

static void test_sgd_and_lars(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) check_sgd(i & 1, i & 2, i & 4);
}

/* All-zero weights or gradients: the ratio of norms means nothing, and LARS steps as SGD would. */
static void test_lars_of_nothing(void **state)
{
    (void)state;
    float param[4] = {0}, grad[4] = {1, 2, 3, 4}, buffer[4] = {0};
    double norms[1] = {5}, lr = 0.1, zero = 0, momentum = 0.9, eta = 0.001;
    struct dg_desc desc = F32(2, 2), scalar = dg_desc_scalar(DG_F64);
    struct one_op op = {.op = "lars",
                        .attr = {{.i = 0}, {.i = 1}},
                        .num_inputs = 12,
                        .desc = {desc, desc, dg_desc_make(DG_F64, 1, (int64_t[]){1}), desc, DG_ABSENT_DESC, scalar,
                                 scalar, scalar, scalar, scalar, DG_ABSENT_DESC, DG_ABSENT_DESC},
                        .data = {param, grad, norms, buffer, NULL, &lr, &zero, &zero, &momentum, &eta, NULL, NULL}};
    struct one_op_result none = one_op_run(&op);
    one_op_free(&none);
    assert_near(param, (double[]){-0.1, -0.2, -0.3, -0.4}, 4, 1e-6, "param");
}

static void test_ema(void **state)
{
    (void)state;
    float *param = random_f32("param", 1, COUNT), *teacher = random_f32("teacher", 1, COUNT);
    double want[COUNT], momentum = 0.996;
    for (int i = 0; i < COUNT; i++) want[i] = 0.996 * (double)teacher[i] + (1 - 0.996) * (double)param[i];
    struct one_op ema = {.op = "ema",
                         .num_inputs = 3,
                         .desc = {F32(COUNT), F32(COUNT), dg_desc_scalar(DG_F64)},
                         .data = {param, teacher, &momentum}};
    struct one_op_result r = one_op_run(&ema);
    one_op_free(&r);
    assert_near(teacher, want, COUNT, 2e-7, "teacher");
    ema.desc[1] = F32(COUNT + 1);
    one_op_refused(&ema, "do not fit");
    free(param);
    free(teacher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_anything_not_finite_is_seen),
        cmocka_unit_test(test_three_steps_across_a_freeze),
        cmocka_unit_test(test_zero_lr_still_counts),
        cmocka_unit_test(test_clip_of_tiny_gradients),
        cmocka_unit_test(test_absent_freeze_and_zero_gradient),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_sgd_and_lars),
        cmocka_unit_test(test_lars_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

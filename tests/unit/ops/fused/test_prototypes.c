/* The tiled prototype layer with the loss in it, against the ops that it stands for: weight_norm_linear, dino_target and
 * dino_loss, which test_weight_norm_linear.c and test_dino_loss.c check against the definition. */
#include "ops/kernels/bf16.h"
#include "tests/support/gradient_rule.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GLOBALS = 2, LOCALS = 3, VIEWS = GLOBALS + LOCALS };
static int64_t D = 24;

static double teacher_temp = 0.04, student_temp = 0.1, so_far = 0.75;

static void near_f32(const void *got, const void *want, int64_t count, double tolerance, const char *what)
{
    double *wide = malloc((size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++) wide[i] = (double)((const float *)want)[i];
    assert_near(got, wide, count, tolerance, what);
    free(wide);
}

static struct op_result logits_of(const float *src, int64_t rows, float *g, float *v, int64_t k)
{
    return op_run(&(struct op_run){
        .op = "weight_norm_linear",
        .attrs = {ATTR("out", k), ATTR("train_g", 1)},
        .input = {{"src", F32(rows, D), (void *)src}, {"weight_g", F32(k, 1), g}, {"weight_v", F32(k, D), v}}});
}

static void round_all(int64_t count, float *x)
{
    for (int64_t i = 0; i < count; i++) x[i] = dg_from_bf16(dg_to_bf16(x[i]));
}

/* Sixteen numbers of a row become one or minus one, the others zero: its length is four. */
static void of_length_four(int64_t rows, float *v)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < D; c++) {
            float *x = &v[r * D + c];
            *x = (c + r) % D < 16 ? copysignf(1, *x) : 0;
        }
}

/* `views` of the student from view0 on. `bf16`: the tiled ops as in a plan in bf16, with features and weights that it
 * leaves as they are, so that nothing is rounded but the gradient of the logits. */
static void compare_group(int64_t batch, int64_t k, int view0, int views, int threads, bool bf16)
{
    int64_t rows = views * batch;
    float *t = random_f32("t", 1, 2 * batch * D), *t_g = random_f32("t_g", 1, k), *t_v = random_f32("t_v", 1, k * D),
          *center = random_f32("center", 0.1, k), *s = random_f32("s", 1, rows * D), *g = random_f32("g", 1, k),
          *v = random_f32("v", 1, k * D), *acc_g = random_f32("acc_g", 0.01, k),
          *acc_v = random_f32("acc_v", 0.01, k * D);
    struct dg_desc f64 = dg_desc_scalar(DG_F64);
    if (bf16) {
        round_all(2 * batch * D, t);
        round_all(k, t_g);
        round_all(rows * D, s);
        round_all(k, g);
        of_length_four(k, t_v);
        of_length_four(k, v);
    }

    struct op_result teacher = logits_of(t, 2 * batch, t_g, t_v, k), student = logits_of(s, rows, g, v, k);
    struct op_result target = op_run(&(struct op_run){.op = "dino_target",
                                                      .input = {{"teacher_logits", F32(2 * batch, k), teacher.data[0]},
                                                                {"center", F32(1, k), center},
                                                                {"teacher_temp", f64, &teacher_temp}},
                                                      .batch = (int)batch});
    struct op_result loss = op_run(&(struct op_run){.op = "dino_loss",
                                                    .attrs = {ATTR("views", VIEWS)},
                                                    .input = {{"student_logits", F32(rows, k), student.data[0]},
                                                              {"q", F32(2 * batch, k), target.data[1]},
                                                              {"student_temp", f64, &student_temp},
                                                              {"loss_so_far", f64, &so_far}},
                                                    .view0 = view0,
                                                    .batch = (int)batch});
    struct op_result diff = op_run(&(struct op_run){.op = "dino_loss_grad",
                                                    .attrs = {ATTR("views", VIEWS)},
                                                    .input = {{"student_logits", F32(rows, k), student.data[0]},
                                                              {"q", F32(2 * batch, k), target.data[1]},
                                                              {"student_temp", f64, &student_temp},
                                                              {"lse", F32(rows), loss.data[1]}},
                                                    .view0 = view0,
                                                    .batch = (int)batch});
    struct op_result weights = op_run(&(struct op_run){.op = "weight_norm_linear_grad",
                                                       .input = {{"src", F32(rows, D), s},
                                                                 {"diff_dst", F32(rows, k), diff.data[0]},
                                                                 {"weight_g", F32(k, 1), g},
                                                                 {"weight_v", F32(k, D), v},
                                                                 {"acc_g", F32(k, 1), acc_g},
                                                                 {"acc_v", F32(k, D), acc_v}}});

    struct op_result tiled_target = op_run(&(struct op_run){.op = "prototype_target",
                                                            .input = {{"src", F32(2 * batch, D), t},
                                                                      {"weight_g", F32(k, 1), t_g},
                                                                      {"weight_v", F32(k, D), t_v},
                                                                      {"center", F32(1, k), center},
                                                                      {"temp", f64, &teacher_temp}},
                                                            .threads = threads,
                                                            .batch = (int)batch,
                                                            .bf16 = bf16});
    struct op_run op = {.op = "prototype_loss",
                        .attrs = {ATTR("views", VIEWS)},
                        .input = {{"src", F32(rows, D), s},
                                  {"weight_g", F32(k, 1), g},
                                  {"weight_v", F32(k, D), v},
                                  {"teacher_src", F32(2 * batch, D), t},
                                  {"teacher_g", F32(k, 1), t_g},
                                  {"teacher_v", F32(k, D), t_v},
                                  {"center", F32(1, k), center},
                                  {"stats", F32(2 * batch, 2), tiled_target.data[0]},
                                  {"teacher_temp", f64, &teacher_temp},
                                  {"student_temp", f64, &student_temp},
                                  {"loss_so_far", f64, &so_far}},
                        .threads = threads,
                        .view0 = view0,
                        .batch = (int)batch,
                        .bf16 = bf16};
    struct op_result tiled_loss = op_run(&op);
    op.op = "prototype_loss_grad";
    *op_input(&op, "loss_so_far") = (struct op_tensor){"lse", F32(rows), tiled_loss.data[1]};
    *op_input(&op, "acc_g") = (struct op_tensor){"acc_g", F32(k, 1), acc_g};
    *op_input(&op, "acc_v") = (struct op_tensor){"acc_v", F32(k, D), acc_v};
    struct op_result tiled = op_run(&op), again = op_run(&op);

    /* A softmax is off by the rounding of what is under its exponential: a difference of logits and a quotient. In bf16 every
     * term of a gradient's sum is rounded. The squares of these add up as those of the terms do, so that the sum is off by some
     * BF16_ROUNDING / sqrt(3) of itself: twice BF16_ROUNDING is more than three times that. */
    double most = 0;
    for (int64_t i = 0; i < 2 * batch * k; i++) most = fmax(most, fabs((double)((float *)teacher.data[0])[i]));
    double softmax = 2 * F32_ROUNDING * 2 * most / teacher_temp;
    double tolerance = bf16 ? 2 * BF16_ROUNDING : softmax + F32_SUM(LARGER(k, rows));
    near_f32(tiled_target.data[1], target.data[2], k, 1e-6, "batch_mean");
    double entropy = *(double *)target.data[3], value = *(double *)loss.data[0];
    assert_true(fabs(*(double *)tiled_target.data[2] - entropy) <= 1e-6 * fmax(1, entropy));
    assert_true(fabs(*(double *)tiled_loss.data[0] - value) <= 2e-6 * fabs(value));
    near_f32(tiled.data[0], weights.data[0], rows * D, tolerance, "diff_s");
    near_f32(tiled.data[1], weights.data[1], k, tolerance, "diff_g");
    near_f32(tiled.data[2], weights.data[2], k * D, tolerance, "diff_v");
    for (int o = 0; o < 3; o++)
        assert_memory_equal(tiled.data[o], again.data[o], (size_t)dg_desc_bytes(&tiled.desc[o]));

    struct op_result *result[] = {&teacher, &student,      &target,     &loss,  &diff,
                                  &weights, &tiled_target, &tiled_loss, &tiled, &again};
    for (int i = 0; i < 10; i++) op_result_free(result[i]);
    float *number[] = {t, t_g, t_v, center, s, g, v, acc_g, acc_v};
    for (int i = 0; i < 9; i++) free(number[i]);
}

/* Tiles that K fills, does not fill, one tile, fewer prototypes than threads have tiles; one image. */
static void test_like_the_plain_ops(void **state)
{
    (void)state;
    static const int64_t prototypes[] = {1531, 1024, 256, 7};
    for (int i = 0; i < 4; i++)
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            compare_group(batch, prototypes[i], 0, GLOBALS, 2, false);
            compare_group(batch, prototypes[i], GLOBALS, LOCALS, 3, false);
            compare_group(batch, prototypes[i], 0, VIEWS, 1, false); /* a head that sees all crops at once */
        }
}

/* Features of even and odd width. */
static void test_bf16(void **state)
{
    (void)state;
    static const int64_t prototypes[] = {1531, 256, 7}, widths[] = {21, 24, 64};
    int64_t before = D;
    for (int i = 0; i < 9; i++) {
        D = widths[i / 3];
        for (int64_t batch = 1; batch <= 5; batch += 4) {
            compare_group(batch, prototypes[i % 3], 0, GLOBALS, 2, true);
            compare_group(batch, prototypes[i % 3], GLOBALS, LOCALS, 3, true);
        }
    }
    D = before;
}

static void test_refusals(void **state)
{
    (void)state;
    struct dg_desc f64 = dg_desc_scalar(DG_F64);
    op_refused(&(struct op_run){.op = "prototype_target",
                                .input = {{"src", F32(3, D)},
                                          {"weight_g", F32(9, 1)},
                                          {"weight_v", F32(9, D)},
                                          {"center", F32(1, 9)},
                                          {"temp", f64}}},
               "do not fit");
    op_refused(&(struct op_run){.op = "prototype_loss",
                                .attrs = {ATTR("views", VIEWS)},
                                .input = {{"src", F32(4, D)},
                                          {"weight_g", F32(9, 1)},
                                          {"weight_v", F32(9, D)},
                                          {"teacher_src", F32(4, D)},
                                          {"teacher_g", F32(8, 1)},
                                          {"teacher_v", F32(8, D)},
                                          {"center", F32(1, 9)},
                                          {"stats", F32(4, 2)},
                                          {"teacher_temp", f64},
                                          {"student_temp", f64}}},
               "do not fit");
}

/* --- the gradient rule --- */

/* Its gradient reads the same inputs, the saved log-sum-exp, and what the gradients of g and v are added to. */
static void test_gradient_rule(void **state)
{
    (void)state;
    enum { INPUTS = 11 };
    bool wants[INPUTS] = {[0] = true, [1] = true, [2] = true, [10] = true};
    struct dg_op_call call = {
        .op = op_by_name("prototype_loss"), .attr = &(union dg_attr){.i = VIEWS}, .num_inputs = INPUTS, .train = true};
    struct gradient_rule rule = run_gradient_rule(&call, wants);
    assert_ptr_equal(rule.op, dg_op_find("prototype_loss_grad"));
    assert_int_equal(rule.attr[0].i, VIEWS);
    assert_int_equal(rule.num_inputs, INPUTS + 2);
    for (int i = 0; i < INPUTS - 1; i++) assert_int_equal(rule.input[i], RULE_INPUT + i);
    assert_int_equal(rule.input[10], RULE_OUTPUT + 1);
    assert_int_equal(rule.input[11], RULE_SO_FAR + 1);
    assert_int_equal(rule.input[12], RULE_SO_FAR + 2);
    for (int i = 0; i < 3; i++) assert_int_equal(rule.gradient[i], RULE_ADDED + i);
    assert_int_equal(rule.gradient[10], RULE_DIFF_OUTPUT); /* the loss so far weighs one */
}

static const struct op_test tests[] = {
    OP_TEST("prototype_target prototype_loss prototype_loss_grad", OP_VALUE, test_like_the_plain_ops),
    OP_TEST("prototype_target prototype_loss prototype_loss_grad", OP_VALUE | OP_BF16, test_bf16),
    OP_TEST("prototype_loss", OP_GRADIENT, test_gradient_rule),
    OP_TEST("prototype_target prototype_loss", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

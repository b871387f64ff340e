/* Single ops against PyTorch's results in tests/fixtures/ops.json, which tests/reference/make_ops.py wrote and
 * explains. Inputs are made on both sides from the generator. */
#include "ops/rng.h"
#include "tests/support/one_op.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *fixture(const char *key)
{
    static json_t *root; /* lives as long as the program */
    json_error_t error;
    if (!root) root = json_load_file(DG_SOURCE_DIR "/tests/fixtures/ops.json", 0, &error);
    if (!root) fail_msg("tests/fixtures/ops.json: %s", error.text);
    json_t *found = json_object_get(root, key);
    assert_non_null(found);
    return found;
}

static double number(const json_t *object, const char *key)
{
    const json_t *found = json_object_get(object, key);
    assert_true(json_is_number(found));
    return json_number_value(found);
}

static void near_list(const float *got, int64_t count, const json_t *object, const char *key, double tolerance)
{
    const json_t *list = json_object_get(object, key);
    assert_int_equal(json_array_size(list), count);
    double *want = malloc((size_t)count * sizeof *want);
    for (int64_t i = 0; i < count; i++) want[i] = json_number_value(json_array_get(list, (size_t)i));
    assert_near(got, want, count, tolerance, key);
    free(want);
}

__attribute__((format(printf, 3, 4))) static float *values(double bound, int64_t count, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    struct dg_rng rng = dg_rng_open(0, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = dg_rng_uniform(&rng, (float)-bound, (float)bound);
    return x;
}

static void test_positions(void **state)
{
    (void)state;
    /* PyTorch rounds the step between sampling points to f32 when the table is f32, as the published code ran and as
     * ours does, but not when it is f64, as for these values: 1e-7 of a coordinate up to 28. */
    const double tolerance = 4e-6;
    size_t i;
    const json_t *c;
    json_array_foreach(fixture("positions"), i, c)
    {
        int64_t g = (int64_t)number(c, "grid"), h = (int64_t)number(c, "rows"), w = (int64_t)number(c, "cols");
        int64_t rows = 1 + g * g, tokens = 1 + h * w;
        float *table = values(2, rows * 3, "ops.positions.table%d", (int)g);
        float *cotangent = values(2, tokens * 3, "ops.positions.cotangent%d.%dx%d", (int)g, (int)h, (int)w);
        float *zero = calloc((size_t)(tokens * 3), sizeof *zero);
        struct one_op_result r = one_op_run(&(struct one_op){.op = "add_position",
                                                             .attr = {{0}, {.i = h}, {.i = w}},
                                                             .num_inputs = 2,
                                                             .desc = {F32(1, tokens, 3), F32(1, rows, 3)},
                                                             .data = {zero, table}});
        near_list(r.data[0], tokens * 3, c, "forward", tolerance);
        one_op_free(&r);
        r = one_op_run(&(struct one_op){.op = "add_position_grad",
                                        .attr = {{.i = h}, {.i = w}, {.i = rows}},
                                        .num_inputs = 2,
                                        .desc = {F32(1, tokens, 3), DG_ABSENT_DESC},
                                        .data = {cotangent}});
        near_list(r.data[0], rows * 3, c, "gradient", tolerance);
        one_op_free(&r);
        free(table);
        free(cotangent);
        free(zero);
    }
    assert_true(i >= 4);
}

static void test_loss(void **state)
{
    (void)state;
    enum { B = 3, K = 7, VIEWS = 4 };
    const json_t *want = fixture("loss");
    float *s = values(1, VIEWS * B * K, "ops.loss.student"), *t = values(1, 2 * B * K, "ops.loss.teacher");
    float *center = values(0.1, K, "ops.loss.center");
    double student_temp = 0.1, teacher_temp = 0.04, momentum = 0.9;
    struct dg_desc scalar = dg_desc_scalar(DG_F64);
    struct one_op_result target = one_op_run(&(struct one_op){.op = "dino_target",
                                                              .num_inputs = 3,
                                                              .desc = {F32(2 * B, K), F32(1, K), scalar},
                                                              .data = {t, center, &teacher_temp},
                                                              .batch = B});
    struct one_op_result loss = one_op_run(&(struct one_op){
        .op = "dino_loss",
        .attr = {{.i = VIEWS}},
        .num_inputs = 4,
        .desc = {F32(VIEWS * B, K), target.desc[0], scalar, DG_ABSENT_DESC},
        .data = {s, target.data[0], &student_temp},
        .batch = B,
    });
    struct one_op_result diff = one_op_run(&(struct one_op){
        .op = "dino_loss_grad",
        .attr = {{.i = VIEWS}},
        .num_inputs = 4,
        .desc = {F32(VIEWS * B, K), target.desc[0], scalar, loss.desc[1]},
        .data = {s, target.data[0], &student_temp, loss.data[1]},
        .batch = B,
    });
    struct one_op_result update = one_op_run(&(struct one_op){.op = "center_update",
                                                              .num_inputs = 3,
                                                              .desc = {F32(1, K), target.desc[1], scalar},
                                                              .data = {center, target.data[1], &momentum}});
    double got = *(double *)loss.data[0], entropy = *(double *)target.data[2];
    assert_true(fabs(got - number(want, "loss")) <= 1e-6 * number(want, "loss"));
    assert_true(fabs(entropy - number(want, "teacher_entropy")) <= 1e-5 * number(want, "teacher_entropy"));
    near_list(diff.data[0], VIEWS * B * K, want, "gradient", 2e-6);
    near_list(center, K, want, "center", 5e-7);
    one_op_free(&target);
    one_op_free(&loss);
    one_op_free(&diff);
    one_op_free(&update);
    free(s);
    free(t);
    free(center);
}

/* All steps of one tensor. Each state is compared after its step. */
static void adamw(const char *name, const json_t *steps, const json_t *states, int64_t count)
{
    bool bias = strstr(name, "bias"), freezes = strstr(name, "last_layer");
    float *param = values(1, count, "ops.adamw.%s", name), *teacher = values(1, count, "ops.adamw.teacher.%s", name);
    float *exp_avg = calloc((size_t)count, sizeof *exp_avg), *exp_avg_sq = calloc((size_t)count, sizeof *exp_avg_sq);
    int64_t done = 0;
    size_t i;
    const json_t *step;
    json_array_foreach(steps, i, step)
    {
        float *grad = values(bias ? 0.1 : 1, count, "ops.adamw.step%d.%s", (int)i, name);
        double norm = 0, control[] = {number(step, "lr"),
                                      number(step, "weight_decay"),
                                      number(step, "clip"),
                                      0.9,
                                      0.999,
                                      1e-8,
                                      number(step, "momentum"),
                                      json_is_true(json_object_get(step, "frozen"))};
        for (int64_t k = 0; k < count; k++) norm += (double)grad[k] * (double)grad[k];
        norm = sqrt(norm);
        struct one_op op = {.op = "adamw",
                            .attr = {{.i = 0}, {.i = !bias}},
                            .num_inputs = 15,
                            .data = {param, grad, &norm, exp_avg, exp_avg_sq, &done, teacher}};
        for (int k = 0; k < 7; k++) op.desc[k] = F32(count);
        op.desc[2] = dg_desc_make(DG_F64, 1, (int64_t[]){1});
        op.desc[5] = dg_desc_scalar(DG_I64);
        for (int k = 0; k < 8; k++) {
            op.desc[7 + k] = dg_desc_scalar(DG_F64);
            op.data[7 + k] = &control[k];
        }
        if (!freezes) op.desc[14] = DG_ABSENT_DESC;
        struct one_op_result r = one_op_run(&op);
        one_op_free(&r);
        const json_t *want = json_array_get(states, i);
        assert_int_equal(done, (int64_t)number(want, "step"));
        near_list(param, count, want, "param", 2e-7);
        near_list(teacher, count, want, "teacher", 2e-7);
        near_list(exp_avg, count, want, "exp_avg", 5e-7);
        near_list(exp_avg_sq, count, want, "exp_avg_sq", 5e-7);
        free(grad);
    }
    assert_true(i >= 3);
    free(param);
    free(teacher);
    free(exp_avg);
    free(exp_avg_sq);
}

static void test_adamw(void **state)
{
    (void)state;
    const json_t *steps = json_object_get(fixture("adamw"), "steps");
    json_t *tensors = json_object_get(fixture("adamw"), "tensors"), *states;
    const char *name;
    int count = 0;
    json_object_foreach(tensors, name, states)
    {
        const json_t *first = json_array_get(states, 0);
        adamw(name, steps, states, (int64_t)json_array_size(json_object_get(first, "param")));
        count++;
    }
    assert_int_equal(count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_adamw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Single ops against PyTorch's results in tests/fixtures/ops.json, which tests/reference/make_ops.py wrote and
 * explains. Inputs are made on both sides from the generator. */
#include "ops/base/rng.h"
#include "tests/support/op_run.h"
#include "tests/support/values.h"

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
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
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
        struct op_result r =
            op_run(&(struct op_run){.op = "add_position",
                                    .attrs = {ATTR("grid_h", h), ATTR("grid_w", w)},
                                    .input = {{"src", F32(1, tokens, 3), zero}, {"table", F32(1, rows, 3), table}}});
        near_list(r.data[0], tokens * 3, c, "forward", tolerance);
        op_result_free(&r);
        r = op_run(&(struct op_run){.op = "add_position_grad",
                                    .attrs = {ATTR("grid_h", h), ATTR("grid_w", w), ATTR("table_rows", rows)},
                                    .input = {{"diff_dst", F32(1, tokens, 3), cotangent}}});
        near_list(r.data[0], rows * 3, c, "gradient", tolerance);
        op_result_free(&r);
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
    struct op_result target = op_run(&(struct op_run){.op = "dino_target",
                                                      .input = {{"teacher_logits", F32(2 * B, K), t},
                                                                {"center", F32(1, K), center},
                                                                {"teacher_temp", scalar, &teacher_temp}},
                                                      .batch = B});
    struct op_result loss = op_run(&(struct op_run){
        .op = "dino_loss",
        .attrs = {ATTR("views", VIEWS)},
        .input = {{"student_logits", F32(VIEWS * B, K), s},
                  {"q", target.desc[1], target.data[1]},
                  {"student_temp", scalar, &student_temp}},
        .batch = B,
    });
    struct op_result diff = op_run(&(struct op_run){
        .op = "dino_loss_grad",
        .attrs = {ATTR("views", VIEWS)},
        .input = {{"student_logits", F32(VIEWS * B, K), s},
                  {"q", target.desc[1], target.data[1]},
                  {"student_temp", scalar, &student_temp},
                  {"lse", loss.desc[1], loss.data[1]}},
        .batch = B,
    });
    struct op_result update = op_run(&(struct op_run){.op = "center_update",
                                                      .input = {{"center", F32(1, K), center},
                                                                {"batch_mean", target.desc[2], target.data[2]},
                                                                {"momentum", scalar, &momentum}}});
    double got = *(double *)loss.data[0], entropy = *(double *)target.data[3];
    assert_true(fabs(got - number(want, "loss")) <= 1e-6 * number(want, "loss"));
    assert_true(fabs(entropy - number(want, "teacher_entropy")) <= 1e-5 * number(want, "teacher_entropy"));
    near_list(diff.data[0], VIEWS * B * K, want, "gradient", 2e-6);
    near_list(center, K, want, "center", 5e-7);
    op_result_free(&target);
    op_result_free(&loss);
    op_result_free(&diff);
    op_result_free(&update);
    free(s);
    free(t);
    free(center);
}

/* All steps of one tensor. Each state is compared after its step. */
static void optimize(const char *kind, const char *name, const json_t *steps, const json_t *states, int64_t count,
                     bool matrix)
{
    bool adamw = !strcmp(kind, "adamw"), bias = strstr(name, "bias"), freezes = strstr(name, "last_layer");
    float *param = values(1, count, "ops.%s.%s", kind, name),
          *teacher = values(1, count, "ops.%s.teacher.%s", kind, name);
    float *first = calloc((size_t)count, sizeof *first), *second = calloc((size_t)count, sizeof *second);
    struct dg_desc desc = matrix ? F32(1, count) : F32(count); /* LARS asks for no more than whether it is a vector */
    int64_t done = 0;
    size_t i;
    const json_t *step;
    json_array_foreach(steps, i, step)
    {
        float *grad = values(bias ? 0.1 : 1, count, "ops.%s.step%d.%s", kind, (int)i, name);
        double norm = 0, momentum = 0.9, eta = 0.001, beta2 = 0.999, eps = 1e-8, lr = number(step, "lr"),
               decay = number(step, "weight_decay"), clip = number(step, "clip"), average = number(step, "momentum"),
               frozen = json_is_true(json_object_get(step, "frozen"));
        for (int64_t k = 0; k < count; k++) norm += (double)grad[k] * (double)grad[k];
        norm = sqrt(norm);
        const struct dg_desc scalar = F64_SCALAR, none = DG_ABSENT_DESC;
        bool lars = !strcmp(kind, "lars");
        struct op_run op = {.op = kind,
                            .attrs = {ATTR("norm_index", 0), ATTR("decay", !bias)},
                            .input = {{"param", desc, param},
                                      {"grad", desc, grad},
                                      {"norms", F64(1), &norm},
                                      {"teacher", desc, teacher},
                                      {"lr", scalar, &lr},
                                      {"weight_decay", scalar, &decay},
                                      {"clip", scalar, &clip},
                                      {"frozen", freezes ? scalar : none, &frozen}}};
        const struct op_tensor of_adamw[] = {{"exp_avg", desc, first},      {"exp_avg_sq", desc, second},
                                             {"step", I64_SCALAR, &done},   {"beta1", scalar, &momentum},
                                             {"beta2", scalar, &beta2},     {"eps", scalar, &eps},
                                             {"momentum", scalar, &average}};
        const struct op_tensor of_sgd[] = {{"buffer", desc, first},
                                           {"momentum", scalar, &momentum},
                                           {"eta", lars ? scalar : none, &eta},
                                           {"teacher_momentum", scalar, &average}};
        memcpy(&op.input[8], adamw ? of_adamw : of_sgd, adamw ? sizeof of_adamw : sizeof of_sgd);
        struct op_result r = op_run(&op);
        op_result_free(&r);
        const json_t *want = json_array_get(states, i);
        double roundings = 4 * (double)(i + 1) * F32_ROUNDING; /* as many a step, with fused multiply-adds or without */
        near_list(param, count, want, "param", roundings);
        near_list(teacher, count, want, "teacher", roundings);
        near_list(first, count, want, adamw ? "exp_avg" : "momentum", 5e-7);
        if (adamw) {
            assert_int_equal(done, (int64_t)number(want, "step"));
            near_list(second, count, want, "exp_avg_sq", 5e-7);
        }
        free(grad);
    }
    assert_true(i >= 3);
    free(param);
    free(teacher);
    free(first);
    free(second);
}

static void test_optimizers(void **state)
{
    (void)state;
    static const char *const kinds[] = {"adamw", "sgd", "lars"};
    for (int k = 0; k < 3; k++) {
        const json_t *steps = json_object_get(fixture(kinds[k]), "steps");
        json_t *tensors = json_object_get(fixture(kinds[k]), "tensors"), *states;
        const char *name;
        int count = 0;
        json_object_foreach(tensors, name, states)
        {
            const json_t *first = json_array_get(states, 0);
            int64_t size = (int64_t)json_array_size(json_object_get(first, "param"));
            optimize(kinds[k], name, steps, states, size, !strstr(name, "bias"));
            count++;
        }
        assert_int_equal(count, 3);
    }
}

/* --- images: one case after the other, each with inputs of its own --- */

static int64_t integer(const json_t *object, const char *key) { return (int64_t)number(object, key); }

static struct dg_desc shape_of(const json_t *object)
{
    struct dg_desc desc = {.dtype = DG_F32};
    size_t i;
    const json_t *dim;
    json_array_foreach(json_object_get(object, "shape"), i, dim) desc.dim[desc.ndim++] = json_integer_value(dim);
    return desc;
}

/* Runs `op`, compares its output 0 with what the fixture has as `key`, and frees. */
static void run_near(const struct op_run *op, const json_t *want, const char *key)
{
    struct op_result r = op_run(op);
    near_list(r.data[0], dg_desc_count(&r.desc[0]), want, key, 2e-6);
    op_result_free(&r);
}

static void test_conv2d(void **state)
{
    (void)state;
    size_t i;
    const json_t *c;
    json_array_foreach(fixture("conv2d"), i, c)
    {
        static const char *const keys[] = {"out", "kernel", "stride", "pad", "groups", "dilation"};
        int64_t in = integer(c, "in"), out = integer(c, "out"), k = integer(c, "kernel"), height = integer(c, "height"),
                width = integer(c, "width");
        bool has_bias = json_is_true(json_object_get(c, "bias"));
        struct dg_desc src_desc = F32(integer(c, "images"), height, width, in),
                       weight_desc = F32(out, in / integer(c, "groups"), k, k), bias_desc = F32(out);
        float *src = values(1, dg_desc_count(&src_desc), "ops.conv2d%d.src", (int)i);
        float *weight = values(1, dg_desc_count(&weight_desc), "ops.conv2d%d.weight", (int)i);
        float *bias = values(1, out, "ops.conv2d%d.bias", (int)i);
        struct op_run forward = {.op = "conv2d",
                                 .input = {{"src", src_desc, src},
                                           {"weight", weight_desc, weight},
                                           {"bias", has_bias ? bias_desc : DG_ABSENT_DESC, bias}}};
        for (int a = 0; a < 6; a++) op_set_attr(&forward, keys[a], number(c, keys[a]));
        op_set_attr(&forward, "bias", has_bias);
        struct op_result r = op_run(&forward);
        struct dg_desc dst_desc = r.desc[0];
        int64_t count = dg_desc_count(&dst_desc);
        near_list(r.data[0], count, c, "forward", 2e-6);
        op_result_free(&r);

        float *cotangent = values(1, count, "ops.conv2d%d.cotangent", (int)i);
        struct op_run grad_src = {.op = "conv2d_grad_src",
                                  .input = {{"diff_dst", dst_desc, cotangent}, {"weight", weight_desc, weight}}};
        struct op_run grad_weights = {.op = "conv2d_grad_weights",
                                      .input = {{"src", src_desc, src}, {"diff_dst", dst_desc, cotangent}},
                                      .unwanted = has_bias ? 0 : 2};
        memcpy(grad_src.attrs, forward.attrs, sizeof forward.attrs);
        memcpy(grad_weights.attrs, forward.attrs, sizeof forward.attrs);
        op_set_attr(&grad_src, "height", (double)height);
        op_set_attr(&grad_src, "width", (double)width);
        run_near(&grad_src, c, "diff_src");
        r = op_run(&grad_weights);
        near_list(r.data[0], dg_desc_count(&weight_desc), c, "diff_weight", 2e-6);
        if (has_bias) near_list(r.data[1], out, c, "diff_bias", 2e-6);
        op_result_free(&r);
        free(src);
        free(weight);
        free(bias);
        free(cotangent);
    }
    assert_true(i >= 8);
}

/* Uniform in (lo, hi), where `values` has it in (-1, 1). */
static float *between(float lo, float hi, int64_t count, const char *format, int i)
{
    char name[96];
    snprintf(name, sizeof name, format, i);
    float *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    dg_named_uniform(name, count, lo, hi, x);
    return x;
}

static void test_batch_norm(void **state)
{
    (void)state;
    size_t i;
    const json_t *c;
    json_array_foreach(fixture("batch_norm"), i, c)
    {
        struct dg_desc desc = shape_of(c);
        int n = (int)i;
        int64_t count = dg_desc_count(&desc), cols = desc.dim[desc.ndim - 1], tracked = 3;
        struct dg_desc vector = F32(cols), counter = dg_desc_scalar(DG_I64);
        double eps = number(c, "eps"), momentum = number(c, "momentum");
        float *src = between(-1, 3, count, "ops.batch_norm%d.src", n);
        float *weight = between(0.5F, 1.5F, cols, "ops.batch_norm%d.weight", n);
        float *bias = between(-0.5F, 0.5F, cols, "ops.batch_norm%d.bias", n);
        float *running_mean = between(-1, 1, cols, "ops.batch_norm%d.running_mean", n);
        float *running_var = between(0.5F, 2, cols, "ops.batch_norm%d.running_var", n);
        float *cotangent = between(-1, 1, count, "ops.batch_norm%d.cotangent", n);
        struct op_run op = {.op = "batch_norm",
                            .attrs = {ATTR("eps", eps), ATTR("momentum", momentum)},
                            .input = {{"src", desc, src},
                                      {"weight", vector, weight},
                                      {"bias", vector, bias},
                                      {"running_mean", vector, running_mean},
                                      {"running_var", vector, running_var},
                                      {"num_batches_tracked", counter, &tracked}}};
        struct op_run eval = op;
        eval.eval = true;
        eval.unwanted = 6;
        run_near(&eval, c, "eval");
        struct op_result r = op_run(&op);
        near_list(r.data[0], count, c, "forward", 2e-6);
        struct op_result diff = op_run(&(struct op_run){.op = "batch_norm_grad",
                                                        .attrs = {ATTR("eps", eps), ATTR("momentum", momentum)},
                                                        .input = {{"diff_dst", desc, cotangent},
                                                                  {"src", desc, src},
                                                                  {"weight", vector, weight},
                                                                  {"mean", vector, r.data[1]},
                                                                  {"var", vector, r.data[2]}}});
        near_list(diff.data[0], count, c, "diff_src", 5e-6);
        near_list(diff.data[1], cols, c, "diff_weight", 2e-6);
        near_list(diff.data[2], cols, c, "diff_bias", 2e-6);
        struct op_result none =
            op_run(&(struct op_run){.op = "batch_norm_update",
                                    .attrs = {ATTR("momentum", momentum), ATTR("count", count / cols)},
                                    .input = {{"running_mean", vector, running_mean},
                                              {"running_var", vector, running_var},
                                              {"num_batches_tracked", counter, &tracked},
                                              {"mean", vector, r.data[1]},
                                              {"var", vector, r.data[2]}}});
        near_list(running_mean, cols, c, "running_mean", 5e-7);
        near_list(running_var, cols, c, "running_var", 5e-7);
        assert_int_equal(tracked, integer(c, "num_batches_tracked"));
        op_result_free(&none);
        op_result_free(&diff);
        op_result_free(&r);
        free(src);
        free(weight);
        free(bias);
        free(running_mean);
        free(running_var);
        free(cotangent);
    }
    assert_true(i >= 3);
}

/* Forward and gradient of an op without parameters; the gradient looks at output `saved`, if not negative. `attrs` ends with
 * NULL. */
static void check_plain(const char *name, int i, const json_t *c, const struct op_attr *attrs, int saved,
                        bool third_is_zero)
{
    struct dg_desc desc = shape_of(c);
    char grad_name[64];
    snprintf(grad_name, sizeof grad_name, "%s_grad", name);
    float *src = values(1, dg_desc_count(&desc), "ops.%s%d.src", name, i);
    for (int64_t k = 0; third_is_zero && k < dg_desc_count(&desc); k += 3) src[k] = 0;
    struct op_run op = {.op = name, .input = {{NULL, desc, src}}};
    for (int a = 0; attrs[a].name; a++) op.attrs[a] = attrs[a];
    struct op_result r = op_run(&op);
    int64_t count = dg_desc_count(&r.desc[0]);
    near_list(r.data[0], count, c, "forward", 1e-6);
    float *cotangent = values(1, count, "ops.%s%d.cotangent", name, i);
    struct op_run grad = {.op = grad_name, .input = {{NULL, r.desc[0], cotangent}}};
    if (saved >= 0) {
        grad.input[1].desc = r.desc[saved];
        grad.input[1].data = r.data[saved];
    }
    memcpy(grad.attrs, op.attrs, sizeof op.attrs);
    if (strcmp(name, "relu")) {
        op_set_attr(&grad, "height", (double)desc.dim[1]);
        op_set_attr(&grad, "width", (double)desc.dim[2]);
    }
    run_near(&grad, c, "diff_src");
    op_result_free(&r);
    free(src);
    free(cotangent);
}

static void test_pools(void **state)
{
    (void)state;
    static const char *const kinds[] = {"max_pool", "avg_pool"};
    for (int k = 0; k < 2; k++) {
        size_t i;
        int input = -1;
        const json_t *c;
        json_array_foreach(fixture(kinds[k]), i, c)
        {
            const json_t *counts = json_object_get(c, "count_include_pad");
            input += !json_is_false(counts); /* the same images again, with a border that does not count */
            struct op_attr attrs[] = {ATTR("kernel", number(c, "kernel")),
                                      ATTR("stride", number(c, "stride")),
                                      ATTR("pad", number(c, "pad")),
                                      ATTR("count_include_pad", json_is_true(counts)),
                                      {0}};
            if (k == 0) attrs[3].name = NULL;
            check_plain(kinds[k], input, c, attrs, k == 0 ? 1 : -1, false);
        }
        assert_true(i >= 4);
    }
}

static void test_global_avg_pool_and_relu(void **state)
{
    (void)state;
    size_t i;
    const json_t *c;
    const struct op_attr none = {0};
    json_array_foreach(fixture("global_avg_pool"), i, c) check_plain("global_avg_pool", (int)i, c, &none, -1, false);
    assert_true(i >= 2);
    json_array_foreach(fixture("relu"), i, c) check_plain("relu", (int)i, c, &none, 0, true);
    assert_true(i >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_global_avg_pool_and_relu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
        struct op_result r = op_run(&(struct op_run){.op = "add_position",
                                                     .attrs = {ATTR("grid_h", h), ATTR("grid_w", w)},
                                                     .num_inputs = 2,
                                                     .desc = {F32(1, tokens, 3), F32(1, rows, 3)},
                                                     .data = {zero, table}});
        near_list(r.data[0], tokens * 3, c, "forward", tolerance);
        op_result_free(&r);
        r = op_run(&(struct op_run){.op = "add_position_grad",
                                    .attrs = {ATTR("grid_h", h), ATTR("grid_w", w), ATTR("table_rows", rows)},
                                    .num_inputs = 2,
                                    .desc = {F32(1, tokens, 3), DG_ABSENT_DESC},
                                    .data = {cotangent}});
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
                                                      .num_inputs = 3,
                                                      .desc = {F32(2 * B, K), F32(1, K), scalar},
                                                      .data = {t, center, &teacher_temp},
                                                      .batch = B});
    struct op_result loss = op_run(&(struct op_run){
        .op = "dino_loss",
        .attrs = {ATTR("views", VIEWS)},
        .num_inputs = 4,
        .desc = {F32(VIEWS * B, K), target.desc[1], scalar, DG_ABSENT_DESC},
        .data = {s, target.data[1], &student_temp},
        .batch = B,
    });
    struct op_result diff = op_run(&(struct op_run){
        .op = "dino_loss_grad",
        .attrs = {ATTR("views", VIEWS)},
        .num_inputs = 4,
        .desc = {F32(VIEWS * B, K), target.desc[1], scalar, loss.desc[1]},
        .data = {s, target.data[1], &student_temp, loss.data[1]},
        .batch = B,
    });
    struct op_result update = op_run(&(struct op_run){.op = "center_update",
                                                      .num_inputs = 3,
                                                      .desc = {F32(1, K), target.desc[2], scalar},
                                                      .data = {center, target.data[2], &momentum}});
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
        /* The inputs that are scalars are those behind the teacher, but for AdamW's step count before it. */
        struct op_run op = {.op = kind, .attrs = {ATTR("norm_index", 0), ATTR("decay", !bias)}};
        if (adamw)
            memcpy(op.data,
                   (void *[]){param, grad, &norm, first, second, &done, teacher, &lr, &decay, &clip, &momentum, &beta2,
                              &eps, &average, &frozen},
                   sizeof(void *) * (size_t)(op.num_inputs = 15));
        else
            memcpy(
                op.data,
                (void *[]){param, grad, &norm, first, teacher, &lr, &decay, &clip, &momentum, &eta, &average, &frozen},
                sizeof(void *) * (size_t)(op.num_inputs = 12));
        for (int k = 0; k < op.num_inputs; k++) {
            void *tensors[] = {param, grad, first, second, teacher};
            op.desc[k] = dg_desc_scalar(DG_F64);
            for (int t = 0; t < 5; t++)
                if (op.data[k] == tensors[t]) op.desc[k] = desc;
        }
        op.desc[2] = dg_desc_make(DG_F64, 1, (int64_t[]){1});
        if (adamw) op.desc[5] = dg_desc_scalar(DG_I64);
        if (!strcmp(kind, "sgd")) op.desc[9] = DG_ABSENT_DESC;
        if (!freezes) op.desc[op.num_inputs - 1] = DG_ABSENT_DESC;
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
        struct op_run forward = {
            .op = "conv2d", .num_inputs = 2 + has_bias, .desc = {src_desc, weight_desc, bias_desc}};
        for (int a = 0; a < 6; a++) op_set_attr(&forward, keys[a], number(c, keys[a]));
        op_set_attr(&forward, "bias", has_bias);
        float *src = values(1, dg_desc_count(&src_desc), "ops.conv2d%d.src", (int)i);
        float *weight = values(1, dg_desc_count(&weight_desc), "ops.conv2d%d.weight", (int)i);
        float *bias = values(1, out, "ops.conv2d%d.bias", (int)i);
        memcpy(forward.data, (void *[]){src, weight, bias}, 3 * sizeof(void *));
        struct op_result r = op_run(&forward);
        struct dg_desc dst_desc = r.desc[0];
        int64_t count = dg_desc_count(&dst_desc);
        near_list(r.data[0], count, c, "forward", 2e-6);
        op_result_free(&r);

        float *cotangent = values(1, count, "ops.conv2d%d.cotangent", (int)i);
        struct op_run grad_src = {
            .op = "conv2d_grad_src", .num_inputs = 2, .desc = {dst_desc, weight_desc}, .data = {cotangent, weight}};
        struct op_run grad_weights = {.op = "conv2d_grad_weights",
                                      .num_inputs = 4,
                                      .desc = {src_desc, dst_desc, DG_ABSENT_DESC, DG_ABSENT_DESC},
                                      .data = {src, cotangent},
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
                            .num_inputs = 6,
                            .desc = {desc, vector, vector, vector, vector, counter},
                            .data = {src, weight, bias, running_mean, running_var, &tracked}};
        struct op_run eval = op;
        eval.eval = true;
        eval.unwanted = 6;
        run_near(&eval, c, "eval");
        struct op_result r = op_run(&op);
        near_list(r.data[0], count, c, "forward", 2e-6);
        struct op_result diff = op_run(&(struct op_run){
            .op = "batch_norm_grad",
            .attrs = {ATTR("eps", eps), ATTR("momentum", momentum)},
            .num_inputs = 8,
            .desc = {desc, desc, vector, vector, vector, DG_ABSENT_DESC, DG_ABSENT_DESC, DG_ABSENT_DESC},
            .data = {cotangent, src, weight, r.data[1], r.data[2]}});
        near_list(diff.data[0], count, c, "diff_src", 5e-6);
        near_list(diff.data[1], cols, c, "diff_weight", 2e-6);
        near_list(diff.data[2], cols, c, "diff_bias", 2e-6);
        struct op_result none =
            op_run(&(struct op_run){.op = "batch_norm_update",
                                    .attrs = {ATTR("momentum", momentum), ATTR("count", count / cols)},
                                    .num_inputs = 5,
                                    .desc = {vector, vector, counter, vector, vector},
                                    .data = {running_mean, running_var, &tracked, r.data[1], r.data[2]}});
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
    struct op_run op = {.op = name, .num_inputs = 1, .desc = {desc}, .data = {src}};
    for (int a = 0; attrs[a].name; a++) op.attrs[a] = attrs[a];
    struct op_result r = op_run(&op);
    int64_t count = dg_desc_count(&r.desc[0]);
    near_list(r.data[0], count, c, "forward", 1e-6);
    float *cotangent = values(1, count, "ops.%s%d.cotangent", name, i);
    struct op_run grad = {.op = grad_name, .num_inputs = 1 + (saved >= 0), .desc = {r.desc[0]}, .data = {cotangent}};
    if (saved >= 0) {
        grad.desc[1] = r.desc[saved];
        grad.data[1] = r.data[saved];
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

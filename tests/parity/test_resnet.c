/* Ten steps of ResNet-50 and a head with batch norm against PyTorch and torchvision, for each optimiser: 2 crops of 224 and
 * 4 of 96, batch 4, out_dim 1024, from the same weights and the same crops.
 *
 * Tolerances are those of the ViT runs, or three times the distance of PyTorch's own f32 run from its f64 run where that is
 * wider, tensor by tensor: batch norm and the kinks of ReLU make more of rounding than a ViT does
 * (tests/reference/make_parity_resnet.py). */
#include "tests/support/parity.h"

#include <math.h>

enum { BATCH = 4 };

static const char *const all[] = {"head.with.out_dim=1024", "head.with.bn=true",      "crops.local.count=4",
                                  "teacher.momentum=0.99",  "loss.teacher_temp=0.04", "epochs=1"};
enum { ALL = sizeof all / sizeof *all };

static const struct run {
    const char *name, *plan, *fixture, *set[3];
} runs[] = {
    {"adamw",
     "adamw.plan",
     "parity_resnet_adamw.json",
     {"optim={kind: adamw, clip: 0, freeze: {params: last_layer, for: 0 epochs}}", "lr=5e-4 * batch / 256",
      "weight_decay=0.04"}},
    {"sgd",
     "sgd.plan",
     "parity_resnet_sgd.json",
     {"optim={kind: sgd, clip: 0, freeze: {params: last_layer, for: 0 epochs}}", "lr=0.03 * batch / 256",
      "weight_decay=1e-4"}},
    {"lars",
     "lars.plan",
     "parity_resnet_lars.json",
     {"optim={kind: lars, clip: 0, freeze: {params: last_layer, for: 0 epochs}}", "lr=0.3 * batch / 256",
      "weight_decay=1e-6"}},
};
enum { RUNS = sizeof runs / sizeof *runs };

static int setup(void **state)
{
    (void)state;
    if (make_test_folder(state)) return 1;
    for (int r = 0; r < RUNS; r++)
        dg_parity_compile(runs[r].plan, "dino_resnet50_800ep.yaml", BATCH, all, ALL, runs[r].set, 3);
    dg_parity_write_crops("crops", BATCH, 0, DG_PARITY_STEPS);
    dg_parity_write_weights("weights", runs[0].plan);
    return 0;
}

/* --- the log --- */

static void compare_step(const json_t *got, const json_t *want)
{
    static const struct {
        const char *key;
        double relative;
    } results[] = {{"loss", 1e-5}, {"teacher_entropy", 1e-5}, {"kl", 3e-4}, {"grad_norm", 1e-3}};
    /* A number's difference may be small by chance; those of the steps before it say how small it can be. */
    static double spread[4];
    if (dg_parity_number(want, "step") == 0) memset(spread, 0, sizeof spread);
    dg_parity_near_schedules(got, want);
    for (int i = 0; i < 4; i++) {
        const char *key = results[i].key;
        spread[i] = fmax(spread[i], dg_parity_number(json_object_get(want, "spread"), key));
        dg_parity_near(key, got, want, fmax(results[i].relative * fabs(dg_parity_number(want, key)), 3 * spread[i]));
    }
}

/* --- tensors --- */

/* The largest difference from PyTorch, as a share of what is allowed. */
struct worst {
    double share;
    char name[256];
};

/* A tensor times `scale`, or what it moved from `initial` if that is given. */
static void compare(struct worst *worst, const struct dg_safetensors_tensor *tensor, const char *name, double scale,
                    const float *initial, const json_t *summary, double limit)
{
    int64_t count = dg_safetensors_elements(tensor);
    float *values = dg_parity_floats(tensor);
    for (int64_t i = 0; initial && i < count; i++) values[i] -= initial[i];
    double error = dg_parity_distance(values, count, name, scale, summary);
    limit = fmax(limit, 3 * dg_parity_number(summary, "spread"));
    if (!isnan(worst->share) && !(error <= limit * worst->share)) { /* a NaN is the worst, and stays */
        worst->share = error / limit;
        snprintf(worst->name, sizeof worst->name, "%s", tensor->name);
    }
    free(values);
}

static void check_worst(const struct worst *worst)
{
    if (!(worst->share <= 1)) fail_msg("%s differs by %g times what is allowed", worst->name, worst->share);
}

/* Every parameter of one network (or the centre), within 2e-3 of what it moved and ten roundings of its value. */
static void compare_network(const struct dg_safetensors *file, const char *prefix, const json_t *expected)
{
    const char *name;
    json_t *summary;
    struct worst worst = {0};
    assert_true(json_object_size(expected) > 0);
    json_object_foreach((json_t *)(uintptr_t)expected, name, summary)
    {
        const struct dg_safetensors_tensor *tensor = dg_parity_find(file, prefix, name);
        char full[256];
        snprintf(full, sizeof full, "student.%s", name);
        float *initial = calloc(1, tensor->bytes + 1); /* the centre's: zeros */
        assert_non_null(initial);
        if (*prefix) dg_initial_value(full, tensor->ndim, tensor->dim, initial);
        double limit = 2e-3 * dg_parity_number(summary, "moved") + 10 * 0x1p-24 * dg_parity_number(summary, "norm");
        compare(&worst, tensor, name, 1, initial, summary, limit);
        free(initial);
    }
    check_worst(&worst);
}

/* Running statistics within 1e-5 of their norm; counters equal. */
static void compare_buffers(const struct dg_safetensors *file, const json_t *expected)
{
    const char *name;
    json_t *summary;
    struct worst worst = {0};
    size_t counters = 0;
    json_object_foreach((json_t *)(uintptr_t)expected, name, summary)
    {
        const struct dg_safetensors_tensor *tensor = dg_parity_find(file, "", name);
        if (json_is_integer(summary)) {
            int64_t got;
            assert_int_equal(tensor->dtype, DG_SAFETENSORS_I64);
            memcpy(&got, tensor->data, sizeof got);
            if (got != json_integer_value(summary))
                fail_msg("%s is %lld, expected %lld", name, (long long)got, json_integer_value(summary));
            counters++;
        } else {
            const char *rest = strchr(name, '.') + 1; /* without student. or teacher. */
            compare(&worst, tensor, rest, 1, NULL, summary, 1e-5 * dg_parity_number(summary, "norm"));
        }
    }
    assert_int_equal(counters, 2 * (53 + 2)); /* of two networks, backbone and head */
    assert_int_equal(json_object_size(expected), 3 * counters);
    check_worst(&worst);
}

static void check_run(const struct run *run)
{
#ifdef __SANITIZE_ADDRESS__
    skip(); /* minutes each; the first step goes through all the code but the optimisers, which have tests of their own */
#endif
    json_t *expected = dg_parity_fixture(run->fixture);
    dg_parity_train(run->plan, "crops", run->name, -1, false);
    dg_parity_compare_log(run->name, expected, compare_step);
    struct dg_safetensors *file = dg_parity_checkpoint(run->name);
    compare_network(file, "student.", json_object_get(expected, "student"));
    compare_network(file, "teacher.", json_object_get(expected, "teacher"));
    compare_network(file, "", json_object_get(expected, "center"));
    compare_buffers(file, json_object_get(expected, "last_buffers"));
    dg_safetensors_close(file);
    json_decref(expected);
}

static void test_adamw(void **state)
{
    (void)state;
    check_run(&runs[0]);
}

static void test_sgd(void **state)
{
    (void)state;
    check_run(&runs[1]);
}

static void test_lars(void **state)
{
    (void)state;
    check_run(&runs[2]);
}

/* After one step, the first moment is a tenth of the gradient. */
static void test_first_step(void **state)
{
    (void)state;
    json_t *expected = dg_parity_fixture(runs[0].fixture), *summary;
    dg_parity_train(runs[0].plan, "crops", "first", 1, false);
    struct dg_safetensors *file = dg_parity_checkpoint("first");
    const char *name;
    struct worst worst = {0};
    json_object_foreach(json_object_get(expected, "gradients"), name, summary)
        compare(&worst, dg_parity_find(file, "optim.exp_avg.student.", name), name, 10, NULL, summary,
                1e-4 * dg_parity_number(summary, "norm"));
    check_worst(&worst);
    compare_buffers(file, json_object_get(expected, "buffers"));
    dg_safetensors_close(file);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_step), cmocka_unit_test(test_adamw),
                                       cmocka_unit_test(test_sgd), cmocka_unit_test(test_lars)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

/* Ten steps of ViT-Tiny/16 against PyTorch: 2 crops of 224 and 4 of 96, batch 2, out_dim 1024, from the same weights and the
 * same crops. */
#include "tests/support/parity.h"

#include <math.h>

enum { BATCH = 2, STEPS = DG_PARITY_STEPS, PER_EPOCH = 5 };

static void compile(const char *plan, const char *const *more, int num_more)
{
    static const char *const all[] = {"student.backbone=vit_tiny", "student.with.drop_path=0", "head.with.out_dim=1024",
                                      "crops.local.count=4"};
    dg_parity_compile(plan, "dino_vits16_100ep.yaml", BATCH, all, 4, more, num_more);
}

static int setup(void **state)
{
    (void)state;
    if (make_test_folder(state)) return 1;
    static const char *const constants[] = {"lr=5e-4",      "weight_decay=0.04",         "teacher.momentum=0.99",
                                            "optim.clip=0", "optim.freeze.for=0 epochs", "epochs=1"};
    static const char *const schedules[] = {
        "epochs=2",
        "lr={curve: cosine, peak: 5e-4, to: 1e-6, warmup: 1 epoch}",
        "weight_decay={curve: cosine, from: 0.04, to: 0.4}",
        "teacher.momentum={curve: cosine, from: 0.996, to: 1}",
        "loss.teacher_temp={curve: linear, from: 0.04, to: 0.07, over: 2 epochs, per: epoch}",
        "optim.clip=0.3",
        "optim.freeze.for=1 epoch"};
    compile("a.plan", constants, 6);
    compile("b.plan", schedules, 7);
    dg_parity_write_crops("crops", BATCH, 0, STEPS);
    dg_parity_write_crops("crops0", BATCH, 0, PER_EPOCH);
    dg_parity_write_crops("crops1", BATCH, PER_EPOCH, PER_EPOCH);
    dg_parity_write_weights("weights", "a.plan");
    return 0;
}

static void compare_step(const json_t *got, const json_t *want)
{
    static const struct {
        const char *key;
        double relative;
    } results[] = {
        {"loss", 1e-5}, {"teacher_entropy", 1e-5}, {"kl", 3e-4 /* a difference of the two */}, {"grad_norm", 1e-3}};
    dg_parity_near_schedules(got, want);
    for (int i = 0; i < 4; i++)
        dg_parity_near(results[i].key, got, want, results[i].relative * fabs(dg_parity_number(want, results[i].key)));
}

static double distance(const struct dg_safetensors_tensor *tensor, const char *name, double scale,
                       const json_t *summary)
{
    float *values = dg_parity_floats(tensor);
    double result = dg_parity_distance(values, dg_safetensors_elements(tensor), name, scale, summary);
    free(values);
    return result;
}

/* Every tensor of one network (or the centre) within 2e-3 of what it moved, and ten roundings of its value; the key third of
 * qkv.bias has an exact gradient of zero, so Adam moves it by rounding noise. */
static void compare_network(const struct dg_safetensors *file, const char *prefix, const json_t *expected)
{
    const char *name;
    json_t *summary;
    assert_true(json_object_size(expected) > 0);
    json_object_foreach((json_t *)(uintptr_t)expected, name, summary)
    {
        size_t length = strlen(name);
        double share = length > 8 && !strcmp(name + length - 8, "qkv.bias") ? 2e-2 : 2e-3;
        double limit = share * dg_parity_number(summary, "moved") + 10 * 0x1p-24 * dg_parity_number(summary, "norm");
        double error = distance(dg_parity_find(file, prefix, name), name, 1, summary);
        if (!(error <= limit)) fail_msg("%s%s differs by %g, %g allowed", prefix, name, error, limit);
    }
}

static void compare_state(const char *run, const json_t *expected)
{
    struct dg_safetensors *file = dg_parity_checkpoint(run);
    compare_network(file, "student.", json_object_get(expected, "student"));
    compare_network(file, "teacher.", json_object_get(expected, "teacher"));
    compare_network(file, "", json_object_get(expected, "center"));
    dg_safetensors_close(file);
}

static void test_constants(void **state)
{
    (void)state;
    json_t *expected = dg_parity_fixture("parity_a.json");
    /* Run a's epoch is longer here: ten recorded steps are one. Its constants do not know. */
    dg_parity_train("a.plan", "crops", "a", -1, false);
    dg_parity_compare_log("a", expected, compare_step);
    compare_state("a", expected);
    json_decref(expected);
}

/* After one step, the first moment is a tenth of the gradient. */
static void test_first_gradients(void **state)
{
    (void)state;
    json_t *expected = dg_parity_fixture("parity_a.json"), *summary;
    dg_parity_train("a.plan", "crops", "first", 1, false);
    struct dg_safetensors *file = dg_parity_checkpoint("first");
    const char *name;
    json_object_foreach(json_object_get(expected, "gradients"), name, summary)
    {
        double error = distance(dg_parity_find(file, "optim.exp_avg.student.", name), name, 10, summary);
        double limit = 1e-4 * dg_parity_number(summary, "norm");
        if (!(error <= limit)) fail_msg("gradient of %s differs by %g, %g allowed", name, error, limit);
    }
    dg_safetensors_close(file);
    json_decref(expected);
}

static void assert_initial(const struct dg_safetensors *file, const char *name)
{
    const struct dg_safetensors_tensor *tensor = dg_parity_find(file, "student.head.", name);
    char full[256];
    snprintf(full, sizeof full, "student.head.%s", name);
    float *got = dg_parity_floats(tensor), *want = malloc(tensor->bytes);
    assert_non_null(want);
    dg_initial_value(full, tensor->ndim, tensor->dim, want);
    assert_memory_equal(got, want, tensor->bytes);
    free(got);
    free(want);
}

/* Clip, freeze and all schedules, two epochs of five steps; the second is a resumed run, on its own recorded crops. */
static void test_schedules(void **state)
{
    (void)state;
    json_t *expected = dg_parity_fixture("parity_b.json");
    struct dg_safetensors *file;
    dg_parity_train("b.plan", "crops0", "b", PER_EPOCH, false);
    file = dg_parity_checkpoint("b");
    assert_initial(file, "last_layer.weight_v"); /* frozen for an epoch */
    assert_initial(file, "last_layer.weight_g");
    assert_int_equal(*(const int64_t *)dg_parity_find(file, "optim.step.student.head.last_layer.weight_v", "")->data,
                     0);
    dg_safetensors_close(file);
    dg_parity_train("b.plan", "crops1", "b", -1, true);
    dg_parity_compare_log("b", expected, compare_step);
    compare_state("b", expected);
    file = dg_parity_checkpoint("b");
    assert_initial(file, "last_layer.weight_g"); /* never trained */
    dg_safetensors_close(file);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constants), cmocka_unit_test(test_first_gradients),
                                       cmocka_unit_test(test_schedules)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

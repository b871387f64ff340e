/* Ten steps of ViT-Tiny/16 against PyTorch: 2 crops of 224 and 4 of 96, batch 2, out_dim 1024, from the same weights and the
 * same crops. Tensors are compared by sixteen random projections, which estimate the L2 distance to 18 %. */
#include "compiler/compile.h"
#include "runtime/safetensors.h"
#include "runtime/train.h"
#include "tests/support/values.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BATCH = 2, VIEWS = 6, STEPS = 10, PER_EPOCH = 5 };

static char folder[] = "/tmp/dinograph-parity-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][1024];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void must(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) fail_msg("%s", err->text);
}

static void compile(const char *name, const char *const *more, int num_more)
{
    const char *set[32] = {"student.backbone=vit_tiny", "student.with.drop_path=0", "head.with.out_dim=1024",
                           "crops.local.count=4"};
    int count = 4;
    for (int i = 0; i < num_more; i++) set[count++] = more[i];
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/dino_vits16_100ep.yaml",
                                         .output = in_folder(name),
                                         .set = set,
                                         .num_sets = count,
                                         .batch = BATCH};
    struct dg_compile_result result;
    struct dg_error err = {0};
    enum dg_status status = dg_compile(&options, &result, &err);
    if (status != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
    dg_compile_result_free(&result);
}

/* Recorded crops of steps first .. first + count - 1. */
static void write_crops(const char *file, int first, int count)
{
    struct dg_safetensors_item item[STEPS * VIEWS];
    char name[STEPS * VIEWS][32];
    int items = 0;
    for (int s = 0; s < count; s++)
        for (int v = 0; v < VIEWS; v++, items++) {
            int64_t size = v < 2 ? 224 : 96, numbers = BATCH * 3 * size * size;
            float *data = malloc(sizeof *data * (size_t)numbers);
            assert_non_null(data);
            char source[32];
            snprintf(source, sizeof source, "step%d.crop%d", first + s, v);
            dg_named_uniform(source, numbers, -2, 2, data);
            snprintf(name[items], sizeof name[0], "step%d.crop%d", s, v);
            item[items] =
                (struct dg_safetensors_item){name[items], DG_SAFETENSORS_F32, 4, {BATCH, 3, size, size}, data};
        }
    struct dg_error err = {0};
    must(dg_safetensors_write(in_folder(file), item, items, NULL, 0, &err), &err);
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
}

/* The student's initial weights, with names and shapes from the plan. */
static void write_weights(const char *file, const char *plan_file)
{
    struct dg_plan plan;
    struct dg_error err = {0};
    must(dg_plan_open(in_folder(plan_file), &plan, &err), &err);
    const struct dg_plan_entry *entry;
    must(dg_plan_find_entry(&plan, "train", &entry, &err), &err);
    struct dg_safetensors_item *item = calloc(entry->num_tensors, sizeof *item);
    assert_non_null(item);
    int items = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan.tensor[t];
        const char *name = dg_plan_string(&plan, tensor->name);
        if (tensor->region != DG_REGION_PARAM || strncmp(name, "student.", 8)) continue;
        float *data = malloc(tensor->bytes);
        assert_non_null(data);
        dg_initial_value(name, tensor->ndim, tensor->dim, data);
        item[items] =
            (struct dg_safetensors_item){.name = name, .dtype = DG_SAFETENSORS_F32, .ndim = tensor->ndim, .data = data};
        memcpy(item[items++].dim, tensor->dim, sizeof(int64_t) * tensor->ndim);
    }
    must(dg_safetensors_write(in_folder(file), item, items, NULL, 0, &err), &err);
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
    free(item);
    dg_plan_close(&plan);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return 1;
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
    write_crops("crops", 0, STEPS);
    write_crops("crops0", 0, PER_EPOCH);
    write_crops("crops1", PER_EPOCH, PER_EPOCH);
    write_weights("weights", "a.plan");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void train(const char *plan_file, const char *crops, const char *out, int64_t steps, bool resume)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_error err = {0};
    must(dg_plan_open(in_folder(plan_file), &plan, &err), &err);
    must(dg_knobs_open(&plan, &knobs, &err), &err);
    struct dg_train_options options = {.replay = in_folder(crops),
                                       .out = in_folder(out),
                                       .init = resume ? NULL : in_folder("weights"),
                                       .resume = resume,
                                       .steps = steps,
                                       .threads = 2};
    must(dg_train(&plan, &knobs, &options, &err), &err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

static json_t *fixture(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s", DG_SOURCE_DIR, name);
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json) fail_msg("%s: %s", path, error.text);
    return json;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

static void near(const char *what, long step, double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("step %ld, %s: %.12g, expected %.12g", step, what, got, want);
}

static void compare_log(const char *run, const json_t *expected)
{
    char line[1024], path[64];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    FILE *log = fopen(in_folder(path), "r");
    assert_non_null(log);
    const json_t *steps = json_object_get(expected, "steps");
    for (size_t s = 0; s < json_array_size(steps); s++) {
        const json_t *want = json_array_get(steps, s);
        assert_non_null(fgets(line, sizeof line, log));
        json_t *got = json_loads(line, 0, NULL);
        assert_non_null(got);
        static const char *const exact[] = {"step", "epoch"}, *const losses[] = {"loss", "teacher_entropy"},
                                 *const schedules[] = {"lr", "weight_decay", "momentum", "teacher_temp"};
        /* Run a's epoch is longer here: ten recorded steps are one. Its constants do not know. */
        for (int i = 0; i < 2; i++) near(exact[i], (long)s, number(got, exact[i]), number(want, exact[i]), 0);
        for (int i = 0; i < 2; i++) near(losses[i], (long)s, number(got, losses[i]), number(want, losses[i]), 1e-5);
        for (int i = 0; i < 4; i++)
            near(schedules[i], (long)s, number(got, schedules[i]), number(want, schedules[i]), 1e-14);
        near("kl", (long)s, number(got, "kl"), number(want, "kl"), 3e-4); /* a difference of the two losses */
        near("grad_norm", (long)s, number(got, "grad_norm"), number(want, "grad_norm"), 1e-3);
        json_decref(got);
    }
    assert_null(fgets(line, sizeof line, log));
    fclose(log);
}

static const struct dg_safetensors_tensor *find(const struct dg_safetensors *file, const char *prefix, const char *name)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct dg_safetensors_tensor *tensor = dg_safetensors_find(file, full);
    if (!tensor) fail_msg("the checkpoint has no %s", full);
    return tensor;
}

static float *floats(const struct dg_safetensors_tensor *tensor)
{
    float *values = malloc(tensor->bytes + 1);
    assert_non_null(values);
    assert_int_equal(dg_safetensors_read_f32(tensor, values), DG_OK);
    return values;
}

/* The L2 distance between a tensor times `scale` and one known by its summary, as the projections estimate it. */
static double distance(const struct dg_safetensors_tensor *tensor, const char *name, double scale,
                       const json_t *summary)
{
    double proj[DG_PROJECTIONS], sum = 0;
    float *values = floats(tensor);
    dg_projections(name, values, dg_safetensors_elements(tensor), scale, proj);
    free(values);
    for (int j = 0; j < DG_PROJECTIONS; j++) {
        double d = proj[j] - json_number_value(json_array_get(json_object_get(summary, "proj"), (size_t)j));
        sum += d * d;
    }
    return sqrt(sum / DG_PROJECTIONS);
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
        double limit = share * number(summary, "moved") + 10 * 0x1p-24 * number(summary, "norm");
        double error = distance(find(file, prefix, name), name, 1, summary);
        if (!(error <= limit)) fail_msg("%s%s differs by %g, %g allowed", prefix, name, error, limit);
    }
}

static void compare_state(const char *run, const json_t *expected)
{
    char path[256];
    struct dg_safetensors *file;
    struct dg_error err = {0};
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", run);
    must(dg_safetensors_open(in_folder(path), &file, &err), &err);
    compare_network(file, "student.", json_object_get(expected, "student"));
    compare_network(file, "teacher.", json_object_get(expected, "teacher"));
    compare_network(file, "", json_object_get(expected, "center"));
    dg_safetensors_close(file);
}

static void test_constants(void **state)
{
    (void)state;
    json_t *expected = fixture("parity_a.json");
    train("a.plan", "crops", "a", -1, false);
    compare_log("a", expected);
    compare_state("a", expected);
    json_decref(expected);
}

/* After one step, the first moment is a tenth of the gradient. */
static void test_first_gradients(void **state)
{
    (void)state;
    json_t *expected = fixture("parity_a.json"), *summary;
    train("a.plan", "crops", "first", 1, false);
    struct dg_safetensors *file;
    struct dg_error err = {0};
    must(dg_safetensors_open(in_folder("first/checkpoint.safetensors"), &file, &err), &err);
    const char *name;
    json_object_foreach(json_object_get(expected, "gradients"), name, summary)
    {
        double error = distance(find(file, "optim.exp_avg.student.", name), name, 10, summary);
        double limit = 1e-4 * number(summary, "norm");
        if (!(error <= limit)) fail_msg("gradient of %s differs by %g, %g allowed", name, error, limit);
    }
    dg_safetensors_close(file);
    json_decref(expected);
}

static void assert_initial(const struct dg_safetensors *file, const char *name)
{
    const struct dg_safetensors_tensor *tensor = find(file, "student.head.", name);
    char full[256];
    snprintf(full, sizeof full, "student.head.%s", name);
    float *got = floats(tensor), *want = malloc(tensor->bytes);
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
    json_t *expected = fixture("parity_b.json");
    struct dg_safetensors *file;
    struct dg_error err = {0};
    train("b.plan", "crops0", "b", PER_EPOCH, false);
    must(dg_safetensors_open(in_folder("b/checkpoint.safetensors"), &file, &err), &err);
    assert_initial(file, "last_layer.weight_v"); /* frozen for an epoch */
    assert_initial(file, "last_layer.weight_g");
    assert_int_equal(*(const int64_t *)find(file, "optim.step.student.head.last_layer.weight_v", "")->data, 0);
    dg_safetensors_close(file);
    train("b.plan", "crops1", "b", -1, true);
    compare_log("b", expected);
    compare_state("b", expected);
    must(dg_safetensors_open(in_folder("b/checkpoint.safetensors"), &file, &err), &err);
    assert_initial(file, "last_layer.weight_g"); /* never trained */
    dg_safetensors_close(file);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constants), cmocka_unit_test(test_first_gradients),
                                       cmocka_unit_test(test_schedules)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

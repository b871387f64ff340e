/* What the parity tests share: recorded crops, initial weights, a run, and its log and checkpoint beside what PyTorch has
 * (tests/reference/values.py says what both sides make from names). Tensors are compared by sixteen random projections,
 * which estimate the L2 distance to 18 %. */
#ifndef DG_TESTS_RUNTIME_PARITY_H
#define DG_TESTS_RUNTIME_PARITY_H

#include "compiler/compile.h"
#include "runtime/formats/safetensors.h"
#include "runtime/train/train.h"
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

enum { DG_PARITY_STEPS = 10, DG_PARITY_VIEWS = 6 };

static char dg_parity_folder[] = "/tmp/dinograph-parity-XXXXXX";

/* Of a file in the folder; the last four stay valid. */
static inline const char *dg_parity_path(const char *name)
{
    static char path[4][1024];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dg_parity_folder, name);
    return p;
}

static inline void dg_parity_must(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) fail_msg("%s", err->text);
}

/* Compiles a recipe of graphs/ with the first settings and then the others. */
static inline void dg_parity_compile(const char *plan, const char *recipe, int batch, const char *const *first,
                                     int num_first, const char *const *more, int num_more)
{
    char file[1024];
    const char *set[32];
    int count = 0;
    snprintf(file, sizeof file, "%s/graphs/%s", DG_SOURCE_DIR, recipe);
    assert_true(num_first + num_more <= 32);
    for (int i = 0; i < num_first; i++) set[count++] = first[i];
    for (int i = 0; i < num_more; i++) set[count++] = more[i];
    struct dg_compile_options options = {
        .file = file, .output = dg_parity_path(plan), .set = set, .num_sets = count, .batch = batch};
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
    dg_compile_result_free(&result);
}

/* Recorded crops of steps first .. first + count - 1: two of 224 pixels, four of 96. */
static inline void dg_parity_write_crops(const char *file, int batch, int first, int count)
{
    struct dg_safetensors_item item[DG_PARITY_STEPS * DG_PARITY_VIEWS];
    char name[DG_PARITY_STEPS * DG_PARITY_VIEWS][32];
    int items = 0;
    for (int s = 0; s < count; s++)
        for (int v = 0; v < DG_PARITY_VIEWS; v++, items++) {
            int64_t size = v < 2 ? 224 : 96, numbers = batch * 3 * size * size;
            float *data = malloc(sizeof *data * (size_t)numbers);
            assert_non_null(data);
            char source[32];
            snprintf(source, sizeof source, "step%d.crop%d", first + s, v);
            dg_named_uniform(source, numbers, -2, 2, data);
            snprintf(name[items], sizeof name[0], "step%d.crop%d", s, v);
            item[items] =
                (struct dg_safetensors_item){name[items], DG_SAFETENSORS_F32, 4, {batch, 3, size, size}, data};
        }
    struct dg_error err = {0};
    dg_parity_must(dg_safetensors_write(dg_parity_path(file), item, items, NULL, 0, &err), &err);
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
}

/* The student's initial weights, with names and shapes from the plan; running statistics begin as they do. */
static inline void dg_parity_write_weights(const char *file, const char *plan_file)
{
    struct dg_plan plan;
    struct dg_error err = {0};
    dg_parity_must(dg_plan_open(dg_parity_path(plan_file), &plan, &err), &err);
    const struct dg_plan_entry *entry;
    dg_parity_must(dg_plan_find_entry(&plan, "train", &entry, &err), &err);
    struct dg_safetensors_item *item = calloc(entry->num_tensors, sizeof *item);
    assert_non_null(item);
    int items = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan.tensor[t];
        const char *name = dg_plan_string(&plan, tensor->name);
        if (tensor->region != DG_REGION_PARAM || strncmp(name, "student.", 8)) continue;
        bool counter = tensor->dtype == DG_I64;
        float *data = calloc(1, tensor->bytes);
        assert_non_null(data);
        if (!counter) dg_initial_value(name, tensor->ndim, tensor->dim, data);
        item[items] = (struct dg_safetensors_item){.name = name,
                                                   .dtype = counter ? DG_SAFETENSORS_I64 : DG_SAFETENSORS_F32,
                                                   .ndim = tensor->ndim,
                                                   .data = data};
        memcpy(item[items++].dim, tensor->dim, sizeof(int64_t) * tensor->ndim);
    }
    dg_parity_must(dg_safetensors_write(dg_parity_path(file), item, items, NULL, 0, &err), &err);
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
    free(item);
    dg_plan_close(&plan);
}

/* A run on recorded crops from the file "weights", or resumed. */
static inline void dg_parity_train(const char *plan_file, const char *crops, const char *out, int64_t steps,
                                   bool resume)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_error err = {0};
    dg_parity_must(dg_plan_open(dg_parity_path(plan_file), &plan, &err), &err);
    dg_parity_must(dg_knobs_open(&plan, &knobs, &err), &err);
    struct dg_train_options options = {.replay = dg_parity_path(crops),
                                       .out = dg_parity_path(out),
                                       .init = resume ? NULL : dg_parity_path("weights"),
                                       .resume = resume,
                                       .steps = steps,
                                       .threads = 2};
    dg_parity_must(dg_train(&plan, &knobs, &options, &err), &err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

static inline struct dg_safetensors *dg_parity_checkpoint(const char *run)
{
    char path[256];
    struct dg_safetensors *file;
    struct dg_error err = {0};
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", run);
    dg_parity_must(dg_safetensors_open(dg_parity_path(path), &file, &err), &err);
    return file;
}

static inline json_t *dg_parity_fixture(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s", DG_SOURCE_DIR, name);
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json) fail_msg("%s: %s", path, error.text);
    return json;
}

static inline double dg_parity_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* `key` of a line of the log and of the step that it should be. */
static inline void dg_parity_near(const char *key, const json_t *got, const json_t *want, double limit)
{
    double a = dg_parity_number(got, key), b = dg_parity_number(want, key);
    if (!(fabs(a - b) <= limit))
        fail_msg("step %g, %s: %.12g, expected %.12g, %g allowed", dg_parity_number(want, "step"), key, a, b, limit);
}

/* The schedules' values of a step. */
static inline void dg_parity_near_schedules(const json_t *got, const json_t *want)
{
    static const char *const exact[] = {"step", "epoch"}, *const schedules[] = {"lr", "weight_decay", "momentum",
                                                                                "teacher_temp"};
    for (int i = 0; i < 2; i++) dg_parity_near(exact[i], got, want, 0);
    for (int i = 0; i < 4; i++)
        dg_parity_near(schedules[i], got, want, 1e-14 * fabs(dg_parity_number(want, schedules[i])));
}

/* Each line of a run's log with the step of the fixture. */
static inline void dg_parity_compare_log(const char *run, const json_t *expected,
                                         void compare(const json_t *got, const json_t *want))
{
    char line[1024], path[64];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    FILE *log = fopen(dg_parity_path(path), "r");
    assert_non_null(log);
    const json_t *steps = json_object_get(expected, "steps");
    assert_int_equal(json_array_size(steps), DG_PARITY_STEPS);
    for (size_t s = 0; s < DG_PARITY_STEPS; s++) {
        assert_non_null(fgets(line, sizeof line, log));
        json_t *got = json_loads(line, 0, NULL);
        assert_non_null(got);
        compare(got, json_array_get(steps, s));
        json_decref(got);
    }
    assert_null(fgets(line, sizeof line, log));
    fclose(log);
}

static inline const struct dg_safetensors_tensor *dg_parity_find(const struct dg_safetensors *file, const char *prefix,
                                                                 const char *name)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct dg_safetensors_tensor *tensor = dg_safetensors_find(file, full);
    if (!tensor) fail_msg("the checkpoint has no %s", full);
    return tensor;
}

static inline float *dg_parity_floats(const struct dg_safetensors_tensor *tensor)
{
    float *values = malloc(tensor->bytes + 1);
    assert_non_null(values);
    assert_int_equal(dg_safetensors_read_f32(tensor, values), DG_OK);
    return values;
}

/* The L2 distance between values times `scale` and those known by a summary, as the projections estimate it. */
static inline double dg_parity_distance(const float *values, int64_t count, const char *name, double scale,
                                        const json_t *summary)
{
    double proj[DG_PROJECTIONS], sum = 0;
    const json_t *want = json_object_get(summary, "proj");
    assert_int_equal(json_array_size(want), DG_PROJECTIONS);
    dg_projections(name, values, count, scale, proj);
    for (int j = 0; j < DG_PROJECTIONS; j++) {
        double d = proj[j] - json_number_value(json_array_get(want, (size_t)j));
        sum += d * d;
    }
    return sqrt(sum / DG_PROJECTIONS);
}

static inline int dg_parity_setup(void) { return mkdtemp(dg_parity_folder) ? 0 : 1; }

static inline int dg_parity_teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dg_parity_folder);
    return system(command);
}

#endif

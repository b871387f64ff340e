#include "tests/support/parity.h"

#include "tests/support/compile.h"

#include <math.h>

void dg_parity_compile(const char *plan, const char *recipe, int batch, const char *const *first, int num_first,
                       const char *const *more, int num_more)
{
    char file[1024];
    const char *set[32];
    int count = 0;
    snprintf(file, sizeof file, "%s/graphs/%s", DG_SOURCE_DIR, recipe);
    assert_true(num_first + num_more <= 32);
    for (int i = 0; i < num_first; i++) set[count++] = first[i];
    for (int i = 0; i < num_more; i++) set[count++] = more[i];
    struct dg_compile_options options = {
        .file = file, .output = in(plan), .set = set, .num_sets = count, .batch = batch};
    compile_plan(&options);
}

void dg_parity_write_crops(const char *file, int batch, int first, int count)
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
    assert_ok(dg_safetensors_write(in(file), item, items, NULL, 0, try_err));
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
}

void dg_parity_write_weights(const char *file, const char *plan_file)
{
    struct dg_plan plan;
    assert_ok(dg_plan_open(in(plan_file), &plan, try_err));
    const struct dg_plan_entry *entry;
    assert_ok(dg_plan_find_entry(&plan, "train", &entry, try_err));
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
    assert_ok(dg_safetensors_write(in(file), item, items, NULL, 0, try_err));
    for (int i = 0; i < items; i++) free((void *)(uintptr_t)item[i].data);
    free(item);
    dg_plan_close(&plan);
}

void dg_parity_train(const char *plan_file, const char *crops, const char *out, int64_t steps, bool resume)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    assert_ok(dg_plan_open(in(plan_file), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    struct dg_train_options options = {.replay = in(crops),
                                       .out = in(out),
                                       .init = resume ? NULL : in("weights"),
                                       .resume = resume,
                                       .accept_changes = resume, /* of the type of products */
                                       .steps = steps,
                                       .threads = 2};
    assert_ok(dg_train(&plan, &knobs, &options, try_err));
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

struct dg_safetensors *dg_parity_checkpoint(const char *run)
{
    char path[256];
    struct dg_safetensors *file;
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", run);
    assert_ok(dg_safetensors_open(in(path), &file, try_err));
    return file;
}

json_t *dg_parity_fixture(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s", DG_SOURCE_DIR, name);
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json) fail_msg("%s: %s", path, error.text);
    return json;
}

double dg_parity_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

void dg_parity_near(const char *key, const json_t *got, const json_t *want, double limit)
{
    double a = dg_parity_number(got, key), b = dg_parity_number(want, key);
    if (!(fabs(a - b) <= limit))
        fail_msg("step %g, %s: %.12g, expected %.12g, %g allowed", dg_parity_number(want, "step"), key, a, b, limit);
}

void dg_parity_near_schedules(const json_t *got, const json_t *want)
{
    static const char *const exact[] = {"step", "epoch"}, *const schedules[] = {"lr", "weight_decay", "momentum",
                                                                                "teacher_temp"};
    for (int i = 0; i < 2; i++) dg_parity_near(exact[i], got, want, 0);
    for (int i = 0; i < 4; i++)
        dg_parity_near(schedules[i], got, want, 1e-14 * fabs(dg_parity_number(want, schedules[i])));
}

void dg_parity_compare_log(const char *run, const json_t *expected, void compare(const json_t *got, const json_t *want))
{
    char line[1024], path[64];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    FILE *log = fopen(in(path), "r");
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

const struct dg_safetensors_tensor *dg_parity_find(const struct dg_safetensors *file, const char *prefix,
                                                   const char *name)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct dg_safetensors_tensor *tensor = dg_safetensors_find(file, full);
    if (!tensor) fail_msg("the checkpoint has no %s", full);
    return tensor;
}

float *dg_parity_floats(const struct dg_safetensors_tensor *tensor)
{
    float *values = malloc(tensor->bytes + 1);
    assert_non_null(values);
    assert_int_equal(dg_safetensors_read_f32(tensor, values), DG_OK);
    return values;
}

double dg_parity_distance(const float *values, int64_t count, const char *name, double scale, const json_t *summary)
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

/* Features of ViT-S/16, ViT-S/8 and ViT-B/16 with made-up weights, at three image sizes, against PyTorch in f64. */
#include "compiler/compile.h"
#include "runtime/session.h"
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

static void must(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) fail_msg("%s", err->text);
}

/* "image160x240" [2, 3, H, W] of the PyTorch side, channels last. */
static void fill_images(const char *size, const struct dg_plan_tensor *tensor, float *out)
{
    int64_t pixels = tensor->dim[1] * tensor->dim[2];
    float *planes = malloc(tensor->bytes);
    assert_non_null(planes);
    char name[32];
    snprintf(name, sizeof name, "image%s", size);
    dg_named_uniform(name, tensor->dim[0] * 3 * pixels, -2, 2, planes);
    for (int64_t b = 0; b < tensor->dim[0]; b++)
        for (int64_t c = 0; c < 3; c++)
            for (int64_t p = 0; p < pixels; p++) out[(b * pixels + p) * 3 + c] = planes[(b * 3 + c) * pixels + p];
    free(planes);
}

static void check_size(const char *module, const char *patch, const char *size, int height, int width,
                       const json_t *expected)
{
    char path[] = "/tmp/dinograph-features-XXXXXX", set[32];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(set, sizeof set, "patch=%s", patch);
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/vit.yaml",
                                         .name = module,
                                         .output = path,
                                         .set = (const char *const[]){set},
                                         .num_sets = 1,
                                         .batch = 2,
                                         .height = height,
                                         .width = width};
    struct dg_compile_result result;
    struct dg_error err = {0};
    must(dg_compile(&options, &result, &err), &err);
    dg_compile_result_free(&result);

    struct dg_plan plan;
    struct dg_session *session;
    must(dg_plan_open(path, &plan, &err), &err);
    unlink(path);
    must(dg_session_open(&plan, "features", &(struct dg_session_options){.threads = 2}, &session, &err), &err);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM) continue;
        char name[256];
        snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&plan, tensor->name));
        dg_initial_value(name, tensor->ndim, (int64_t)(tensor->bytes / 4), dg_session_data(session, t));
    }
    must(dg_session_pack(session, &err), &err);
    const struct dg_plan_tensor *images;
    float *input = dg_session_input(session, "images", &images);
    fill_images(size, images, input);
    must(dg_session_compute(session, &(struct dg_step_info){0}, &err), &err);

    const float *features = dg_session_output(session, "features", NULL);
    double error = 0, norm = 0;
    for (size_t b = 0, i = 0; b < json_array_size(expected); b++)
        for (size_t d = 0; d < json_array_size(json_array_get(expected, b)); d++, i++) {
            double want = json_number_value(json_array_get(json_array_get(expected, b), d));
            error += (features[i] - want) * (features[i] - want);
            norm += want * want;
        }
    assert_true(norm > 0);
    if (!(sqrt(error) <= 1e-5 * sqrt(norm)))
        fail_msg("%s/%s at %s: relative L2 difference %g", module, patch, size, sqrt(error / norm));
    dg_session_close(session);
    dg_plan_close(&plan);
}

static void test_features(void **state)
{
    (void)state;
    json_error_t error;
    json_t *models = json_load_file(DG_SOURCE_DIR "/tests/fixtures/features.json", 0, &error), *sizes, *expected;
    if (!models) fail_msg("%s", error.text);
    assert_int_equal(json_object_size(models), 3);
    const char *model, *size;
    json_object_foreach(models, model, sizes)
    {
        assert_int_equal(json_object_size(sizes), 3);
        json_object_foreach(sizes, size, expected)
        {
            char module[32];
            int height, width;
            const char *slash = strchr(model, '/');
            assert_non_null(slash);
            snprintf(module, sizeof module, "%.*s", (int)(slash - model), model);
            if (sscanf(size, "%dx%d", &height, &width) != 2) height = width = atoi(size);
            check_size(module, slash + 1, size, height, width, expected);
        }
    }
    json_decref(models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

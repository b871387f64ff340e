/* Features of ViT-S/16, ViT-S/8 and ViT-B/16 with made-up weights, at three image sizes, against PyTorch in f64. */
#include "tests/runtime/vit.h"

#include <jansson.h>
#include <math.h>

static void check_size(const char *module, const char *patch, const char *size, const json_t *expected)
{
    char set[32];
    snprintf(set, sizeof set, "patch=%s", patch);
    struct dg_vit vit = dg_vit_run(module, (const char *const[]){set}, 1, size, 2, "features");
    const float *features = dg_session_output(vit.session, "features", NULL);
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
    dg_vit_close(&vit);
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
            const char *slash = strchr(model, '/');
            assert_non_null(slash);
            snprintf(module, sizeof module, "%.*s", (int)(slash - model), model);
            check_size(module, slash + 1, size, expected);
        }
    }
    json_decref(models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

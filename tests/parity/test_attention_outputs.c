/* Attention maps, masks and tokens of Vision Transformers against PyTorch (tests/reference/make_attention.py). */
#include "runtime/eval/attention_maps.h"
#include "tests/support/net.h"
#include "tests/support/values.h"

#include <jansson.h>
#include <math.h>

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* The distance from what PyTorch has, estimated through projections, is within 1e-5 of its norm; of attention, which is nearly
 * uniform without training, also within 1e-4 of its own distance from the mean. */
static void check_projections(const char *what, const float *values, int64_t count, const json_t *expected)
{
    double ours[DG_PROJECTIONS], square = 0, norm = number(expected, "norm"), moved = number(expected, "moved");
    const json_t *theirs = json_object_get(expected, "proj");
    assert_int_equal(json_array_size(theirs), DG_PROJECTIONS);
    assert_true(norm > 0);
    dg_projections(what, values, count, 1, ours);
    for (size_t p = 0; p < DG_PROJECTIONS; p++) {
        double difference = ours[p] - json_number_value(json_array_get(theirs, p));
        square += difference * difference / DG_PROJECTIONS;
    }
    if (!(sqrt(square) <= 1e-5 * norm) || (moved > 0 && !(sqrt(square) <= 1e-4 * moved)))
        fail_msg("%s: relative L2 difference %g, of the distance from the mean %g", what, sqrt(square) / norm,
                 sqrt(square) / moved);
}

static void check_rows(const float *maps, int64_t heads, int64_t patches, const json_t *expected)
{
    double error = 0, away = 0, mean = 0;
    assert_int_equal(json_array_size(expected), heads);
    for (int64_t i = 0; i < heads * patches; i++) mean += maps[i] / (double)(heads * patches);
    for (int64_t i = 0; i < heads * patches; i++) {
        double want =
            json_number_value(json_array_get(json_array_get(expected, (size_t)(i / patches)), (size_t)(i % patches)));
        error += (maps[i] - want) * (maps[i] - want);
        away += (want - mean) * (want - mean);
    }
    if (!(sqrt(error) <= 1e-4 * sqrt(away))) fail_msg("rows: relative L2 difference %g", sqrt(error / away));
}

static void check_masks(const float *maps, int64_t heads, int64_t patches, const json_t *expected)
{
    uint8_t *mask = malloc((size_t)patches);
    assert_non_null(mask);
    for (int64_t h = 0; h < heads; h++) {
        const char *want = json_string_value(json_array_get(expected, (size_t)h));
        assert_int_equal(strlen(want), patches);
        assert_ok(dg_attention_mask(maps + h * patches, patches, 0.6, mask, try_err));
        for (int64_t i = 0; i < patches; i++) assert_int_equal(mask[i], want[i] - '0');
    }
    free(mask);
}

static void check_attention(struct dg_net *vit, const json_t *expected)
{
    const struct dg_plan_tensor *tensor;
    const float *probs = dg_session_output(vit->session, "attention", &tensor);
    int64_t images = tensor->dim[0], heads = tensor->dim[1], tokens = tensor->dim[2], count = heads * (tokens - 1);
    struct dg_patches patches;
    assert_ok(dg_patches_init(&vit->plan, DG_ENTRY_ATTENTION, &patches, try_err));
    assert_int_equal(dg_patches_count(&patches), tokens - 1);
    float *maps = malloc((size_t)(images * count) * sizeof *maps);
    assert_non_null(maps);
    for (int64_t i = 0; i < images; i++)
        assert_ok(dg_attention_maps(probs + i * heads * tokens * tokens, heads, tokens, 1, maps + i * count, try_err));
    const json_t *rows = json_object_get(expected, "rows");
    check_projections("attention", maps, images * count, json_object_get(expected, "attention"));
    if (rows) {
        check_rows(maps, heads, tokens - 1, rows);
        check_masks(maps, heads, tokens - 1, json_object_get(expected, "mask"));
    }
    free(maps);
}

static void test_pytorch(void **state)
{
    (void)state;
    static const struct {
        const char *key, *module, *set[4];
        int num_sets, batch;
    } models[] = {{"deep/16", "vit_small", {"patch=16"}, 1, 2},
                  {"deep/8", "vit_small", {"patch=8"}, 1, 2},
                  {"large/8", "vit", {"patch=8", "dim=192", "heads=3", "depth=2"}, 4, 1}};
    json_error_t error;
    json_t *fixture = json_load_file(DG_SOURCE_DIR "/tests/fixtures/attention.json", 0, &error), *expected;
    if (!fixture) fail_msg("%s", error.text);
    assert_int_equal(json_object_size(fixture), 3);
    for (size_t m = 0; m < 3; m++) {
        json_t *sizes = json_object_get(fixture, models[m].key);
        const char *size;
        assert_true(json_object_size(sizes) > 0);
        json_object_foreach(sizes, size, expected)
        {
            struct dg_net_spec spec = {.file = "vit.yaml",
                                       .module = models[m].module,
                                       .set = models[m].set,
                                       .num_sets = models[m].num_sets,
                                       .size = size,
                                       .batch = models[m].batch};
            struct dg_net vit;
            dg_net_run(&vit, &spec, "attention");
            check_attention(&vit, expected);
            dg_net_close(&vit);
            dg_net_run(&vit, &spec, "tokens");
            const struct dg_plan_tensor *tensor;
            const float *tokens = dg_session_output(vit.session, "tokens", &tensor);
            check_projections("tokens", tokens, (int64_t)(tensor->bytes / sizeof(float)),
                              json_object_get(expected, "tokens"));
            dg_net_close(&vit);
        }
    }
    json_decref(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

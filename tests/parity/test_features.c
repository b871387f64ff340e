/* Features of ViT-S/16, ViT-S/8, ViT-B/16 and ResNet-50 with made-up weights, at several image sizes, against PyTorch in
 * f64. The ResNet's plan has its batch norms folded into the convolutions. */
#include "tests/support/net.h"
#include "tests/support/values.h"

#include <jansson.h>
#include <math.h>

static void check(const struct dg_net_spec *spec, const char *name, const json_t *expected)
{
    struct dg_net net; /* stays where it is: the session looks at its plan */
    dg_net_run(&net, spec, "features");
    const float *features = dg_session_output(net.session, "features", NULL);
    double error = 0, norm = 0;
    assert_int_equal(json_array_size(expected), spec->batch);
    for (size_t b = 0, i = 0; b < json_array_size(expected); b++)
        for (size_t d = 0; d < json_array_size(json_array_get(expected, b)); d++, i++) {
            double want = json_number_value(json_array_get(json_array_get(expected, b), d));
            error += (features[i] - want) * (features[i] - want);
            norm += want * want;
        }
    assert_true(norm > 0);
    if (!(sqrt(error) <= 1e-5 * sqrt(norm)))
        fail_msg("%s at %s: relative L2 difference %g", name, spec->size, sqrt(error / norm));
    dg_net_close(&net);
}

/* All models and sizes of a fixture; how many models and sizes of each there are. */
static void check_all(const char *fixture, const char *file, size_t num_models, size_t num_sizes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/%s", DG_SOURCE_DIR, fixture);
    json_error_t error;
    json_t *models = json_load_file(path, 0, &error), *sizes, *expected;
    if (!models) fail_msg("%s: %s", path, error.text);
    assert_int_equal(json_object_size(models), num_models);
    const char *model, *size;
    json_object_foreach(models, model, sizes)
    {
        assert_int_equal(json_object_size(sizes), num_sizes);
        /* "vit_small/16" has a patch size behind the slash, "resnet50/random_norm" another kind of weights. */
        char module[32], set[32];
        int length = (int)strcspn(model, "/");
        bool patch = !strncmp(model, "vit", 3);
        snprintf(module, sizeof module, "%.*s", length, model);
        snprintf(set, sizeof set, "patch=%s", model + length + (model[length] == '/'));
        json_object_foreach(sizes, size, expected)
        {
            struct dg_net_spec spec = {.file = file,
                                       .module = module,
                                       .set = (const char *const[]){set},
                                       .num_sets = patch,
                                       .size = size,
                                       .batch = 2,
                                       .value = strstr(model, "/random_norm") ? dg_random_norm : NULL};
            check(&spec, model, expected);
        }
    }
    json_decref(models);
}

static void test_vit(void **state)
{
    (void)state;
    check_all("features.json", "vit.yaml", 3, 3);
}

static void test_resnet(void **state)
{
    (void)state;
    check_all("features_resnet.json", "resnet.yaml", 2, 2);
}

static double flops(const struct dg_net *net)
{
    const struct dg_plan_entry *entry = dg_session_entry(net->session);
    double sum = 0;
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++) sum += net->plan.op[n].flops;
    return sum;
}

/* What a network is cut to by the tokens it ends in gives what all of it gives. */
static void test_tokens_that_are_read(void **state)
{
    (void)state;
    static const char *const modules[] = {"of_two_tokens", "of_one_token"};
    for (int m = 0; m < 2; m++) {
        struct dg_net_spec spec = {
            .file = "../tests/fixtures/tokens.yaml", .module = modules[m], .size = "12x16", .batch = 3};
        struct dg_net cut, whole;
        dg_net_run(&cut, &spec, "features");
        spec.plain = true;
        dg_net_run(&whole, &spec, "features");
        const float *a = dg_session_output(cut.session, "features", NULL),
                    *b = dg_session_output(whole.session, "features", NULL);
        for (int i = 0; i < 3 * 24; i++)
            if (!(fabs((double)a[i] - (double)b[i]) < 1e-5))
                fail_msg("%s, number %d: %g and %g", modules[m], i, (double)a[i], (double)b[i]);
        assert_true(m ? flops(&cut) < 0.8 * flops(&whole) : flops(&cut) == flops(&whole));
        dg_net_close(&cut);
        dg_net_close(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vit), cmocka_unit_test(test_resnet),
                                       cmocka_unit_test(test_tokens_that_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

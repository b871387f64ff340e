/* Probes: what of graphs/linear.yaml may be changed, what is refused and where, and what the plan remembers. */
#include "compiler/compile.h"
#include "runtime/plan/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LINEAR DG_SOURCE_DIR "/graphs/linear.yaml"

/* The result of a compile with up to four settings, to be freed. */
static struct dg_compile_result compile(const char *output, enum dg_status status, const char *const set[4])
{
    struct dg_compile_options options = {.file = LINEAR, .output = output, .set = set};
    struct dg_compile_result result;
    struct dg_error err = {0};
    while (options.num_sets < 4 && set[options.num_sets]) options.num_sets++;
    if (dg_compile(&options, &result, &err) != status) fail_msg("%s%s", result.diagnostics, err.text);
    return result;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *set[4], *says;
    } wrong[] = {
        {{"backbone=resnet50"}, "backbone resnet50 has no output `taps`, one value per block"},
        {{"backbone=resnet50", "blocks=1", "avgpool=true"}, "backbone resnet50 has no output `tokens`"},
        {{"backbone=vit_smal"}, "there is no module vit_smal; did you mean vit_small?"},
        {{"with.patsh=8"}, "module vit has no argument patsh; did you mean patch?"},
        {{"blocks=13"}, "blocks is 13, and backbone vit_small has 12"},
        {{"blocks=0"}, "blocks is 0, outside 1 .. 4096"},
        {{"avgpool=true"}, "avgpool goes with blocks: 1, and blocks is 4"},
        {{"blocks=1", "avgpool=3"}, "avgpool must be true or false"},
        {{"classes=0"}, "classes is 0"},
        {{"clases=3"}, "a probe has no key clases; did you mean classes?"},
        {{"crops.jitter=0.4"}, "crops has no key jitter"},
        {{"optim.kind=lars"}, "a probe is trained by sgd, got optim.kind lars"},
        {{"optim.betas=[0, 1]"}, "optim has no key betas"},
        {{"crops.size=96", "entries.features.size=64"}, "entries.features.size must be that of crops.size"},
        {{"entries.features.batch=64"}, "entries.features has no key batch"},
        {{"lr={curve: cosine, to: 0}"}, "lr needs `to` and either `peak` or `from`"},
    };
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        struct dg_compile_result result = compile(NULL, DG_ERR_INPUT, wrong[w].set);
        if (!strstr(result.diagnostics, wrong[w].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[w].set[0], result.diagnostics, wrong[w].says);
        dg_compile_result_free(&result);
    }
}

static int64_t features_dim(const struct dg_plan *plan)
{
    const struct dg_plan_entry *entry;
    struct dg_error err = {0};
    if (dg_plan_find_entry(plan, "features", &entry, &err) != DG_OK) fail_msg("%s", err.text);
    return plan->tensor[plan->operand[entry->first_output]].dim[1];
}

/* Widths of the published protocols; the rate follows the batch; the plan knows how to make another. */
static void test_plans(void **state)
{
    (void)state;
    static const struct {
        const char *set[4];
        int64_t dim;
        const char *source;
    } right[] = {
        {{NULL}, 1536, "linear.yaml"},
        {{"classes=7", "with.patch=8"}, 1536, "linear.yaml --set with.patch=8"},
        {{"backbone=vit_base", "blocks=1", "avgpool=true"},
         1536,
         "linear.yaml --set backbone=vit_base --set blocks=1 --set avgpool=true"},
        {{"backbone=resnet50", "blocks=1", "batch=64", "crops.size=[64, 96]"},
         2048,
         "linear.yaml --set backbone=resnet50 --set blocks=1 --set batch=64 --set 'crops.size=[64, 96]'"},
    };
    char path[] = "/tmp/dinograph-probe-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t r = 0; r < sizeof right / sizeof *right; r++) {
        struct dg_compile_result result = compile(path, DG_OK, right[r].set);
        struct dg_plan plan;
        struct dg_error err = {0};
        assert_non_null(strstr(result.text, "probe linear -> "));
        if (dg_plan_open(path, &plan, &err) != DG_OK) fail_msg("%s", err.text);
        assert_true(plan.header->kind == DG_PLAN_PROBE);
        assert_int_equal(features_dim(&plan), right[r].dim);
        assert_string_equal(dg_plan_string(&plan, plan.header->source), right[r].source);
        double batch = plan.entry[0].batch;
        for (uint32_t k = 0; k < plan.num_knobs; k++)
            if (!strcmp(dg_plan_string(&plan, plan.knob[k].key), "lr.from"))
                assert_true(plan.knob[k].value[0] == 0.001 * batch / 256);
        dg_plan_close(&plan);
        dg_compile_result_free(&result);
    }
    unlink(path);
}

/* Where all tokens are patches, their mean is of all. */
static void test_mean_without_class_token(void **state)
{
    (void)state;
    static const char description[] = "module: net\n"
                                      "nodes:\n"
                                      "  embed: {op: conv2d, out: 8, kernel: 4, stride: 4}\n"
                                      "  tokens: to_tokens\n"
                                      "  norm: layer_norm\n"
                                      "  pool: {op: mean_tokens, first: 2}\n"
                                      "outputs: {features: pool, tokens: norm}\n"
                                      "---\n"
                                      "probe: net_probe\n"
                                      "backbone: net\n"
                                      "blocks: 1\n"
                                      "avgpool: true\n"
                                      "crops: {size: 16}\n";
    char path[] = "/tmp/dinograph-probe-XXXXXX", output[sizeof path + 5];
    int fd = mkstemp(path), found = 0;
    assert_true(fd >= 0 && write(fd, description, sizeof description - 1) == (ssize_t)(sizeof description - 1));
    close(fd);
    snprintf(output, sizeof output, "%s.plan", path);
    struct dg_compile_options options = {.file = path, .output = output};
    struct dg_compile_result result;
    struct dg_plan plan;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
    if (dg_plan_open(output, &plan, &err) != DG_OK) fail_msg("%s", err.text);
    for (uint32_t n = 0; n < plan.num_ops; n++) {
        if (strcmp(dg_plan_string(&plan, plan.op[n].op), "mean_tokens") ||
            strcmp(dg_plan_string(&plan, plan.op[n].name), "mean"))
            continue;
        assert_int_equal(plan.attr[plan.op[n].first_attr].i, 0);
        found++;
    }
    assert_true(found > 0);
    dg_plan_close(&plan);
    dg_compile_result_free(&result);
    unlink(output);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_plans),
                                       cmocka_unit_test(test_mean_without_class_token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

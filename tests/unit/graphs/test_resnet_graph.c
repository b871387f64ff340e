/* graphs/resnet.yaml: torchvision's names, counts and initialisers; what a head with batch norm does to the step; the
 * optimisers of the recipes. */
#include "compiler/compile.h"
#include "compiler/language/elaborate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static jmp_buf out_of_memory;
static struct dg_arena *arena;
static struct dg_diagnostics *diag;
static struct dg_program *program;

static int setup(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    if (!arena || setjmp(out_of_memory)) return 1;
    diag = dg_diag_create(arena);
    program = dg_program_load(arena, diag, DG_SOURCE_DIR "/graphs/resnet.yaml", NULL);
    return program ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    dg_arena_free(arena);
    return 0;
}

static struct dg_instance *network(const char *module, struct dg_graph *graph, int64_t size, dg_value *features)
{
    struct dg_origin at = {.file = "test"};
    struct dg_instance *net = dg_instance_create(program, graph, module, NULL, &at, "", true);
    if (!net) fail_msg("%s", dg_diag_text(diag));
    struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){2, size, size, 3});
    dg_value image = dg_graph_input(graph, "images", &desc);
    struct dg_application *a = dg_instance_apply(net, &image, 1, true, (struct dg_row_range){0, 2}, 0);
    if (!a) fail_msg("%s", dg_diag_text(diag));
    *features = dg_application_output(a, "features");
    return net;
}

/* Entries of torchvision's state_dict without fc, trained parameters, width of the features. */
static void test_published(void **state)
{
    (void)state;
    static const struct {
        const char *module;
        int entries;
        int64_t trained, features;
    } published[] = {{"resnet50", 318, 23508032, 2048},
                     {"resnet101", 624, 42500160, 2048},
                     {"wide_resnet50_2", 318, 66834240, 2048},
                     {"resnet18", 120, 11176512, 512},
                     {"resnet34", 216, 21284672, 512}};
    for (size_t m = 0; m < sizeof published / sizeof *published; m++) {
        struct dg_graph *graph = dg_graph_create(arena);
        dg_value features;
        const struct dg_instance *net = network(published[m].module, graph, 64, &features);
        int64_t trained = 0;
        for (int p = 0; p < dg_instance_num_params(net); p++) {
            const struct dg_graph_value *value = &graph->value[dg_instance_param(net, p)];
            if (value->flags & DG_TENSOR_TRAINABLE) trained += dg_desc_count(&value->desc);
        }
        assert_int_equal(dg_instance_num_params(net), published[m].entries);
        assert_int_equal(trained, published[m].trained);
        assert_int_equal(graph->value[features].desc.dim[1], published[m].features);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        int at;
        const char *name;
        int64_t dim[4];
    } want[] = {{0, "conv1.weight", {64, 3, 7, 7}},
                {1, "bn1.weight", {64}},
                {2, "bn1.bias", {64}},
                {3, "bn1.running_mean", {64}},
                {4, "bn1.running_var", {64}},
                {5, "bn1.num_batches_tracked", {0}},
                {6, "layer1.0.conv1.weight", {64, 64, 1, 1}},
                {24, "layer1.0.downsample.0.weight", {256, 64, 1, 1}},
                {25, "layer1.0.downsample.1.weight", {256}},
                {30, "layer1.1.conv1.weight", {64, 256, 1, 1}},
                {317, "layer4.2.bn3.num_batches_tracked", {0}}};
    struct dg_graph *graph = dg_graph_create(arena);
    dg_value features;
    const struct dg_instance *net = network("resnet50", graph, 96, &features);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct dg_graph_value *value = &graph->value[dg_instance_param(net, want[i].at)];
        assert_string_equal(value->name, want[i].name);
        for (int d = 0; d < value->desc.ndim; d++) assert_int_equal(value->desc.dim[d], want[i].dim[d]);
    }
    /* Kaiming normal by fan-out, as torchvision starts them; batch norm starts at 1, 0 and statistics of 0, 1. */
    const struct dg_graph_value *conv = &graph->value[dg_instance_param(net, 0)];
    assert_int_equal(conv->init_kind, DG_INIT_NORMAL);
    assert_true(fabs(conv->init_value - sqrt(2.0 / (64 * 49))) < 1e-9);
    assert_true(graph->value[dg_instance_param(net, 1)].init_value == 1);
    assert_true(graph->value[dg_instance_param(net, 4)].init_value == 1);
}

/* 224 -> 112 -> 56, 28, 14, 7; 96 -> 48 -> 24, 12, 6, 3: the stride is in the 3x3. */
static void test_sizes(void **state)
{
    (void)state;
    static const int64_t sizes[][5] = {{224, 56, 28, 14, 7}, {96, 24, 12, 6, 3}};
    for (int s = 0; s < 2; s++) {
        struct dg_graph *graph = dg_graph_create(arena);
        dg_value features;
        network("resnet50", graph, sizes[s][0], &features);
        int stage = 0;
        for (uint32_t n = 0; n < graph->num_nodes; n++) {
            const struct dg_graph_node *node = &graph->node[n];
            int layer, block;
            if (sscanf(node->origin.path, "layer%d.%d.conv3", &layer, &block) != 2 || block) continue;
            if (!strstr(node->origin.path, "conv3")) continue;
            assert_int_equal(graph->value[node->output[0]].desc.dim[1], sizes[s][layer]);
            stage++;
        }
        assert_int_equal(stage, 4);
    }
}

/* What `--explain` and the report say; errors name the key. */
static char *compile(const char *file, const char *const *set, int num_sets, const char *explain, bool plain, bool ok)
{
    static char text[1 << 20];
    char path[256];
    snprintf(path, sizeof path, "%s/graphs/%s", DG_SOURCE_DIR, file);
    struct dg_compile_options options = {
        .file = path, .set = set, .num_sets = num_sets, .batch = 4, .explain = explain, .plain = plain};
    struct dg_compile_result result;
    struct dg_error err = {0};
    bool compiled = dg_compile(&options, &result, &err) == DG_OK;
    if (compiled != ok) fail_msg("%s: %s%s", file, result.diagnostics, err.text);
    snprintf(text, sizeof text, "%s", ok ? result.text : result.diagnostics);
    dg_compile_result_free(&result);
    return text;
}

static void wants(const char *text, const char *what)
{
    if (!strstr(text, what)) fail_msg("\"%s\" is not in:\n%s", what, text);
}

static void test_coupling(void **state)
{
    (void)state;
    const char *report = compile("dino_resnet50_800ep.yaml", NULL, 0, NULL, false, true);
    wants(report, "mlp.1 (batch_norm, ");
    wants(report, "dino_head.yaml:");
    wants(report, "sees all crops at once");
    wants(report, "bn1 (batch_norm, ");
    report = compile("dino_resnet50_100ep.yaml", NULL, 0, NULL, false, true);
    assert_null(strstr(report, "sees all crops at once"));
    wants(report, "bn1 (batch_norm, ");
    report = compile("dino_vits16_100ep.yaml", NULL, 0, NULL, false, true);
    assert_null(strstr(report, "batch_norm"));
}

static void test_optimizers(void **state)
{
    (void)state;
    const char *const kinds[] = {"optim.kind=sgd", "optim.kind=lars", "optim.kind=adam"};
    for (int k = 0; k < 2; k++) compile("cifar10.yaml", &kinds[k], 1, NULL, false, true);
    wants(compile("cifar10.yaml", &kinds[2], 1, NULL, false, false),
          "there is no optimiser adam; there are adamw, sgd and lars");
    const char *const eta[] = {"optim.kind=sgd", "optim.eta=0.01"};
    wants(compile("cifar10.yaml", eta, 2, NULL, false, false), "eta");
    const char *const buffers[] = {"teacher.buffers=none"};
    wants(compile("cifar10_resnet.yaml", buffers, 1, NULL, false, false), "teacher.buffers must be own");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_names),      cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_coupling),  cmocka_unit_test(test_optimizers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

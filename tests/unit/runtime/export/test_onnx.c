/* ONNX files of networks of every kind: read back and computed in f64 by ONNX's definitions, they give the session's features. */
#include "runtime/export/onnx.h"
#include "runtime/export/onnx_file.h"
#include "tests/support/files.h"
#include "tests/support/log.h"
#include "tests/support/net.h"
#include "tests/support/onnx_model.h"
#include "tests/support/values.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

/* Numbers that keep features of the order of one: weights by their fan-in, variances around one. */
static void make_value(const char *name, int ndim, const int64_t *dim, float *out)
{
    int64_t count = 1, fan = 1;
    for (int d = 0; d < ndim; d++) count *= dim[d];
    for (int d = 1; d < ndim; d++) fan *= dim[d];
    bool scale = ndim == 1 && (strstr(name, ".weight") || strstr(name, "running_var"));
    float reach = ndim == 1 ? 0.3f : ndim == 3 ? 0.5f : 1.7f / sqrtf((float)fan);
    dg_named_uniform(name, count, (scale ? 1 : 0) - reach, (scale ? 1 : 0) + reach, out);
}

static enum dg_status export_net(const struct dg_net *net, const char *path, struct dg_error *err)
{
    struct dg_knobs knobs;
    assert_ok(dg_knobs_open(&net->plan, &knobs, try_err));
    dg_test_hush();
    enum dg_status status = dg_export_onnx(
        &(struct dg_export_source){
            .plan = &net->plan, .knobs = &knobs, .session = net->session, .version = "1.2.3", .log = &dg_test_log},
        path, err);
    dg_knobs_close(&knobs);
    return status;
}

/* The session's images with channels second. */
static float *turned(const struct dg_net *net, int64_t *images)
{
    const struct dg_plan_tensor *tensor;
    const float *input = dg_session_input(net->session, "images", &tensor);
    int64_t pixels = tensor->dim[1] * tensor->dim[2];
    float *out = malloc(tensor->bytes);
    *images = tensor->dim[0];
    for (int64_t i = 0; i < *images * pixels * 3; i++)
        out[(i / 3 / pixels * 3 + i % 3) * pixels + i / 3 % pixels] = input[i];
    return out;
}

static void compare(const struct dg_net *net, const struct onnx_model *model)
{
    int64_t images;
    float *input = turned(net, &images);
    const struct dg_plan_tensor *tensor;
    const float *want = dg_session_output(net->session, "features", &tensor);
    int64_t count = tensor->dim[0] * tensor->dim[1], each = (int64_t)(tensor->dim[1]);
    struct onnx_tensor all = onnx_run(model, images, input), one = onnx_run(model, 1, input);
    double off = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        off += (all.data[i] - (double)want[i]) * (all.data[i] - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    /* Rounding of f32 grows with the depth; the greatest seen is a tenth of this, and a wrong operator is thousands of it. */
    if (!(sqrt(off / norm) < 1e-5) || !(norm > 0.01)) fail_msg("features are off by %g of %g", sqrt(off), sqrt(norm));
    for (int64_t i = 0; i < each; i++) assert_true(fabs(one.data[i] - all.data[i]) < 1e-12); /* any number of images */
    free(all.data);
    free(one.data);
    free(input);
}

struct network {
    const char *file, *module, *size;
    const char *set[6];
};
static const struct network networks[] = {
    {"vit.yaml", "vit", "32", {"dim=24", "heads=3", "depth=2", "patch=8", "image=32"}},
    {"vit.yaml", "vit", "24x40", {"dim=16", "heads=2", "depth=1", "patch=8", "eps=0.001"}}, /* positions are resized */
    {"resnet.yaml", "resnet", "32", {"blocks=[1, 2, 1, 1]", "planes=8"}},
    {"resnet.yaml", "resnet", "32", {"blocks=[1, 1, 1, 1]", "planes=16", "groups=4"}},
    {"resnet.yaml", "resnet_basic", "32", {"planes=8"}},
    {"resnet.yaml", "resnet_basic", "16", {"planes=8", "small=true"}},
    {"../tests/fixtures/other_ops.yaml", "other_ops", "32", {0}},
    {"../tests/fixtures/gates.yaml", "gates", "32", {0}},
};

static void run(struct dg_net *net, const struct network *network, bool plain)
{
    struct dg_net_spec spec = {.file = network->file,
                               .module = network->module,
                               .set = network->set,
                               .size = network->size,
                               .batch = 2,
                               .plain = plain,
                               .value = make_value};
    while (spec.num_sets < 6 && network->set[spec.num_sets]) spec.num_sets++;
    dg_net_run(net, &spec, "features");
}

/* As evaluation plans are, fused, and with every op by itself. */
static void test_features(void **state)
{
    (void)state;
    const char *path = in("network.onnx");
    for (size_t n = 0; n < 2 * sizeof networks / sizeof *networks; n++) {
        struct dg_net net;
        struct onnx_model model;
        run(&net, &networks[n / 2], n % 2);
        assert_ok(export_net(&net, path, try_err));
        onnx_read(path, &model);
        compare(&net, &model);
        onnx_free(&model);
        dg_net_close(&net);
    }
}

/* What is written beside the graph. */
static void test_facts(void **state)
{
    (void)state;
    struct dg_net net;
    struct onnx_model m;
    run(&net, &networks[0], false);
    assert_ok(export_net(&net, in("vit.onnx"), try_err));
    onnx_read(in("vit.onnx"), &m);
    assert_int_equal(m.ir_version, 8);
    assert_int_equal(m.opset, 17);
    assert_string_equal(m.producer, "dinograph");
    assert_string_equal(m.input.name, "images");
    assert_string_equal(m.output.name, "features");
    assert_true(m.input.ndim == 4 && m.input.dim[1] == 3 && m.input.dim[2] == 32 && m.input.dim[3] == 32);
    assert_true(m.output.ndim == 2 && m.output.dim[1] == 24);
    assert_string_equal(onnx_metadata(&m, "image.mean"), "0.485, 0.456, 0.406");
    assert_string_equal(onnx_metadata(&m, "image.std"), "0.229, 0.224, 0.225");
    assert_string_equal(onnx_metadata(&m, "image.resize_short_side"), "37");
    assert_string_equal(onnx_metadata(&m, "image.center_crop"), "32x32");
    assert_string_equal(onnx_metadata(&m, "network.heads"), "3");
    assert_int_equal(onnx_count(&m, "LayerNormalization"), 5);
    assert_int_equal(onnx_count(&m, "Erf"), 2);
    assert_int_equal(onnx_count(&m, "Softmax"), 2);
    /* Parameters have their names and shapes, those of another form a name of their own. */
    const struct onnx_tensor *t = onnx_find_constant(&m, "blocks.0.norm1.weight");
    assert_true(t && t->ndim == 1 && t->dim[0] == 24);
    t = onnx_find_constant(&m, "blocks.0.attn.qkv.weight.T");
    assert_true(t && t->ndim == 2 && t->dim[0] == 24 && t->dim[1] == 72);
    assert_null(onnx_find_constant(&m, "blocks.0.attn.qkv.weight")); /* nothing reads it */
    assert_non_null(strstr(dg_test_said, "ONNX of opset 17"));
    assert_non_null(strstr(dg_test_said, "short side resized to 37 (bicubic)"));
    onnx_free(&m);
    dg_net_close(&net);
}

/* More than a message can hold: large numbers are beside the file, small ones in it. */
static void test_beside(void **state)
{
    (void)state;
    struct dg_onnx_graph graph = {0};
    struct dg_onnx_written written;
    struct onnx_model model;
    static float large[2][1500], small[1] = {0.5f};
    for (int i = 0; i < 1500; i++) {
        large[0][i] = (float)i;
        large[1][i] = (float)-i;
    }
    struct dg_desc row = dg_desc_make(DG_F32, 2, (int64_t[]){1, 1500}), one = dg_desc_make(DG_F32, 1, (int64_t[]){1});
    struct dg_error err = {0};
    dg_onnx_value x = dg_onnx_graph_add_value(&graph, "images", &err);
    dg_onnx_graph_add_input(&graph, x, 2, (int64_t[]){1, 1500});
    for (int i = 0; i < 3; i++) {
        dg_onnx_value c = i < 2 ? dg_onnx_graph_add_constant(&graph, "large", false, &row, large[i], false, &err)
                                : dg_onnx_graph_add_constant(&graph, "small", false, &one, small, true, &err);
        x = dg_onnx_graph_add_node(&graph, "sum", "Add", NULL, (dg_onnx_value[]){x, c}, 2, &err);
    }
    dg_onnx_graph_add_output(&graph, x, 2, (int64_t[]){1, 1500});
    assert_int_equal(err.status, DG_OK);
    for (int limit = 0; limit <= 5000; limit += 5000) {
        struct dg_onnx_model facts = {.name = "n", .doc = "d", .version = "v", .limit = limit};
        assert_ok(dg_onnx_graph_write(&graph, &facts, in("big.onnx"), &written, try_err));
        assert_true(limit ? written.bytes < 5000 && written.data_bytes == 16384 : written.bytes > 12000);
        assert_int_equal(access(in("big.onnx.data"), F_OK), limit ? 0 : -1);
        onnx_read(in("big.onnx"), &model);
        struct onnx_tensor result = onnx_run(&model, 1, large[0]);
        for (int i = 0; i < 1500; i++) assert_true(result.data[i] == i + 0.5);
        free(result.data);
        onnx_free(&model);
    }
    struct dg_onnx_model facts = {.name = "n", .doc = "d", .version = "v", .limit = 5000};
    assert_int_equal(mkdir(in("taken.onnx.data"), 0777), 0);
    assert_int_equal(dg_onnx_graph_write(&graph, &facts, in("taken.onnx"), &written, &err), DG_ERR_IO);
    assert_int_equal(access(in("taken.onnx"), F_OK), -1);
    dg_onnx_graph_free(&graph);
}

/* The same bytes each time; nothing is there where it fails. */
static void test_files(void **state)
{
    (void)state;
    struct dg_net net;
    struct dg_error err = {0};
    run(&net, &networks[0], false);
    assert_ok(export_net(&net, in("a.onnx"), try_err));
    assert_ok(export_net(&net, in("b.onnx"), try_err));
    assert_same_file(in("a.onnx"), in("b.onnx"));
    assert_int_equal(export_net(&net, in("no/c.onnx"), &err), DG_ERR_IO);
    err = (struct dg_error){0};
    assert_int_equal(export_net(&net, "/dev/full", &err), DG_ERR_IO);
    dg_net_close(&net);
}

/* An entry with an op that has no form: it is named, with the line that it comes from. */
static void test_no_form(void **state)
{
    (void)state;
    struct dg_net net;
    struct dg_error err = {0};
    struct dg_net_spec spec = {.file = "vit.yaml",
                               .module = "vit",
                               .set = networks[0].set,
                               .num_sets = 5,
                               .size = "32",
                               .batch = 1,
                               .value = make_value};
    dg_net_run(&net, &spec, "attention"); /* whose output is the attention itself */
    assert_int_equal(export_net(&net, in("none.onnx"), &err), DG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "blocks.1.attn.core (attention, vit.yaml line 9): "));
    FILE *file = fopen(in("none.onnx"), "r");
    assert_null(file);
    dg_net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features), cmocka_unit_test(test_facts),
                                       cmocka_unit_test(test_beside), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_no_form)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

/* Networks that other libraries have are recognised by what they compute; anything else is not. */
#include "runtime/export/architecture.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

/* Recognises the network `name` of a description, compiled with the settings. */
static enum dg_status recognise(const char *file, const char *name, const char *const *set, bool plain,
                                struct dg_architecture *network, struct dg_error *err)
{
    char *path = strdup(in("plan"));
    struct dg_compile_options options = {
        .file = file, .name = name, .output = path, .set = set, .plain = plain, .batch = 2};
    while (set[options.num_sets]) options.num_sets++;
    compile_plan(&options);
    struct dg_plan plan;
    assert_ok(dg_plan_open(path, &plan, try_err));
    enum dg_status status =
        dg_architecture_recognise(&plan, &plan.entry[plan.header->entry[DG_ENTRY_FEATURES]], network, err);
    dg_plan_close(&plan);
    free(path);
    return status;
}

#define VIT DG_SOURCE_DIR "/graphs/vit.yaml"
#define RESNET DG_SOURCE_DIR "/graphs/resnet.yaml"
#define DINOV2 DG_SOURCE_DIR "/graphs/backbones/dinov2.yaml"
#define DINOV3 DG_SOURCE_DIR "/graphs/backbones/dinov3.yaml"
#define CONVNEXT DG_SOURCE_DIR "/graphs/backbones/convnext.yaml"
#define SETS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_known(void **state)
{
    (void)state;
    struct dg_architecture n;
    for (int plain = 0; plain < 2; plain++) {
        assert_ok(recognise(VIT, "vit", SETS("dim=24", "heads=3", "depth=2", "patch=8", "image=32", "eps=0.001"), plain,
                            &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_VIT && n.dim == 24 && n.heads == 3 && n.depth == 2 && n.patch == 8);
        assert_true(n.hidden == 96 && n.eps == 0.001 && n.height == 32 && n.width == 32 && n.features == 24);
        assert_ok(recognise(VIT, "vit_base", SETS("patch=8"), plain, &n, try_err));
        assert_true(n.dim == 768 && n.heads == 12 && n.depth == 12 && n.patch == 8 && n.eps == 1e-6);
        assert_ok(recognise(RESNET, "resnet50", SETS("image=64"), plain, &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_RESNET && n.blocks[0] == 3 && n.blocks[1] == 4 && n.blocks[2] == 6);
        assert_true(n.blocks[3] == 3 && n.planes == 64 && n.block_width == 64 && n.groups == 1 && !n.basic && !n.small);
        assert_true(n.features == 2048);
        assert_ok(recognise(RESNET, "resnet", SETS("groups=32", "width=4", "image=64"), plain, &n, try_err));
        assert_true(n.groups == 32 && n.block_width == 128);
        assert_ok(recognise(RESNET, "resnet34", SETS("image=64"), plain, &n, try_err));
        assert_true(n.basic && !n.small && n.blocks[1] == 4 && n.features == 512);
        assert_ok(recognise(RESNET, "resnet_basic", SETS("small=true", "planes=8", "image=32"), plain, &n, try_err));
        assert_true(n.basic && n.small && n.planes == 8);
    }
}

static void test_backbones(void **state)
{
    (void)state;
    struct dg_architecture n;
    for (int plain = 0; plain < 2; plain++) {
        assert_ok(recognise(DINOV2, "dinov2", SETS("dim=24", "heads=3", "depth=2", "image=56"), plain, &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_DINOV2 && n.dim == 24 && n.heads == 3 && n.depth == 2 && n.patch == 14);
        assert_true(n.hidden == 96 && !n.registers && !n.swiglu && n.eps == 1e-6);
        assert_ok(recognise(DINOV2, "dinov2", SETS("dim=24", "heads=3", "image=56", "registers=2", "swiglu=true"),
                            plain, &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_DINOV2 && n.registers == 2 && n.swiglu && n.hidden == 64);
        assert_ok(recognise(DINOV3, "dinov3", SETS("dim=24", "heads=2", "depth=3"), plain, &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_DINOV3 && n.heads == 2 && n.depth == 3 && n.registers == 4);
        assert_true(n.base == 100 && n.eps == 1e-5);
        assert_ok(
            recognise(CONVNEXT, "convnext", SETS("dims=[8, 16, 24, 32]", "depths=[1, 2, 3, 1]"), plain, &n, try_err));
        assert_true(n.kind == DG_ARCHITECTURE_CONVNEXT && n.blocks[2] == 3 && n.dims[3] == 32 && n.features == 32);
    }
}

/* A description of graphs/ with one text in the place of another. */
static void edit(const char *file, const char *old, const char *new)
{
    size_t size;
    char *text = read_file(file, &size), *at = strstr(text, old);
    if (!at) fail_msg("%s: there is no %s in it", file, old);
    FILE *out = fopen(in("edited.yaml"), "w");
    fprintf(out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    fclose(out);
    free(text);
}

struct described {
    const char *file, *name;
    const char *set[7];
};
static const struct described vit = {VIT, "vit", {"dim=24", "heads=3", "depth=2", "patch=8", "image=32"}},
                              resnet = {RESNET, "resnet", {"blocks=[1, 1, 1, 1]", "planes=8"}},
                              dinov2 = {DINOV2,
                                        "dinov2",
                                        {"dim=24", "heads=3", "depth=2", "image=56", "registers=2", "swiglu=true"}},
                              convnext = {CONVNEXT, "convnext", {"dims=[8, 16, 24, 32]", "depths=[1, 1, 1, 1]"}};

/* Small changes, which leave all parameters their names and shapes. */
static void test_edited(void **state)
{
    (void)state;
    static const struct {
        const struct described *of;
        const char *old, *new, *says;
    } edits[] = {
        {&vit, "mlp.act:   gelu", "mlp.act:   relu", "put together in another way"},
        {&vit, "from: [x, path1]", "from: [norm1, path1]", "put together in another way"},
        {&vit, "from: [mid, path2]", "from: [x, path2]", "put together in another way"},
        {&vit, "{op: take_token, index: 0}", "{op: take_token, index: 1}", "(take_token, edited.yaml line"},
        {&vit, "{op: take_token, index: 0}", "mean_tokens", "it has cls (mean_tokens, edited.yaml line"},
        {&vit, "norm1:     {op: layer_norm, eps: eps}", "norm1:     {op: layer_norm, eps: 0.5}", "in another way"},
        {&vit, "features: cls", "features: norm", "put together in another way"},
        {&resnet, "conv1: {op: conv2d, out: planes * width // 64 * groups, kernel: 1}",
         "conv1: {op: conv2d, out: planes * width // 64 * groups, kernel: 1, dilation: 2}", "in another way"},
        {&resnet, "maxpool: {op: max_pool, kernel: 3", "maxpool: {op: avg_pool, kernel: 3",
         "it has maxpool (avg_pool, edited.yaml line"},
        {&resnet, "  relu2: relu\n", "", "put together in another way"},
        {&resnet, "avgpool: global_avg_pool", "avgpool: {list: [to_tokens, {op: mean_tokens}]}", "it has "},
        {&dinov2, "from: [mid, path2]", "from: [x, path2]", "put together in another way"},
        {&dinov2, "silu: {op: silu", "silu: {op: sigmoid", "it has blocks.0.mlp.silu (sigmoid"},
        {&dinov2, "tokens: register_tokens,", "tokens: register_tokens, index: 0,", "it has all (insert_tokens"},
        {&convnext, "from: [x, path]", "from: [norm, path]", "put together in another way"},
    };
    for (size_t e = 0; e < sizeof edits / sizeof *edits; e++) {
        struct dg_architecture network;
        edit(edits[e].of->file, edits[e].old, edits[e].new);
        for (int plain = 0; plain < 2; plain++) {
            struct dg_error err = {0};
            enum dg_status status =
                recognise(in("edited.yaml"), edits[e].of->name, edits[e].of->set, plain, &network, &err);
            if (status != DG_ERR_UNSUPPORTED || !strstr(err.text, edits[e].says))
                fail_msg("%s: %s", edits[e].new, status == DG_OK ? "is recognised" : err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_backbones),
                                       cmocka_unit_test(test_edited)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

/* The networks of graphs/backbones compile: each module for evaluation, and a step of each kind, in f32 and in bf16. */
#include "tests/support/check.h"
#include "tests/support/compile.h"

#include <unistd.h>

static const char *const modules[][2] = {
    {"dinov2.yaml", "dinov2_vits14"},          {"dinov2.yaml", "dinov2_vitb14"},
    {"dinov2.yaml", "dinov2_vitl14"},          {"dinov2.yaml", "dinov2_vits14_reg"},
    {"dinov2.yaml", "dinov2_vitb14_reg"},      {"dinov2.yaml", "dinov2_vitl14_reg"},
    {"dinov2.yaml", "dinov2_vitg14"},          {"dinov2.yaml", "dinov2_vitg14_reg"},
    {"dinov3.yaml", "dinov3_vits16"},          {"dinov3.yaml", "dinov3_vitb16"},
    {"dinov3.yaml", "dinov3_vitl16"},          {"xcit.yaml", "xcit_small_12_p16"},
    {"xcit.yaml", "xcit_small_12_p8"},         {"xcit.yaml", "xcit_medium_24_p16"},
    {"xcit.yaml", "xcit_medium_24_p8"},        {"convnext.yaml", "convnext_tiny"},
    {"convnext.yaml", "convnext_small"},       {"convnext.yaml", "convnext_base"},
    {"deit.yaml", "deit_tiny_patch16_224"},    {"deit.yaml", "deit_small_patch16_224"},
    {"deit.yaml", "deit_base_patch16_224"},    {"efficientnet.yaml", "efficientnet_b0"},
    {"mobilenetv3.yaml", "mobilenetv3_large"}, {"regnet.yaml", "regnety_004"},
};
static const char *const recipes[] = {"dinov2",   "dinov2_swiglu", "dinov3",      "xcit",
                                      "convnext", "efficientnet",  "mobilenetv3", "regnet"};

/* Into a plan that is opened, and so verified. */
static void compile(struct dg_compile_options options)
{
    char path[] = "/tmp/dinograph-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    options.output = path;
    compile_plan(&options);
    struct dg_plan plan;
    assert_ok(dg_plan_open(path, &plan, try_err));
    dg_plan_close(&plan);
    unlink(path);
}

static void test_modules(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof modules / sizeof *modules; m++) {
        char file[256];
        snprintf(file, sizeof file, DG_SOURCE_DIR "/graphs/backbones/%s", modules[m][0]);
        compile((struct dg_compile_options){.file = file, .name = modules[m][1], .height = 224, .width = 224});
    }
}

static void test_steps(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            compile((struct dg_compile_options){.file = DG_SOURCE_DIR "/tests/fixtures/backbones.yaml",
                                                .name = recipes[r],
                                                .dtype = bf16 ? "bf16" : "f32"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_modules), cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

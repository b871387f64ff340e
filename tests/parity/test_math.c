/* Linear layers as products of bf16 parts (dinoc --math): ten steps of ViT-Tiny/16 against PyTorch in f32, as test_vit has them. Losses
 * within 1e-4 of PyTorch's with three products, and as near as in f32 with six; the first gradients of each tensor within a
 * thousandth, and as near as in f32. */
#include "ops/dnnl/cpu.h"
#include "tests/support/compile.h"
#include "tests/support/parity.h"

#include <math.h>

enum { BATCH = 2 };

static void compile(const char *plan, const char *math)
{
    static const char *const set[] = {"student.backbone=vit_tiny",
                                      "student.with.drop_path=0",
                                      "head.with.out_dim=1024",
                                      "crops.local.count=4",
                                      "lr=5e-4",
                                      "weight_decay=0.04",
                                      "teacher.momentum=0.99",
                                      "optim.clip=0",
                                      "optim.freeze.for=0 epochs",
                                      "epochs=1"};
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/dino_vits16_100ep.yaml",
                                         .output = in(plan),
                                         .set = set,
                                         .num_sets = (int)(sizeof set / sizeof *set),
                                         .batch = BATCH,
                                         .math = math};
    compile_plan(&options);
}

static int setup(void **state)
{
    if (make_test_folder(state)) return 1;
    compile("three.plan", "bf16x3");
    compile("six.plan", "bf16x6");
    dg_parity_write_crops("crops", BATCH, 0, DG_PARITY_STEPS);
    dg_parity_write_weights("weights", "three.plan");
    return 0;
}

static double loss_limit;

static void compare_losses(const json_t *got, const json_t *want)
{
    dg_parity_near("loss", got, want, loss_limit * fabs(dg_parity_number(want, "loss")));
    dg_parity_near("teacher_entropy", got, want, loss_limit * fabs(dg_parity_number(want, "teacher_entropy")));
}

/* After one step, the first moment is a tenth of the gradient. */
static void compare_gradients(const char *run, const json_t *expected, double share)
{
    struct dg_safetensors *file = dg_parity_checkpoint(run);
    const char *name;
    json_t *summary;
    json_object_foreach(json_object_get(expected, "gradients"), name, summary)
    {
        const struct dg_safetensors_tensor *tensor = dg_parity_find(file, "optim.exp_avg.student.", name);
        float *values = dg_parity_floats(tensor);
        double error = dg_parity_distance(values, dg_safetensors_elements(tensor), name, 10, summary);
        double limit = share * dg_parity_number(summary, "norm");
        if (!(error <= limit)) fail_msg("gradient of %s differs by %g, %g allowed", name, error, limit);
        free(values);
    }
    dg_safetensors_close(file);
}

static void check(const char *plan, const char *name, double losses, double gradients)
{
    if (dg_bf16_support() == DG_BF16_NONE) return;
    char first[32];
    json_t *expected = dg_parity_fixture("parity_a.json");
    snprintf(first, sizeof first, "%s first", name);
    dg_parity_train(plan, "crops", first, 1, false);
    compare_gradients(first, expected, gradients);
    dg_parity_train(plan, "crops", name, -1, false);
    loss_limit = losses;
    dg_parity_compare_log(name, expected, compare_losses);
    json_decref(expected);
}

static void test_three_products(void **state)
{
    (void)state;
    check("three.plan", "three", 1e-4, 1e-3);
}

static void test_six_products(void **state)
{
    (void)state;
    check("six.plan", "six", 1e-5, 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_three_products), cmocka_unit_test(test_six_products)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

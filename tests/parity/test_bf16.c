/* Training in bf16: the first step's gradients are no further from those of f32 than PyTorch's under autocast are from its own
 * (tests/reference/make_bf16.py), by half at most, in the mean of some batches; runs repeat and resume bit for bit. */
#include "ops/dnnl/cpu.h"
#include "tests/support/parity.h"

#include <math.h>

enum { BATCH = 2, STEPS = 4, BATCHES = 4 };

static const char *const common[] = {"student.with={}",
                                     "head.with.out_dim=1024",
                                     "crops.local.count=4",
                                     "weight_decay=0.04",
                                     "lr=5e-4",
                                     "teacher.momentum=0.99",
                                     "loss.teacher_temp=0.04",
                                     "optim={kind: adamw, clip: 0, freeze: {params: last_layer, for: 0 epochs}}",
                                     "epochs=1"};
enum { COMMON = sizeof common / sizeof *common };

static void compile(const char *plan, const char *backbone, const char *head, const char *dtype)
{
    char set[3][64];
    snprintf(set[0], sizeof set[0], "student.backbone=%s", backbone);
    snprintf(set[1], sizeof set[1], "head.with.bn=%s", head);
    snprintf(set[2], sizeof set[2], "dtype=%s", dtype);
    const char *more[] = {set[0], set[1], set[2]};
    const char *recipe = strstr(backbone, "resnet") ? "dino_resnet50_800ep.yaml" : "dino_vits16_100ep.yaml";
    dg_parity_compile(plan, recipe, BATCH, common, COMMON, more, 3);
}

static bool skipped(void)
{
    if (dg_bf16_support() != DG_BF16_NONE) return false;
    print_message("skipped: this CPU has no bf16\n");
    return true;
}

static int setup(void **state)
{
    (void)state;
    if (make_test_folder(state)) return 1;
    dg_parity_write_crops("crops", BATCH, 0, STEPS);
    return 0;
}

/* Checkpoints of one step on each batch, in f32 and bf16. */
struct steps {
    struct dg_safetensors *f32[BATCHES], *bf16[BATCHES];
};

static struct steps train_steps(const char *arch)
{
    struct steps steps;
    for (int b = 0; b < BATCHES; b++) {
        char crops[32], run[2][64];
        snprintf(crops, sizeof crops, "batch%d", b);
        dg_parity_write_crops(crops, BATCH, b, 1);
        for (int bf16 = 0; bf16 < 2; bf16++) {
            snprintf(run[bf16], sizeof run[0], "%s%d.%d", arch, b, bf16);
            dg_parity_train(bf16 ? "bf16.plan" : "f32.plan", crops, run[bf16], 1, false);
        }
        steps.f32[b] = dg_parity_checkpoint(run[0]);
        steps.bf16[b] = dg_parity_checkpoint(run[1]);
    }
    return steps;
}

/* Distance of one parameter's gradient in bf16 from that in f32, in parts of its L2 norm; root of the mean of squares. After
 * one step, the first moment is a tenth of the gradient. */
static double distance(const struct steps *steps, const char *name)
{
    double sum = 0;
    for (int b = 0; b < BATCHES; b++) {
        const struct dg_safetensors_tensor *tensor = dg_parity_find(steps->f32[b], "optim.exp_avg.student.", name);
        float *exact = dg_parity_floats(tensor),
              *rounded = dg_parity_floats(dg_parity_find(steps->bf16[b], "optim.exp_avg.student.", name));
        double far = 0, norm = 0;
        for (int64_t i = 0; i < dg_safetensors_elements(tensor); i++) {
            far += pow((double)rounded[i] - (double)exact[i], 2);
            norm += pow((double)exact[i], 2);
        }
        sum += far / norm;
        free(exact);
        free(rounded);
    }
    return sqrt(sum / BATCHES);
}

static void compare_gradients(const char *arch, const char *bn)
{
    if (skipped()) return;
    compile("f32.plan", arch, bn, "f32");
    compile("bf16.plan", arch, bn, "bf16");
    dg_parity_write_weights("weights", "f32.plan");
    struct steps steps = train_steps(arch);
    json_t *fixture = dg_parity_fixture("bf16.json"), *theirs;
    const char *name, *worst = "";
    double most = 0, sum = 0;
    int count = 0;
    json_object_foreach(json_object_get(fixture, arch), name, theirs)
    {
        if (json_number_value(theirs) > 1)
            continue; /* a bias before a batch norm: zero, and rounding is all there is */
        double ours = distance(&steps, name), share = ours / json_number_value(theirs);
        if (!(share <= 1.5))
            print_error("gradient of %s: %g from that of f32, PyTorch's %g\n", name, ours, json_number_value(theirs));
        if (!(share <= most)) {
            most = share;
            worst = name;
        }
        sum += share;
        count++;
    }
    print_message("%s: gradients in bf16 are %.2f times as far from f32 as PyTorch's, at most %.2f (%s)\n", arch,
                  sum / count, most, worst);
    assert_true(count > 50);
    assert_true(most <= 1.5);
    assert_true(sum / count > 0.05); /* it was in bf16 */
    for (int b = 0; b < BATCHES; b++) {
        dg_safetensors_close(steps.f32[b]);
        dg_safetensors_close(steps.bf16[b]);
    }
    json_decref(fixture);
}

static void test_gradients_of_a_vit(void **state)
{
    (void)state;
    compare_gradients("vit_tiny", "false");
}

static void test_gradients_of_a_resnet(void **state)
{
    (void)state;
    compare_gradients("resnet18", "true");
}

static void assert_same_run(const char *a, const char *b)
{
    struct dg_safetensors *x = dg_parity_checkpoint(a), *y = dg_parity_checkpoint(b);
    int count = dg_safetensors_count(x);
    assert_true(count > 100);
    assert_int_equal(count, dg_safetensors_count(y));
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *one = dg_safetensors_at(x, i), *other = dg_parity_find(y, "", one->name);
        assert_int_equal(one->bytes, other->bytes);
        if (memcmp(one->data, other->data, one->bytes)) fail_msg("%s differs between %s and %s", one->name, a, b);
    }
    dg_safetensors_close(x);
    dg_safetensors_close(y);
}

static void test_repeats_and_resumes(void **state)
{
    (void)state;
    if (skipped()) return;
    compile("bf16.plan", "vit_tiny", "false", "bf16");
    dg_parity_write_weights("weights", "bf16.plan");
    dg_parity_train("bf16.plan", "crops", "whole", 3, false);
    dg_parity_train("bf16.plan", "crops", "again", 3, false);
    assert_same_run("whole", "again");
    dg_parity_train("bf16.plan", "crops", "parts", 1, false);
    dg_parity_train("bf16.plan", "crops", "parts", 3, true);
    assert_same_run("whole", "parts");
}

/* A checkpoint is the same in both types: a run in f32 goes on in bf16. */
static void test_goes_on_from_f32(void **state)
{
    (void)state;
    if (skipped()) return;
    compile("f32.plan", "vit_tiny", "false", "f32");
    compile("bf16.plan", "vit_tiny", "false", "bf16");
    dg_parity_write_weights("weights", "f32.plan");
    dg_parity_train("f32.plan", "crops", "turns", 1, false);
    dg_parity_train("bf16.plan", "crops", "turns", 2, true);
    struct dg_safetensors *file = dg_parity_checkpoint("turns");
    assert_string_equal(dg_safetensors_metadata(file, "step"), "2");
    dg_safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_of_a_vit),
        cmocka_unit_test(test_gradients_of_a_resnet),
        cmocka_unit_test(test_repeats_and_resumes),
        cmocka_unit_test(test_goes_on_from_f32),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

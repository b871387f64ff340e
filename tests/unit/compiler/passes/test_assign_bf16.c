/* A plan in bf16: what an image or a token costs is bf16, and what has to be exact is not. */
#include "runtime/plan/open.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

/* One of an op's results. */
struct made {
    const char *op, *node;
    int output;
    const struct dg_plan_tensor *tensor;
};

/* Calls `check` for all that a training step makes but the gradients of parameters. */
static void each_made(const char *recipe, const char *dtype, void check(const struct made *made))
{
    char path[256];
    snprintf(path, sizeof path, "%s/graphs/%s", DG_SOURCE_DIR, recipe);
    struct dg_compile_options options = {.file = path, .output = in("plan"), .batch = 2, .dtype = dtype};
    compile_plan(&options);
    struct dg_plan plan;
    const struct dg_plan_entry *entry;
    assert_ok(dg_plan_open(in("plan"), &plan, try_err));
    assert_ok(dg_plan_find_entry(&plan, "train", &entry, try_err));
    for (uint32_t n = 0; n < entry->first_commit; n++) {
        const struct dg_plan_op *op = &plan.op[entry->first_op + n];
        const char *name = dg_plan_string(&plan, op->op);
        if (strstr(name, "grad_weights")) continue;
        for (uint32_t o = 0; o < op->num_outputs; o++) {
            uint32_t t = plan.operand[op->first_operand + op->num_inputs + o];
            if (t == DG_PLAN_NONE) continue;
            check(&(struct made){name, dg_plan_string(&plan, op->name), (int)o, &plan.tensor[t]});
        }
    }
    dg_plan_close(&plan);
}

static enum dg_dtype images;
static int num_images;

static void check_image(const struct made *m)
{
    if (m->tensor->ndim != 4 || m->tensor->dtype == DG_U8) return; /* which pixel max pooling took */
    if (m->tensor->dtype != images) fail_msg("%s of %s, output %d", m->op, m->node, m->output);
    num_images++;
}

/* Of a ResNet's step, all images between its ops, and their gradients. */
static void test_resnet(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        num_images = 0;
        images = bf16 ? DG_BF16 : DG_F32;
        each_made("dino_resnet50_800ep.yaml", bf16 ? "bf16" : "f32", check_image);
        assert_true(num_images > 600);
    }
}

static int wide, narrow;

static bool is(const struct made *m, const char *op) { return !strcmp(m->op, op); }

static void check_vit(const struct made *m)
{
    bool sum = is(m, "add") || is(m, "drop_path_add"), joined = is(m, "add_layer_norm");
    bool stream = sum || is(m, "add_position") || (is(m, "layer_norm_grad") && !m->output) || (joined && !m->output);
    bool between = is(m, "gelu") || (is(m, "gelu_grad_sums") && !m->output) || (is(m, "attention") && !m->output) ||
                   (is(m, "layer_norm") && !m->output && strstr(m->node, "blocks.")) ||
                   (joined && m->output == 1 && strstr(m->node, ".mid"));
    if (stream && m->tensor->dtype == DG_BF16) fail_msg("%s of %s is bf16", m->op, m->node);
    if (between && m->tensor->dtype != DG_BF16) fail_msg("%s of %s is not bf16", m->op, m->node);
    wide += stream;
    narrow += between;
}

/* Of a ViT's, what is between the products of a block; not the residual stream and its gradient. */
static void test_vit(void **state)
{
    (void)state;
    wide = narrow = 0;
    each_made("dino_vits16_100ep.yaml", "bf16", check_vit);
    assert_true(wide > 100);
    assert_true(narrow > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resnet), cmocka_unit_test(test_vit)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

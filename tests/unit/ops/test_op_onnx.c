/* An op that a network can have in its evaluation has a form in ONNX: those that have none are listed here, with why. */
#include "ops/op.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

#include <dirent.h>

/* Of training alone. A gradient, an update, a target or a loss needs no line. */
static const char *const training[] = {
    "dropout",       /* as the next */
    "drop_path",     /* is nothing in evaluation: the compiler drops it */
    "drop_path_add", /* likewise */
    "draw_rows",     /* which images drop path leaves out */
    "pack_weights",  /* once a step; evaluation packs once a session */
    "slice_rows",    /* gradient of concat_rows */
    "place_columns", /* gradient of slice_columns */
    "mul_sums",      /* gradient of mul */
    "gather_images", /* of all processes */
    "take_images",   /* of a batch in slices, as the next two */
    "zeros_like",    "add_mean", "grad_norms", "layer_rate", "adamw", "sgd", "lars", "ema", "gelu_grad_sums",
};

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), e = strlen(end);
    return n >= e && !strcmp(name + n - e, end);
}

static bool of_training(const char *name)
{
    for (size_t i = 0; i < sizeof training / sizeof *training; i++)
        if (!strcmp(name, training[i])) return true;
    return strstr(name, "_grad") || ends_in(name, "_update") || ends_in(name, "_loss") || ends_in(name, "_target") ||
           ends_in(name, "cross_entropy");
}

static void test_every_op(void **state)
{
    (void)state;
    bool complete = true;
    for (int i = 0; i < dg_op_count(); i++) {
        const struct dg_op *op = dg_op_at(i);
        if (!!op->onnx != of_training(op->name)) continue;
        print_error(op->onnx ? "%s has a form in ONNX and is listed as one of training\n"
                             : "%s has no form in ONNX: give it .onnx (ops/op_onnx.h), or say here why it needs none\n",
                    op->name);
        complete = false;
    }
    for (size_t i = 0; i < sizeof training / sizeof *training; i++)
        if (!dg_op_find(training[i])) fail_msg("there is no op %s", training[i]);
    assert_true(complete);
}

static int check_entry(const struct dg_plan *plan, enum dg_entry_role role, const char *what)
{
    if (plan->header->entry[role] == DG_PLAN_NONE) return 0;
    const struct dg_plan_entry *entry = &plan->entry[plan->header->entry[role]];
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const char *name = dg_plan_string(plan, plan->op[entry->first_op + n].op);
        if (!dg_op_find(name)->onnx) fail_msg("%s: %s has no form in ONNX", what, name);
    }
    return 1;
}

/* Every description of graphs/ that can be compiled by its name alone. */
static void test_every_recipe(void **state)
{
    (void)state;
    DIR *folder = opendir(DG_SOURCE_DIR "/graphs");
    int checked = 0;
    for (struct dirent *file; (file = readdir(folder));) {
        if (!ends_in(file->d_name, ".yaml")) continue;
        char *source = strdup(path_in(DG_SOURCE_DIR "/graphs", file->d_name)), *path = strdup(in("plan"));
        struct dg_compile_options options = {.file = source, .output = path, .batch = 8};
        struct dg_plan plan = {0};
        bool recipe = !strncmp(file->d_name, "dino_", 5) ? strcmp(file->d_name, "dino_head.yaml")
                                                         : !strncmp(file->d_name, "cifar", 5);
        if (recipe) {
            compile_plan(&options);
            assert_ok(dg_plan_open(path, &plan, try_err));
            checked += check_entry(&plan, DG_ENTRY_FEATURES, source) + check_entry(&plan, DG_ENTRY_TOKENS, source);
            dg_plan_close(&plan);
        }
        free(source);
        free(path);
    }
    closedir(folder);
    assert_true(checked > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_op), cmocka_unit_test(test_every_recipe)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

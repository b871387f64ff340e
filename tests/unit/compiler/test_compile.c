/* The shipped descriptions compile, the same every time; what --print writes compiles to the same run; and no text, however
 * broken, brings the compiler down. */
#include "compiler/compile.h"
#include "runtime/plan/open.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <glob.h>
#include <pthread.h>
#include <unistd.h>

static int teardown(void **state)
{
    (void)state;
    unlink(in("a.plan"));
    unlink(in("b.plan"));
    unlink(in("text.yaml"));
    return rmdir(test_folder); /* nothing else was left */
}

/* The text of a compile that must succeed; the caller frees it. */
static char *compile(const struct dg_compile_options *options)
{
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(options, &result, &err) != DG_OK)
        fail_msg("%s: %s\n%s", options->file, err.text, result.diagnostics);
    assert_string_equal(result.diagnostics, "");
    char *text = strdup(result.text);
    dg_compile_result_free(&result);
    return text;
}

static void open_plan(const char *path, struct dg_plan *plan)
{
    struct dg_error err = {0};
    if (dg_plan_open(path, plan, &err) != DG_OK) fail_msg("%s", err.text);
}

/* A recipe is a file whose text has a line `recipe: ...`. */
static bool is_recipe(const char *path)
{
    size_t size;
    char *text = read_file(path, &size);
    bool found = strstr(text, "\nrecipe: ") != NULL;
    free(text);
    return found;
}

static void each_recipe(void (*check)(const char *path))
{
    glob_t found;
    int recipes = 0;
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/*.yaml", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (is_recipe(found.gl_pathv[i])) {
            check(found.gl_pathv[i]);
            recipes++;
        }
    globfree(&found);
    assert_true(recipes >= 8);
}

/* ViTs have attention and tokens, ResNets do not. */
static int entries_of(const char *path) { return strstr(path, "resnet") ? 2 : 4; }

static void check_twice_the_same(const char *path)
{
    size_t size_a, size_b;
    free(compile(&(struct dg_compile_options){.file = path, .output = in("a.plan"), .batch = 2}));
    free(compile(&(struct dg_compile_options){.file = path, .output = in("b.plan"), .batch = 2}));
    char *a = read_file(in("a.plan"), &size_a), *b = read_file(in("b.plan"), &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    free(a);
    free(b);

    struct dg_plan plan;
    open_plan(in("a.plan"), &plan);
    const struct dg_plan_entry *entry;
    struct dg_error err = {0};
    static const char *const names[] = {"train", "features", "attention", "tokens"};
    assert_int_equal(plan.num_entries, entries_of(path));
    for (int e = 0; e < entries_of(path); e++)
        assert_int_equal(dg_plan_find_entry(&plan, names[e], &entry, &err), DG_OK);
    assert_int_equal(plan.entry[0].batch, 2);
    for (uint32_t e = 0; e < plan.num_entries; e++) {
        entry = &plan.entry[e];
        assert_true(entry->step_bound > 0);
        assert_true(entry->region_bytes[DG_REGION_STEP] >= entry->step_bound);
        assert_true(entry->step_naive >= entry->region_bytes[DG_REGION_STEP]);
    }
    dg_plan_close(&plan);
}

static void test_recipes_compile_twice_the_same(void **state)
{
    (void)state;
    each_recipe(check_twice_the_same);
}

static void check_print(const char *path)
{
    struct dg_plan a, b;
    char *printed = compile(&(struct dg_compile_options){.file = path, .print = true, .batch = 2});
    write_file(in("text.yaml"), printed, strlen(printed));
    free(compile(&(struct dg_compile_options){.file = path, .output = in("a.plan"), .batch = 2}));
    free(compile(&(struct dg_compile_options){.file = in("text.yaml"), .output = in("b.plan")}));
    free(printed);
    open_plan(in("a.plan"), &a);
    open_plan(in("b.plan"), &b);
    assert_true(a.header->model_hash == b.header->model_hash);
    assert_string_equal(dg_plan_string(&a, a.header->recipe), dg_plan_string(&b, b.header->recipe));
    assert_int_equal(a.num_entries, b.num_entries);
    assert_int_equal(a.num_ops, b.num_ops);
    assert_int_equal(a.num_tensors, b.num_tensors);
    assert_int_equal(a.num_knobs, b.num_knobs);
    assert_int_equal(a.num_schedules, b.num_schedules);
    for (uint32_t k = 0; k < a.num_knobs; k++) {
        const struct dg_plan_knob *x = &a.knob[k], *y = &b.knob[k];
        assert_string_equal(dg_plan_string(&a, x->key), dg_plan_string(&b, y->key));
        assert_true(x->type == y->type && x->unit == y->unit && x->min == y->min && x->max == y->max);
        assert_memory_equal(x->value, y->value, sizeof x->value);
    }
    for (uint32_t s = 0; s < a.num_schedules; s++) {
        const struct dg_plan_schedule *x = &a.schedule[s], *y = &b.schedule[s];
        assert_string_equal(dg_plan_string(&a, x->key), dg_plan_string(&b, y->key));
        assert_true(x->curve == y->curve && x->per_epoch == y->per_epoch);
    }
    dg_plan_close(&a);
    dg_plan_close(&b);
}

static void test_printed_recipes_are_the_same_runs(void **state)
{
    (void)state;
    each_recipe(check_print);
}

static void explains(const char *key, const char *text)
{
    char *said = dg_compile_explain_key(key);
    if (!said || !strstr(said, text)) fail_msg("%s: %s", key, said ? said : "not there");
    free(said);
}

static void test_explain_key(void **state)
{
    (void)state;
    explains("crops.global.scale", "of a recipe: Share of the image's area");
    explains("crops.global.scale", "default  [0.4, 1]");
    explains("lr", "of a probe: Learning rate.");
    explains("lr.peak", "end of the warm-up");
    explains("teacher.momentum.from", "The value at the beginning.");
    explains("crops.mean.1", "list of numbers");
    explains("crops.global.views.0.blur", "Gaussian blur");
    explains("optim.betas", "adamw");
    explains("loss", "  loss.teacher_temp ");
    explains("classes", "of a probe");
    static const char *const none[] = {
        "", "lr.", "lr.what", "crops.mean.", "crops.mean.x", "crops.global.views.0", "crops.global.views.0.", ".lr"};
    for (size_t n = 0; n < sizeof none / sizeof *none; n++) assert_null(dg_compile_explain_key(none[n]));
    assert_string_equal(dg_compile_nearest_key("loss.teacher_tmp"), "loss.teacher_temp");
    assert_string_equal(dg_compile_nearest_key("teacher_temp"), "loss.teacher_temp");
    assert_null(dg_compile_nearest_key("nothing like any"));
}

static void test_explain(void **state)
{
    (void)state;
    struct dg_compile_options options = {
        .file = DG_SOURCE_DIR "/graphs/demo.yaml", .batch = 2, .explain = "blocks.2.attn.qkv"};
    char *text = compile(&options);
    assert_non_null(strstr(text, "blocks.2.attn.qkv: linear, in student.backbone(local)"));
    assert_non_null(strstr(text, "student.backbone.blocks.2.attn.qkv.weight"));
    assert_non_null(strstr(text, "f32 [384, 128]"));
    assert_non_null(strstr(text, "graphs/vit.yaml:"));
    assert_null(strstr(text, "blocks.2.attn.proj:"));
    free(text);
    options.explain = "blocks.2";
    text = compile(&options);
    assert_non_null(strstr(text, "blocks.2.attn.proj:"));
    assert_null(strstr(text, "blocks.1.attn.proj:"));
    free(text);
    options.explain = "blocks.2.norm2"; /* which the node of the sum in front makes */
    text = compile(&options);
    assert_non_null(strstr(text, "blocks.2.mid: add_layer_norm, in features"));
    free(text);

    struct dg_compile_result result;
    struct dg_error err = {0};
    options.explain = "blocks.2.attn.qvk";
    assert_int_equal(dg_compile(&options, &result, &err), DG_ERR_USAGE);
    assert_string_equal(err.text,
                        "--explain blocks.2.attn.qvk: demo has no such node; did you mean blocks.2.attn.qkv?");
    dg_compile_result_free(&result);
    options.explain = "something else";
    err = (struct dg_error){0};
    assert_int_equal(dg_compile(&options, &result, &err), DG_ERR_USAGE);
    assert_string_equal(err.text, "--explain something else: demo has no such node");
    dg_compile_result_free(&result);
}

/* Such a node stands for its input: the sums are of equal shapes only then. */
static void test_nodes_that_are_left_out(void **state)
{
    (void)state;
    static const char text[] = "module: m\n"
                               "nodes:\n"
                               "  a: {op: gelu, repeat: 0}\n"
                               "  b: {op: relu, from: a}\n"
                               "  c: {op: conv2d, out: 8, kernel: 1}\n"
                               "  d: {op: relu, from: b, when: false}\n"
                               "  e: {op: add, from: [a, d]}\n";
    write_file(in("text.yaml"), text, sizeof text - 1);
    struct dg_plan plan;
    free(compile(&(struct dg_compile_options){.file = in("text.yaml"), .output = in("a.plan")}));
    open_plan(in("a.plan"), &plan);
    assert_int_equal(plan.num_entries, 1);
    assert_true(plan.num_ops >= 1);
    dg_plan_close(&plan);
}

static void test_a_module_alone(void **state)
{
    (void)state;
    struct dg_plan plan;
    char *text = compile(&(struct dg_compile_options){
        .file = DG_SOURCE_DIR "/graphs/vit.yaml", .name = "vit_tiny", .output = in("a.plan"), .batch = 3});
    assert_non_null(strstr(text, "module vit_tiny -> "));
    free(text);
    open_plan(in("a.plan"), &plan);
    static const char *const names[] = {"features", "attention", "tokens"};
    assert_int_equal(plan.num_entries, 3);
    for (uint32_t e = 0; e < 3; e++) {
        const struct dg_plan_entry *entry = &plan.entry[e];
        const struct dg_plan_tensor *out = &plan.tensor[plan.operand[entry->first_output]];
        assert_string_equal(dg_plan_string(&plan, entry->name), names[e]);
        assert_int_equal(entry->batch, 3);
        assert_int_equal(entry->num_outputs, 1);
        assert_int_equal(out->dim[0], 3);
        assert_int_equal(out->dim[1], e ? e == 1 ? 3 : 197 : 192);
    }
    dg_plan_close(&plan);

    const char *const set[] = {"patch=8", "depth=2"}; /* its arguments */
    free(compile(&(struct dg_compile_options){.file = DG_SOURCE_DIR "/graphs/vit.yaml",
                                              .name = "vit_tiny",
                                              .output = in("a.plan"),
                                              .set = set,
                                              .num_sets = 2,
                                              .height = 64,
                                              .width = 96}));
    open_plan(in("a.plan"), &plan);
    const struct dg_plan_entry *tokens = &plan.entry[2];
    assert_int_equal(plan.tensor[plan.operand[tokens->first_output]].dim[1], 1 + 8 * 12);
    dg_plan_close(&plan);
}

/* The report shows the sum of the bytes and the bound as numbers a reader can compare. */
static void check_report(const char *path)
{
    char *text = compile(&(struct dg_compile_options){.file = path, .output = in("a.plan"), .batch = 2});
    int entries = 0;
    for (const char *at = text; (at = strstr(at, "if each had its own place; ")); entries++) {
        double over;
        at += strlen("if each had its own place; ");
        assert_int_equal(sscanf(at, "%lf %% above the lower bound", &over), 1);
        assert_true(over >= 0 && over < 2);
    }
    assert_int_equal(entries, entries_of(path));
    free(text);
}

static void test_the_reported_peak_is_near_the_bound(void **state)
{
    (void)state;
    each_recipe(check_report);
}

/* --- broken text --- */

static uint32_t seed = 20240607;
static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

/* No crash is what counts. A compile that fails must say why, and one that succeeds must give a plan that opens. */
static void survive(const char *text, size_t size, bool print)
{
    struct dg_compile_options options = {
        .file = in("text.yaml"), .output = print ? NULL : in("a.plan"), .batch = 2, .print = print};
    struct dg_compile_result result;
    struct dg_error err = {0};
    write_file(in("text.yaml"), text, size);
    enum dg_status status = dg_compile(&options, &result, &err);
    if (status != DG_OK) {
        if (!*err.text || (status == DG_ERR_INPUT && !*result.diagnostics))
            fail_msg("nothing says why this fails:\n%.*s", (int)size, text);
    } else if (!print) {
        struct dg_plan plan;
        open_plan(in("a.plan"), &plan);
        dg_plan_close(&plan);
    }
    dg_compile_result_free(&result);
}

/* A whole description in one file, small, as --print writes it. */
static char *whole_description(size_t *size)
{
    char *text = compile(&(struct dg_compile_options){.file = DG_SOURCE_DIR "/graphs/demo.yaml", .print = true});
    *size = strlen(text);
    return text;
}

static void test_truncated_text(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/*.yaml", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t size;
        char *text = read_file(found.gl_pathv[i], &size);
        for (size_t end = 0; end < size; end += 97) survive(text, end, false);
        free(text);
    }
    globfree(&found);
    size_t size;
    char *text = whole_description(&size);
    for (size_t end = 0; end < size; end += 97) survive(text, end, end % 2);
    free(text);
}

static void test_mutated_text(void **state)
{
    (void)state;
    static const char marks[] = "{}[],:#&*!|>'\"%@`-? \n\t0.(x/<\\\x80\xff";
    size_t size;
    char *text = whole_description(&size), *broken = malloc(size + 64);
    assert_non_null(broken);
    for (int i = 0; i < 400; i++) {
        size_t length = size;
        memcpy(broken, text, size);
        for (uint32_t edits = 1 + draw(3); edits; edits--) {
            size_t at = draw((uint32_t)length);
            char byte = draw(2) ? marks[draw(sizeof marks)] : (char)draw(256); /* a mark may be the zero byte */
            switch (draw(4)) {
            case 0: broken[at] = byte; break;
            case 1:
                memmove(broken + at + 1, broken + at, length++ - at);
                broken[at] = byte;
                break;
            case 2: memmove(broken + at, broken + at + 1, --length - at); break;
            default: { /* a piece of the text in another place */
                size_t piece = 1 + draw(32), from = draw((uint32_t)(length - 32)), to = draw((uint32_t)(length - 32));
                memmove(broken + to, broken + from, piece);
            }
            }
        }
        survive(broken, length, i % 8 == 7);
    }
    free(broken);
    free(text);
}

/* A compile in a thread of its own. */
struct compile_call {
    struct dg_compile_options options;
    struct dg_error err;
};
static void *call_compile(void *context)
{
    struct compile_call *call = context;
    struct dg_compile_result result;
    dg_compile(&call->options, &result, &call->err);
    dg_compile_result_free(&result);
    return NULL;
}

/* A residual branch of 8000 nodes in a row, run on the images that drop path leaves and computed again as a whole: no pass may go
 * along it by calling itself, as a stack is soon full. */
static void test_a_long_branch(void **state)
{
    (void)state;
    static const char *const set[] = {"student.with.depth=2", "student.with.drop_path=0.2", "crops.local.count=0"};
    static const char act[] = "mlp.act: gelu\n", long_act[] = "mlp.act: {repeat: 8, use: many}\n",
                      many[] = "module: many\nnodes: {a: {repeat: 1000, op: gelu}}\n---\n";
    size_t size;
    char *text = whole_description(&size), *at = strstr(text, act), *longer = malloc(size + 256);
    assert_non_null(at);
    assert_non_null(longer);
    int length = snprintf(longer, size + 256, "%s%.*s%s%s", many, (int)(at - text), text, long_act, at + strlen(act));
    write_file(in("text.yaml"), longer, (size_t)length);
    free(longer);
    free(text);
    struct compile_call call = {.options = {.file = in("text.yaml"),
                                            .set = set,
                                            .num_sets = sizeof set / sizeof *set,
                                            .batch = 2,
                                            .memory = INT64_C(20) << 20}};
    pthread_attr_t small;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&small), 0);
    assert_int_equal(pthread_attr_setstacksize(&small, 384 << 10), 0);
    assert_int_equal(pthread_create(&thread, &small, call_compile, &call), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&small);
    if (!strstr(call.err.text, "a step of 2 images needs at least")) fail_msg("%s", call.err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes_compile_twice_the_same),
        cmocka_unit_test(test_printed_recipes_are_the_same_runs),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_explain_key),
        cmocka_unit_test(test_nodes_that_are_left_out),
        cmocka_unit_test(test_a_module_alone),
        cmocka_unit_test(test_the_reported_peak_is_near_the_bound),
        cmocka_unit_test(test_truncated_text),
        cmocka_unit_test(test_mutated_text),
        cmocka_unit_test(test_a_long_branch),
    };
    return cmocka_run_group_tests(tests, make_test_folder, teardown);
}

/* Every pass on a small description: the dump after it is the one in cases/PASS.expected. The first line of cases/PASS.yaml has the
 * settings. DG_UPDATE=1 writes the expected dumps anew. Also: what --skip and --dump refuse, and that a pass which breaks the graph
 * is caught, by name. */
#include "compiler/compile.h"
#include "compiler/pipeline/pipeline.h"
#include "runtime/plan/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CASES DG_SOURCE_DIR "/tests/unit/compiler/passes/cases/"

/* A file's text, to be freed; NULL: it cannot be read. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    bool failed = !fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    assert_false(failed);
    return text;
}

/* "# --dump=fuse:blocks --skip=prune --dtype=bf16" -> options that point into `line`. */
static void read_settings(char *line, struct dg_compile_options *options)
{
    line[strcspn(line, "\n")] = 0;
    for (char *word = strtok(line + 1, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        const char **to = !strcmp(word, "--dump")   ? &options->dump
                          : !strcmp(word, "--skip") ? &options->skip
                                                    : &options->dtype;
        *to = value;
    }
}

static void check_case(const char *pass)
{
    char path[1024], expected_path[1024];
    snprintf(path, sizeof path, CASES "%s.yaml", pass);
    snprintf(expected_path, sizeof expected_path, CASES "%s.expected", pass);
    char *yaml = read_file(path);
    if (!yaml) fail_msg("pass %s has no case: %s is not there", pass, path);
    struct dg_compile_options options = {.file = path};
    read_settings(yaml, &options);
    assert_int_equal(strncmp(options.dump, pass, strlen(pass)), 0);
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s: %s\n%s", pass, err.text, result.diagnostics);
    if (getenv("DG_UPDATE")) {
        FILE *file = fopen(expected_path, "wb");
        assert_non_null(file);
        fputs(result.dumps, file);
        fclose(file);
    }
    char *expected = read_file(expected_path);
    if (!expected || strcmp(expected, result.dumps))
        fail_msg("the dump is not that of %s, but:\n%s", expected_path, result.dumps);
    free(expected);
    free(yaml);
    dg_compile_result_free(&result);
}

static void test_every_pass(void **state)
{
    (void)state;
    for (const struct dg_pass *pass = dg_application_passes; pass->name; pass++) check_case(pass->name);
    for (const struct dg_pass *pass = dg_loss_passes; pass->name; pass++) check_case(pass->name);
    for (const struct dg_pass *pass = dg_target_passes; pass->name; pass++) check_case(pass->name);
    for (const struct dg_pass *pass = dg_entry_passes; pass->name; pass++) check_case(pass->name);
}

static enum dg_status compile_without(const char *skip, const char *dump, struct dg_error *err)
{
    char plan_path[] = "/tmp/dinograph-test-XXXXXX";
    int fd = mkstemp(plan_path);
    assert_true(fd >= 0);
    close(fd);
    struct dg_compile_options options = {
        .file = CASES "compact_rows.yaml", .output = plan_path, .dtype = "bf16", .skip = skip, .dump = dump};
    struct dg_compile_result result;
    *err = (struct dg_error){0};
    enum dg_status status = dg_compile(&options, &result, err);
    dg_compile_result_free(&result);
    struct dg_plan plan;
    if (status == DG_OK) status = dg_plan_open(plan_path, &plan, err); /* it verifies what the compiler wrote */
    if (status == DG_OK) dg_plan_close(&plan);
    unlink(plan_path);
    return status;
}

static void test_any_pass_may_be_skipped(void **state)
{
    (void)state;
    struct dg_error err;
    char all[256] = "";
    const struct dg_pass *tables[] = {dg_application_passes, dg_loss_passes, dg_target_passes, dg_entry_passes};
    for (int t = 0; t < 4; t++)
        for (const struct dg_pass *pass = tables[t]; pass->name; pass++) {
            if (compile_without(pass->name, NULL, &err) != DG_OK) fail_msg("without %s: %s", pass->name, err.text);
            size_t length = strlen(all);
            snprintf(all + length, sizeof all - length, "%s%s", length ? "," : "", pass->name);
        }
    if (compile_without(all, NULL, &err) != DG_OK) fail_msg("without any: %s", err.text);
}

static void test_unknown_names(void **state)
{
    (void)state;
    struct dg_error err;
    assert_int_equal(compile_without("prune,fuze", NULL, &err), DG_ERR_USAGE);
    assert_string_equal(err.text, "--skip: there is no pass fuze; did you mean fuse?; dinoc --passes lists them");
    assert_int_equal(compile_without(NULL, "xyz:blocks.0", &err), DG_ERR_USAGE);
    assert_string_equal(err.text, "--dump: there is no pass xyz; dinoc --passes lists them");
    assert_int_equal(compile_without("", NULL, &err), DG_ERR_USAGE);
    char *list = dg_compile_reference(DG_REFERENCE_PASSES);
    assert_non_null(strstr(list, "slice_tokens"));
    assert_non_null(strstr(list, "fuse_late"));
    free(list);
}

/* --- passes that break the graph --- */

static jmp_buf out_of_memory;
static struct dg_arena *arena;

/* x -> gelu -> gelu */
static struct dg_graph *two_nodes(dg_value *last)
{
    struct dg_graph *graph = dg_graph_create(arena);
    struct dg_desc desc = dg_desc_make(DG_F32, 2, (int64_t[]){3, 4});
    struct dg_node_options options = {.origin = {.path = "node"}};
    struct dg_error err = {0};
    *last = dg_graph_input(graph, "x", &desc);
    for (int n = 0; n < 2; n++)
        assert_int_equal(
            dg_graph_node(graph, &(struct dg_op_use){dg_op_find("gelu"), NULL, last, 1}, &options, last, &err), DG_OK);
    return graph;
}

static bool leave_alone(struct dg_pass_context *c) { return c->graph->num_nodes > 0; }

static bool swap_nodes(struct dg_pass_context *c)
{
    struct dg_graph_node *node = c->graph->node, first = node[0];
    node[0] = node[1];
    node[1] = first;
    for (uint32_t n = 0; n < 2; n++) c->graph->value[node[n].output[0]].producer = n;
    return true;
}

static bool forget_producer(struct dg_pass_context *c)
{
    c->graph->value[c->graph->node[0].output[0]].producer = DG_PLAN_NONE;
    return true;
}

static bool change_shape(struct dg_pass_context *c)
{
    c->graph->value[c->graph->node[1].output[0]].desc.dim[1]++;
    return true;
}

static bool add_backward(struct dg_pass_context *c)
{
    c->graph->node[1].role = DG_ROLE_BACKWARD;
    return true;
}

static bool change_output(struct dg_pass_context *c)
{
    c->keep[0] = c->graph->node[0].output[0];
    return true;
}

static void test_broken_graphs_are_caught(void **state)
{
    (void)state;
    static const struct {
        bool (*run)(struct dg_pass_context *);
        uint32_t requires, keeps;
        const char *message; /* NULL: it is fine */
    } cases[] = {
        {leave_alone, DG_FACT_FORWARD | DG_FACT_F32, DG_FACT_FORWARD | DG_FACT_OUTPUTS, NULL},
        {swap_nodes, 0, 0, "node node (gelu): reads a value before it is made"},
        {forget_producer, 0, 0, "node node (gelu): output and producer disagree"},
        {change_shape, 0, 0, "node node (gelu): an output's shape is not the one that its op infers"},
        {add_backward, 0, 0, NULL},
        {add_backward, 0, DG_FACT_FORWARD, "the graph lost what the pass keeps"},
        {change_output, 0, DG_FACT_OUTPUTS, "the graph lost what the pass keeps"},
    };
    arena = dg_arena_create(&out_of_memory);
    assert_non_null(arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dg_diagnostics *diag = dg_diag_create(arena);
        dg_value output;
        struct dg_graph *graph = two_nodes(&output);
        struct dg_pipeline pipeline = {0};
        struct dg_pass_context context = {
            .graph = graph, .diag = diag, .subject = "the test", .keep = &output, .num_keep = 1};
        const struct dg_pass table[] = {
            {.name = "breaker", .run = cases[i].run, .requires = cases[i].requires, .keeps = cases[i].keeps}, {0}};
        assert_int_equal(dg_run_passes(table, &pipeline, &context), !cases[i].message);
        if (!cases[i].message) continue;
        assert_non_null(strstr(dg_diag_text(diag), "internal: pass breaker on the test: "));
        if (!strstr(dg_diag_text(diag), cases[i].message)) fail_msg("case %zu: %s", i, dg_diag_text(diag));
    }
    dg_arena_free(arena);
}

/* A pass that finds another graph than it requires does not run. */
static void test_requirements_are_checked(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    assert_non_null(arena);
    struct dg_diagnostics *diag = dg_diag_create(arena);
    dg_value output;
    struct dg_graph *graph = two_nodes(&output);
    struct dg_pipeline pipeline = {0};
    struct dg_pass_context context = {
        .graph = graph, .diag = diag, .subject = "the test", .keep = &output, .num_keep = 1};
    const struct dg_pass table[] = {{.name = "backward", .run = add_backward},
                                    {.name = "forward_only", .run = leave_alone, .requires = DG_FACT_FORWARD},
                                    {0}};
    assert_false(dg_run_passes(table, &pipeline, &context));
    assert_non_null(strstr(dg_diag_text(diag), "pass forward_only on the test: the graph is not what it requires"));
    dg_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pass),
        cmocka_unit_test(test_any_pass_may_be_skipped),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_broken_graphs_are_caught),
        cmocka_unit_test(test_requirements_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

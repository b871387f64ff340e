/* What nodes of a training step know of themselves: network, repeated block, role, forward node. Their paths, which are for people,
 * say the same. Then the step's layout: bound, peak and the sum without sharing, and slots. */
#include "compiler/language/elaborate.h"
#include "compiler/language/recipe.h"
#include "compiler/plan/layout.h"
#include "compiler/step/compile_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static jmp_buf out_of_memory;
static struct dg_arena *arena;
static struct dg_entry entry;

static int setup(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    if (!arena || setjmp(out_of_memory)) return 1;
    struct dg_diagnostics *diag = dg_diag_create(arena);
    struct dg_program *program =
        dg_program_load(arena, diag, DG_SOURCE_DIR "/tests/unit/compiler/passes/cases/recompute.yaml", NULL);
    static struct dg_train_recipe recipe;
    struct dg_pipeline pipeline = {.skip = "fuse_late"}; /* which leaves one of several forward nodes */
    struct dg_step_request request = {.program = program, .diag = diag, .recipe = &recipe, .pipeline = &pipeline};
    struct dg_step_choice choice = dg_default_choice(&request);
    struct dg_train_step step;
    if (program && dg_recipe_read(program, "recomputed", &recipe) && dg_compile_step(&request, &choice, &entry, &step))
        return 0;
    print_error("%s", dg_diag_text(diag));
    return 1;
}

static int teardown(void **state)
{
    (void)state;
    dg_arena_free(arena);
    return 0;
}

/* The block that a path names: 1 for "blocks.0.norm", 2 for "blocks.1.norm"; 0 for others. */
static uint32_t named_block(const char *path)
{
    return strncmp(path, "blocks.", 7) ? DG_NO_BLOCK : (uint32_t)atoi(path + 7) + 1;
}

static void test_networks_and_blocks(void **state)
{
    (void)state;
    const struct dg_graph *graph = entry.graph;
    int in_block[3] = {0}, of[DG_EVALUATED + 1] = {0};
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        const struct dg_graph_application *a = &graph->application[node->application];
        assert_int_equal(a->network == DG_STUDENT, !strncmp(a->label, "student.", 8));
        assert_int_equal(a->network == DG_TEACHER, !strncmp(a->label, "teacher.", 8));
        assert_int_equal(node->block, named_block(node->origin.path));
        assert_true(node->block <= a->num_blocks);
        in_block[node->block]++;
        of[a->network]++;
    }
    assert_true(in_block[1] && in_block[2] && of[DG_STUDENT] && of[DG_TEACHER] && of[DG_TRAINER]);
    assert_int_equal(of[DG_EVALUATED], 0);
}

static void test_backward_belongs_to_forward(void **state)
{
    (void)state;
    const struct dg_graph *graph = entry.graph;
    int count[4] = {0};
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n], *forward = NULL;
        count[node->role]++;
        if (!dg_is_backward(node)) continue;
        for (uint32_t f = 0; f < n; f++)
            if (graph->node[f].role == DG_ROLE_FORWARD && graph->node[f].forward_of == node->forward_of)
                forward = &graph->node[f];
        if (!forward) fail_msg("%s has no forward node", dg_node_title(graph, node));
        assert_string_equal(forward->origin.path, node->origin.path);
        assert_int_equal(forward->application, node->application);
        char title[256];
        snprintf(title, sizeof title, "%s%s", node->role == DG_ROLE_BACKWARD ? "d:" : "again:", node->origin.path);
        assert_string_equal(dg_node_title(graph, node), title);
    }
    assert_true(count[DG_ROLE_FORWARD] && count[DG_ROLE_BACKWARD] && count[DG_ROLE_RECOMPUTED] &&
                count[DG_ROLE_COMMIT]);
}

static void test_layout(void **state)
{
    (void)state;
    struct dg_layout layout;
    struct dg_error err = {0};
    uint64_t bound, sum = 0;
    assert_int_equal(dg_lay_out(&entry, &layout, &err), DG_OK);
    assert_int_equal(dg_layout_bound(&entry, &bound, &err), DG_OK);
    assert_int_equal(bound, layout.step.bound);
    assert_true(bound <= layout.step.peak && layout.step.peak < layout.step.naive);
    assert_int_equal(layout.bytes[DG_REGION_STEP], layout.step.peak);
    for (int r = 0; r < DG_REGIONS; r++) sum += layout.bytes[r];
    assert_int_equal(dg_layout_bytes(&layout), sum);
    for (dg_value v = 0; v < entry.graph->num_values; v++) {
        const struct dg_life *root = &layout.life[layout.life[v].root];
        if (!layout.used[v]) continue;
        enum dg_region region = entry.graph->value[layout.life[v].root].region;
        assert_true(root->offset % DG_PLAN_ALIGN == 0 && root->offset + root->bytes <= layout.bytes[region]);
    }
}

static void test_slots(void **state)
{
    (void)state;
    const dg_value *slot = entry.slots.of;
    dg_value list[DG_SLOTS];
    assert_int_equal(dg_entry_inputs(&entry, list), 1); /* no local crops */
    assert_int_equal(list[0], slot[DG_SLOT_CROPS_GLOBAL]);
    assert_int_equal(dg_entry_outputs(&entry, list), 3);
    assert_int_equal(list[0], slot[DG_SLOT_LOSS]);
    assert_int_equal(list[1], slot[DG_SLOT_ENTROPY]);
    assert_int_equal(list[2], slot[DG_SLOT_GRAD_SUMMARY]);
    assert_string_equal(entry.graph->value[slot[DG_SLOT_CENTER]].name, "center");
    assert_int_equal(slot[DG_SLOT_LABELS], DG_NO_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_and_blocks),
        cmocka_unit_test(test_backward_belongs_to_forward),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_slots),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

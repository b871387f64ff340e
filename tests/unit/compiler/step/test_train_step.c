/* From YAML to a training step: the shipped ViT and head are elaborated, differentiated, planned, written, opened and run. */
#include "compiler/language/elaborate.h"
#include "compiler/language/recipe.h"
#include "compiler/step/compile_step.h"
#include "ops/base/rng.h"
#include "runtime/exec/session.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static jmp_buf out_of_memory;
static struct dg_arena *arena;
static struct dg_diagnostics *diag;
static struct dg_program *program;

static int setup(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    if (!arena || setjmp(out_of_memory)) return 1;
    diag = dg_diag_create(arena);
    char path[1024];
    snprintf(path, sizeof path, "%s/graphs/vit.yaml", DG_SOURCE_DIR);
    program = dg_program_load(arena, diag, path, NULL);
    return program ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    dg_arena_free(arena);
    return 0;
}

static struct dg_args *give(struct dg_args *next, const char *name, int64_t value)
{
    struct dg_args *g = dg_arena_alloc(arena, sizeof *g);
    *g = (struct dg_args){.name = name, .value = {.kind = DG_TERM_INT, .i = value}, .next = next};
    return g;
}

/* The official vision_transformer.py's parameter counts, 150 tensors, official names in order. */
static void test_published_vits(void **state)
{
    (void)state;
    static const struct {
        const char *module;
        int64_t patch, params;
    } published[] = {{"vit_tiny", 16, 5524416},  {"vit_tiny", 8, 5526720},   {"vit_small", 16, 21665664},
                     {"vit_small", 8, 21670272}, {"vit_base", 16, 85798656}, {"vit_base", 8, 85807872}};
    for (int m = 0; m < 6; m++) {
        struct dg_graph *graph = dg_graph_create(arena);
        struct dg_origin at = {.file = "test"};
        struct dg_instance *vit = dg_instance_create(program, graph, published[m].module,
                                                     give(NULL, "patch", published[m].patch), &at, "", true);
        if (!vit) fail_msg("%s", dg_diag_text(diag));
        static const int64_t sizes[][2] = {{224, 224}, {96, 96}, {160, 240}};
        for (int s = 0; s < 3; s++) { /* every application shares the parameters */
            struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){2, sizes[s][0], sizes[s][1], 3});
            dg_value image = dg_graph_input(graph, "images", &desc);
            struct dg_application *a = dg_instance_apply(vit, &image, 1, false, (struct dg_row_range){0, 2}, 0);
            if (!a) fail_msg("%s", dg_diag_text(diag));
            dg_value features = dg_application_output(a, "features");
            assert_int_equal(graph->value[features].desc.dim[1], graph->value[dg_instance_param(vit, 0)].desc.dim[2]);
        }
        int64_t count = 0;
        assert_int_equal(dg_instance_num_params(vit), 150);
        for (int p = 0; p < 150; p++) count += dg_desc_count(&graph->value[dg_instance_param(vit, p)].desc);
        assert_int_equal(count, published[m].params);
        static const struct {
            int at;
            const char *name;
        } names[] = {{0, "cls_token"},
                     {1, "pos_embed"},
                     {2, "patch_embed.proj.weight"},
                     {6, "blocks.0.attn.qkv.weight"},
                     {147, "blocks.11.mlp.fc2.bias"},
                     {149, "norm.bias"}};
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            assert_string_equal(graph->value[dg_instance_param(vit, names[n].at)].name, names[n].name);
    }
}

static void test_shape_error_says_why(void **state)
{
    (void)state;
    struct dg_diagnostics *mine = dg_diag_create(arena), *keep = program->diag;
    program->diag = mine;
    struct dg_graph *graph = dg_graph_create(arena);
    struct dg_origin at = {.file = "recipe.yaml", .line = 31, .column = 18};
    struct dg_instance *vit = dg_instance_create(program, graph, "vit_tiny", NULL, &at, "", true);
    struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){2, 100, 100, 3});
    dg_value image = dg_graph_input(graph, "crops.local", &desc);
    graph->value[image].origin = at;
    uint32_t student = dg_graph_application(graph, DG_STUDENT, "student.backbone(local)");
    assert_null(dg_instance_apply(vit, &image, 1, true, (struct dg_row_range){0, 2}, student));
    program->diag = keep;
    assert_int_equal(dg_diag_errors(mine), 1); /* not one for every node after it */
    assert_non_null(strstr(dg_diag_text(mine), "kernel 16 does not divide height 100"));
    assert_non_null(
        strstr(dg_diag_text(mine), "recipe.yaml:31:18: note: for student.backbone(local): crops.local is 100x100"));
}

static void set(struct dg_session *session, const struct dg_plan *plan, const char *key, double value)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = 0; t < entry->num_tensors; t++)
        if (!strcmp(dg_plan_string(plan, plan->tensor[entry->first_tensor + t].control), key))
            *(double *)dg_session_data(session, entry->first_tensor + t) = value;
}

static void test_a_step_runs_and_learns(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/graphs/dino_head.yaml", DG_SOURCE_DIR);
    struct dg_program *head = dg_program_load(arena, diag, path, NULL);
    assert_non_null(head);
    program->last->next = head->first; /* as `import` would */
    struct dg_args *vit =
        give(give(give(give(give(NULL, "dim", 32), "heads", 2), "depth", 2), "patch", 8), "image", 32);
    struct dg_train_recipe recipe = {.model.name = "test",
                                     .batch = 3,
                                     .model.backbone = "vit",
                                     .head = "dino_head",
                                     .student_args = vit,
                                     .model.args = vit,
                                     .head_args = give(give(give(NULL, "out_dim", 96), "hidden", 48), "bottleneck", 16),
                                     .global = {.name = "crops.global", .height = 32, .width = 32, .count = 2},
                                     .local = {{.name = "crops.local", .height = 16, .width = 16, .count = 3}},
                                     .optimizer = dg_op_find("adamw"),
                                     .buffers = DG_BUFFERS_OWN,
                                     .no_decay = DG_NO_DECAY_BIAS | DG_NO_DECAY_1D,
                                     .freeze = {{.params = "last_layer", .control = "optim.freeze"}},
                                     .freezes = 1,
                                     .model.origin = {.file = "test", .path = "test"}};
    struct dg_pipeline pipeline = {0};
    struct dg_step_request request = {.program = program, .diag = diag, .recipe = &recipe, .pipeline = &pipeline};
    struct dg_step_choice choice = dg_default_choice(&request);
    struct dg_entry entry;
    struct dg_train_step step;
    struct dg_layout layout;
    if (!dg_compile_step(&request, &choice, &entry, &step)) fail_msg("%s", dg_diag_text(diag));
    assert_ok(dg_lay_out(&entry, &layout, try_err));
    if (layout.step.peak > layout.step.bound + layout.step.bound / 50) /* a graph this small is coarse */
        fail_msg("peak %llu, bound %llu", (unsigned long long)layout.step.peak, (unsigned long long)layout.step.bound);

    struct dg_plan plan;
    open_plan_of(arena, &entry, &layout, &plan);
    struct dg_session *session;
    assert_ok(dg_session_open(&plan, "train", &(struct dg_session_options){.threads = 2}, &session, try_err));
    assert_ok(dg_session_initialize(session, 1, try_err));
    for (int g = 0; g < 2; g++) {
        const struct dg_plan_tensor *tensor;
        float *crops = dg_session_input(session, g ? "crops.local" : "crops.global", &tensor);
        struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, (uint64_t)g, 0);
        for (uint64_t i = 0; i < tensor->bytes / 4; i++) crops[i] = dg_rng_uniform(&rng, -2, 2);
    }
    static const struct {
        const char *key;
        double value;
    } controls[] = {/* teacher and centre stand still, so that the loss must fall */ {"lr", 1e-3},
                    {"weight_decay", 0.04},
                    {"teacher.momentum", 1},
                    {"loss.teacher_temp", 0.04},
                    {"loss.student_temp", 0.1},
                    {"loss.center_momentum", 1},
                    {"optim.clip", 0},
                    {"optim.betas.0", 0.9},
                    {"optim.betas.1", 0.999},
                    {"optim.eps", 1e-8},
                    {"optim.freeze", 0}};
    for (size_t c = 0; c < sizeof controls / sizeof *controls; c++)
        set(session, &plan, controls[c].key, controls[c].value);
    double first = 0, last = 0;
    for (int s = 0; s < 40; s++) {
        struct dg_step_info info = {.seed = 1, .step = s};
        assert_ok(dg_session_compute(session, &info, try_err));
        last = *(const double *)dg_session_output(session, "loss", NULL);
        if (!s) first = last;
        assert_true(((const double *)dg_session_output(session, "grad_summary", NULL))[1] == 1);
        assert_ok(dg_session_compute(session, &info, try_err)); /* nothing was committed: the same again */
        assert_true(*(const double *)dg_session_output(session, "loss", NULL) == last);
        assert_ok(dg_session_commit(session, &info, try_err));
    }
    assert_true(isfinite(first));
    if (!(last < first - 0.3)) fail_msg("the loss went from %g to %g on the same crops", first, last);
    dg_session_close(session);
    dg_plan_close(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vits),
        cmocka_unit_test(test_shape_error_says_why),
        cmocka_unit_test(test_a_step_runs_and_learns),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

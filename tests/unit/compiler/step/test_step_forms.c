/* The forms a training step may take, cut into slices of the batch or computing activations again, are one step: losses,
 * gradients and what is committed are equal to the bit where the arithmetic is the same, and elsewhere as near as rounding
 * allows. How near that is, is measured here (struct tolerance), for it depends on the CPU: oneDNN sums in another order on
 * each. Every step of a form starts from the parameters that the form beside it had, as differences grow from step to step. */
#include "compiler/language/elaborate.h"
#include "compiler/language/recipe.h"
#include "compiler/step/compile_step.h"
#include "ops/base/rng.h"
#include "ops/dnnl/cpu.h"
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

enum { BATCH = 12, STEPS = 3, MAX_TENSORS = 512 };

/* The longest sum of a step: a gradient's over all tokens, 17 of each of two large crops and 5 of three small ones. */
enum { TERMS = BATCH * (2 * 17 + 3 * 5) };

/* Of sessions. Networks so small are slower by two, which is tried by some of the tests. */
static int threads = 1;

static jmp_buf out_of_memory;
static struct dg_arena *arena;
static struct dg_diagnostics *diag;

static int setup(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    if (!arena || setjmp(out_of_memory)) return 1;
    diag = dg_diag_create(arena);
    return 0;
}

static int two_threads(void **state)
{
    (void)state;
    threads = 2;
    return 0;
}

static int one_thread(void **state)
{
    (void)state;
    threads = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dg_arena_free(arena);
    return 0;
}

static struct dg_args *give(struct dg_args *next, const char *name, struct dg_term value)
{
    struct dg_args *g = dg_arena_alloc(arena, sizeof *g);
    *g = (struct dg_args){.name = name, .value = value, .next = next};
    return g;
}

static struct dg_term whole(int64_t i) { return (struct dg_term){.kind = DG_TERM_INT, .i = i}; }

static struct dg_program *load(const char *file)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", DG_SOURCE_DIR, file);
    struct dg_program *program = dg_program_load(arena, diag, path, NULL);
    if (!program) fail_msg("%s", dg_diag_text(diag));
    return program;
}

/* As `import` would. */
static struct dg_program *load_with_head(const char *file)
{
    struct dg_program *program = load(file);
    program->last->next = load("graphs/dino_head.yaml")->first;
    return program;
}

/* All that can be made again. */
static struct dg_recompute_levels recompute_all(void)
{
    struct dg_recompute_levels recompute = {.packing = true};
    for (int p = 0; p < DG_MAX_RECOMPUTE_PARTS; p++) recompute.level[p] = DG_MAX_RECOMPUTE;
    return recompute;
}

/* Plain SGD with a rate of one: a step's parameters are those before minus the gradients. */
static struct dg_train_recipe vit_recipe(void)
{
    struct dg_args *vit = NULL;
    vit = give(vit, "dim", whole(32));
    vit = give(vit, "heads", whole(2));
    vit = give(vit, "depth", whole(3));
    vit = give(vit, "patch", whole(8));
    vit = give(vit, "image", whole(32));
    struct dg_args *student = give(vit, "drop_path", (struct dg_term){.kind = DG_TERM_FLOAT, .f = 0.4});
    struct dg_args *head = NULL;
    head = give(head, "out_dim", whole(96));
    head = give(head, "hidden", whole(48));
    head = give(head, "bottleneck", whole(16));
    return (struct dg_train_recipe){.model.name = "test",
                                    .batch = BATCH,
                                    .model.backbone = "vit",
                                    .head = "dino_head",
                                    .student_args = student,
                                    .model.args = vit,
                                    .head_args = head,
                                    .global = {.name = "crops.global", .height = 32, .width = 32, .count = 2},
                                    .local = {{.name = "crops.local", .height = 16, .width = 16, .count = 3}},
                                    .optimizer = dg_op_find("sgd"),
                                    .buffers = DG_BUFFERS_OWN,
                                    .model.origin = {.file = "test", .path = "test"}};
}

/* Batch norm in the backbone, and in the head too where `head_norm`. */
static struct dg_train_recipe resnet_recipe(bool head_norm)
{
    struct dg_train_recipe recipe = vit_recipe();
    struct dg_args *resnet = give(NULL, "planes", whole(8));
    recipe.model.backbone = "resnet_basic";
    recipe.student_args = recipe.model.args = give(resnet, "image", whole(32));
    if (head_norm) recipe.head_args = give(recipe.head_args, "bn", (struct dg_term){.kind = DG_TERM_BOOL, .i = 1});
    recipe.global.height = recipe.global.width = 64;
    recipe.local[0].height = recipe.local[0].width = 32;
    recipe.batch = 4;
    return recipe;
}

/* What a few steps do: the loss, entropy and gradient norm of each, and all that outlives it, tensor by tensor. */
struct outcome {
    double loss[STEPS], entropy[STEPS], norm[STEPS];
    int count;
    struct {
        char name[96];
        int64_t size;
        float *before[STEPS], *after[STEPS];
    } tensor[MAX_TENSORS];
    uint64_t peak;
    int joined, skipped, one_query; /* sums that make a norm; branches that leave images out; attention without keys */
    int packs;                      /* nodes that pack weights */
    double bytes, flops;            /* of a step, as the plan has them */
};

static void set_controls(struct dg_session *session, const struct dg_plan *plan)
{
    static const struct {
        const char *key;
        double value;
    } controls[] = {{"lr", 1},
                    {"teacher.momentum", 0.5},
                    {"loss.teacher_temp", 0.05},
                    {"loss.student_temp", 0.1},
                    {"loss.center_momentum", 0.5}};
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = 0; t < entry->num_tensors; t++)
        for (size_t c = 0; c < sizeof controls / sizeof *controls; c++)
            if (!strcmp(dg_plan_string(plan, plan->tensor[entry->first_tensor + t].control), controls[c].key))
                *(double *)dg_session_data(session, entry->first_tensor + t) = controls[c].value;
}

/* Moves each number to one of the two floats beside it, at random. */
static void perturb(float *values, int64_t count, const char *name)
{
    struct dg_rng rng = dg_rng_make(3, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    for (int64_t i = 0; i < count; i++)
        values[i] = nextafterf(values[i], dg_rng_int(&rng, 0, 2) ? INFINITY : -INFINITY);
}

/* Calls `visit` for the n-th tensor that outlives a step. */
static void each_parameter(struct dg_session *session, const struct dg_plan *plan,
                           void visit(void *context, int n, const char *name, float *data, int64_t size), void *context)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    int count = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (tensor->region != DG_REGION_PARAM || tensor->dtype != DG_F32) continue;
        visit(context, count++, dg_plan_string(plan, tensor->name), dg_session_data(session, t),
              (int64_t)(tensor->bytes / sizeof(float)));
    }
}

/* A step between an outcome and a session's parameters. */
struct copy {
    struct outcome *out;
    const struct outcome *guide;
    int step;
    bool perturbed;
};

static float *duplicate(const float *values, int64_t count)
{
    float *copy = malloc((size_t)count * sizeof *copy);
    assert_non_null(copy);
    return memcpy(copy, values, (size_t)count * sizeof *copy);
}

/* The parameters become the guide's, where there is one, and are written down. */
static void begin_step(void *context, int n, const char *name, float *data, int64_t size)
{
    const struct copy *copy = context;
    struct outcome *out = copy->out;
    assert_true(n < MAX_TENSORS);
    if (copy->guide) {
        assert_string_equal(copy->guide->tensor[n].name, name);
        assert_int_equal(copy->guide->tensor[n].size, size);
        memcpy(data, copy->guide->tensor[n].before[copy->step], (size_t)size * sizeof *data);
    }
    if (copy->perturbed) perturb(data, size, name);
    snprintf(out->tensor[n].name, sizeof out->tensor[n].name, "%s", name);
    out->tensor[n].size = size;
    out->tensor[n].before[copy->step] = duplicate(data, size);
    out->count = n + 1;
}

static void end_step(void *context, int n, const char *name, float *data, int64_t size)
{
    (void)name;
    const struct copy *copy = context;
    copy->out->tensor[n].after[copy->step] = duplicate(data, size);
}

static int count_ops(const struct dg_graph *graph, const char *op)
{
    int count = 0;
    for (uint32_t n = 0; n < graph->num_nodes; n++) count += !strcmp(graph->node[n].op->name, op);
    return count;
}

/* Passes over the finished step, and how it is run. */
struct finish {
    const struct dg_recompute_levels *recompute; /* NULL: nothing is made again */
    bool plain, bf16, skips, joins;
    const struct outcome *guide; /* each step starts from this one's parameters; NULL: from what the step before left */
    bool perturbed;              /* by one unit in the last place, all parameters and pixels */
};

static struct outcome *run_finished(struct dg_program *program, const struct dg_train_recipe *recipe,
                                    const struct dg_step_choice *form, const struct finish *finish)
{
    struct dg_step_choice choice = *form;
    if (finish->recompute) choice.recompute = *finish->recompute;
    struct dg_pipeline pipeline = {.plain = finish->plain,
                                   .bf16 = finish->bf16,
                                   .skip = finish->skips && finish->joins ? NULL
                                           : finish->skips                ? "fuse_late"
                                           : finish->joins                ? "compact_rows"
                                                                          : "compact_rows,fuse_late"};
    struct dg_step_request request = {.program = program, .diag = diag, .recipe = recipe, .pipeline = &pipeline};
    struct dg_entry entry;
    struct dg_train_step step;
    struct dg_layout layout;
    if (!dg_compile_step(&request, &choice, &entry, &step)) fail_msg("%s", dg_diag_text(diag));
    assert_ok(dg_lay_out(&entry, &layout, try_err));
    const struct dg_graph *graph = entry.graph;
    assert_int_equal(count_ops(graph, "draw_rows") > 0, finish->skips);
    assert_int_equal(count_ops(graph, "add_layer_norm") > 0, finish->joins);
    assert_int_equal(count_ops(graph, "gelu_grad_sums") > 0, finish->joins);
    struct dg_plan plan;
    open_plan_of(arena, &entry, &layout, &plan);
    struct dg_session *session;
    assert_ok(dg_session_open(&plan, "train", &(struct dg_session_options){.threads = threads}, &session, try_err));
    assert_ok(dg_session_initialize(session, 1, try_err));
    for (int g = 0; g < 2; g++) {
        const struct dg_plan_tensor *tensor;
        const char *tensor_name = g ? "crops.local" : "crops.global";
        float *crops = dg_session_input(session, tensor_name, &tensor);
        struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, (uint64_t)g, 0);
        for (uint64_t i = 0; i < tensor->bytes / 4; i++) crops[i] = dg_rng_uniform(&rng, -2, 2);
        if (finish->perturbed) perturb(crops, (int64_t)(tensor->bytes / 4), tensor_name);
    }
    set_controls(session, &plan);
    struct outcome *out = calloc(1, sizeof *out);
    assert_non_null(out);
    out->peak = layout.step.peak;
    out->joined = count_ops(graph, "add_layer_norm");
    out->skipped = count_ops(graph, "draw_rows");
    out->one_query = count_ops(graph, "class_attention");
    out->packs = count_ops(graph, "pack_weights") + count_ops(graph, "pack_weights_grad_src");
    for (uint32_t n = 0; n < plan.num_ops; n++) {
        out->bytes += plan.op[n].bytes;
        out->flops += plan.op[n].flops;
    }
    for (int s = 0; s < STEPS; s++) {
        struct dg_step_info info = {.seed = 7, .step = s};
        struct copy copy = {out, finish->guide, s, finish->perturbed};
        each_parameter(session, &plan, begin_step, &copy);
        assert_ok(dg_session_compute(session, &info, try_err));
        const double *summary = dg_session_output(session, "grad_summary", NULL);
        out->loss[s] = *(const double *)dg_session_output(session, "loss", NULL);
        out->entropy[s] = *(const double *)dg_session_output(session, "teacher_entropy", NULL);
        out->norm[s] = summary[0];
        assert_true(summary[1] == 1 && isfinite(out->loss[s]));
        if (!s) assert_ok(dg_session_compute(session, &info, try_err)); /* nothing was committed: the same again */
        assert_true(*(const double *)dg_session_output(session, "loss", NULL) == out->loss[s]);
        assert_ok(dg_session_commit(session, &info, try_err));
        each_parameter(session, &plan, end_step, &copy);
    }
    dg_session_close(session);
    dg_plan_close(&plan);
    return out;
}

static struct outcome *run(struct dg_program *program, const struct dg_train_recipe *recipe,
                           const struct dg_step_choice *form, const struct dg_recompute_levels *recompute)
{
    return run_finished(program, recipe, form, &(struct finish){.recompute = recompute});
}

static struct outcome *run_beside(const struct outcome *guide, struct dg_program *program,
                                  const struct dg_train_recipe *recipe, const struct dg_step_choice *form,
                                  struct finish finish)
{
    finish.guide = guide;
    return run_finished(program, recipe, form, &finish);
}

static void free_outcome(struct outcome *out)
{
    for (int t = 0; t < out->count; t++)
        for (int s = 0; s < STEPS; s++) {
            free(out->tensor[t].before[s]);
            free(out->tensor[t].after[s]);
        }
    free(out);
}

/* Euclidean length of a tensor's changes in all steps; beside `b`, of what they differ by. */
static double length(const struct outcome *a, const struct outcome *b, int t)
{
    double sum = 0;
    for (int s = 0; s < STEPS; s++)
        for (int64_t i = 0; i < a->tensor[t].size; i++) {
            double change = (double)a->tensor[t].after[s][i] - (double)a->tensor[t].before[s][i];
            if (b) change -= (double)b->tensor[t].after[s][i] - (double)b->tensor[t].before[s][i];
            sum += change * change;
        }
    return sqrt(sum);
}

/* How far apart two forms' changes of a tensor may be, as a length: so far as rounding moves them on this CPU. */
struct tolerance {
    double usual;               /* in parts of the change's length, root of the mean of squares over tensors */
    double tensor[MAX_TENSORS]; /* at least the usual part, so that no tensor's is small by chance */
};

/* `times` the distance between two runs that differ in rounding only, the first of them `base`. */
static struct tolerance measure(const struct outcome *base, const struct outcome *other, double times)
{
    struct tolerance tol = {0};
    assert_int_equal(base->count, other->count);
    int moving = 0;
    for (int t = 0; t < base->count; t++) {
        double change = length(base, NULL, t);
        tol.tensor[t] = times * length(base, other, t);
        if (change == 0) continue;
        tol.usual += pow(tol.tensor[t] / change, 2);
        moving++;
    }
    tol.usual = sqrt(tol.usual / moving);
    for (int t = 0; t < base->count; t++) tol.tensor[t] = fmax(tol.tensor[t], tol.usual * length(base, NULL, t));
    return tol;
}

static void assert_scalar(const char *what, int step, double a, double b, double limit)
{
    if (!(fabs(a - b) <= limit)) fail_msg("step %d: %s %.17g and %.17g, limit %g", step, what, a, b, limit);
}

/* b's steps are those of its guide a, with no tensor further away than its tolerance. */
static void assert_within(const struct outcome *a, const struct outcome *b, const struct tolerance *tol)
{
    assert_int_equal(a->count, b->count);
    double all = 0;
    for (int t = 0; t < a->count; t++) {
        double off = length(a, b, t), limit = tol->tensor[t];
        if (!(off <= limit))
            fail_msg("%s changes by %g, is off by %g, limit %g", a->tensor[t].name, length(a, NULL, t), off, limit);
        all += limit * limit;
    }
    for (int s = 0; s < STEPS; s++) {
        assert_scalar("loss", s, a->loss[s], b->loss[s], tol->usual * a->loss[s]);
        assert_scalar("entropy", s, a->entropy[s], b->entropy[s], tol->usual * a->entropy[s]);
        assert_scalar("norm", s, a->norm[s], b->norm[s], sqrt(all)); /* by the triangle inequality */
    }
}

/* Biases in front of a GELU: the linear layers whose gradient of the bias the GELU's gradient may sum. */
static bool is_before_gelu(const char *name)
{
    static const char *const end[] = {".mlp.fc1.bias", "head.mlp.0.bias", "head.mlp.2.bias"};
    for (size_t i = 0; i < sizeof end / sizeof *end; i++)
        if (strlen(name) >= strlen(end[i]) && !strcmp(name + strlen(name) - strlen(end[i]), end[i])) return true;
    return false;
}

/* To the bit; but for the biases in front of a GELU where they have a tolerance. */
static void assert_equal(const struct outcome *a, const struct outcome *b, const struct tolerance *of_biases)
{
    assert_int_equal(a->count, b->count);
    for (int s = 0; s < STEPS; s++)
        if (a->loss[s] != b->loss[s] || a->entropy[s] != b->entropy[s] || (!of_biases && a->norm[s] != b->norm[s]))
            fail_msg("step %d: loss %.17g and %.17g, entropy %.17g and %.17g, norm %.17g and %.17g", s, a->loss[s],
                     b->loss[s], a->entropy[s], b->entropy[s], a->norm[s], b->norm[s]);
    for (int t = 0; t < a->count; t++) {
        const char *name = a->tensor[t].name;
        assert_string_equal(name, b->tensor[t].name);
        double off = length(a, b, t), limit = of_biases && is_before_gelu(name) ? of_biases->tensor[t] : 0;
        if (!(off <= limit)) fail_msg("%s changes by %g, is off by %g, limit %g", name, length(a, NULL, t), off, limit);
    }
}

/* The tolerance beside `base`, a run of this form.
 *
 * In bf16 it is twice the distance from the same form in f32: both forms are as far from f32, so at most twice as far from each
 * other. In f32 it is the distance that one rounding of each parameter and pixel makes, times the root of the most terms of a sum:
 * another order of n terms changes n roundings, and of independent roundings the squares add up. */
static struct tolerance rounding(const struct outcome *base, struct dg_program *program,
                                 const struct dg_train_recipe *recipe, const struct dg_step_choice *form,
                                 struct finish finish)
{
    bool bf16 = finish.bf16;
    finish.bf16 = false;
    finish.perturbed = !bf16;
    struct outcome *other = run_beside(base, program, recipe, form, finish);
    struct tolerance tol = measure(base, other, bf16 ? 2 : sqrt(TERMS));
    free_outcome(other);
    return tol;
}

static bool has_bf16(void)
{
    if (dg_bf16_support() != DG_BF16_NONE) return true;
    print_message("skipped in bf16: this CPU has no bf16\n");
    return false;
}

static void test_slices_add_up(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    struct outcome *whole_batch = run(program, &recipe, &(struct dg_step_choice){0}, NULL);
    struct tolerance tol =
        rounding(whole_batch, program, &recipe, &(struct dg_step_choice){0}, (struct finish){.recompute = NULL});
    static const int slices[] = {2, 3, 4, 6, 12};
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        for (int first = 0; first < 2; first++) {
            struct dg_step_choice form = {.slices = slices[i], .smallest_first = first};
            struct outcome *cut = run_beside(whole_batch, program, &recipe, &form, (struct finish){.recompute = NULL});
            assert_within(whole_batch, cut, &tol);
            assert_true(cut->peak < whole_batch->peak);
            free_outcome(cut);
        }
    free_outcome(whole_batch);
}

/* With every optimisation and without any: the last block for one token alone and without keys and values, ops fused and
 * joined, the prototype layer within the loss, cheap results made again, dropped images left out. */
static void test_plain_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    struct dg_recompute_levels cheap = dg_recompute_cheap();
    struct finish all = {.recompute = &cheap, .skips = true, .joins = true};
    struct dg_step_choice form = {0};
    struct outcome *plain = run_finished(program, &recipe, &form, &(struct finish){.plain = true});
    struct tolerance tol = rounding(plain, program, &recipe, &form, (struct finish){.plain = true});
    struct outcome *fast = run_beside(plain, program, &recipe, &form, all);
    assert_within(plain, fast, &tol);
    assert_true(fast->peak < plain->peak);
    assert_int_equal(fast->one_query, 3); /* the teacher's, and the student's in two sizes */
    assert_int_equal(plain->one_query, 0);
    free_outcome(fast);
    free_outcome(plain);
}

/* Images that drop path drops are computed or left out; also where a slice has so few that none is left. */
static void test_skipped_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    struct dg_recompute_levels most = recompute_all();
    bool bf16 = has_bf16();
    for (int form = 0; form < 16; form += 3) {
        if (form & 1 && !bf16) continue;
        struct finish finish = {.bf16 = form & 1, .recompute = form & 2 ? &most : NULL, .joins = form & 4};
        struct dg_step_choice slices = {.slices = form & 8 ? BATCH : 0};
        struct outcome *whole = run_finished(program, &recipe, &slices, &finish);
        struct tolerance tol = rounding(whole, program, &recipe, &slices, finish);
        finish.skips = true;
        struct outcome *skipped = run_beside(whole, program, &recipe, &slices, finish);
        assert_within(whole, skipped, &tol);
        assert_true(skipped->peak <= whole->peak + whole->peak / 100);
        assert_int_equal(skipped->skipped, 8); /* two blocks of two branches, two sizes */
        assert_true(skipped->bytes < whole->bytes && skipped->flops < whole->flops);
        assert_int_equal(skipped->joined, whole->joined); /* also from one branch to the next */
        free_outcome(whole);
        free_outcome(skipped);
    }
}

/* Weights packed once a step or in each product, for both resolutions and slice after slice: the same to the bit. */
static void test_packed_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    struct dg_recompute_levels once = {0}, each = {.packing = true};
    bool bf16 = has_bf16();
    for (int form = 0; form < 4; form++) {
        if (form & 1 && !bf16) continue;
        struct dg_step_choice slices = {.slices = form & 2 ? 3 : 0};
        struct finish finish = {.bf16 = form & 1, .skips = true, .joins = true, .recompute = &each};
        struct outcome *apart = run_finished(program, &recipe, &slices, &finish);
        finish.recompute = &once;
        struct outcome *packed = run_beside(apart, program, &recipe, &slices, finish);
        assert_int_equal(apart->packs, 0);
        assert_true(packed->packs > 0);
        assert_equal(apart, packed, NULL);
        free_outcome(apart);
        free_outcome(packed);
    }
}

/* Networks whose branches are not those of a ViT: where others read what would be left out, it is not. */
static void test_odd_branches(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("tests/fixtures/branches.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    recipe.model.backbone = "branches";
    recipe.model.args = NULL;
    recipe.student_args = give(NULL, "drop_path", (struct dg_term){.kind = DG_TERM_FLOAT, .f = 0.4});
    struct dg_recompute_levels most = recompute_all(), cheap = dg_recompute_cheap();
    struct outcome *plain =
        run_finished(program, &recipe, &(struct dg_step_choice){0}, &(struct finish){.plain = true});
    struct tolerance tol =
        rounding(plain, program, &recipe, &(struct dg_step_choice){0}, (struct finish){.plain = true});
    for (int form = 0; form < 6; form++) {
        struct finish finish = {.recompute = form % 2 ? &most : &cheap, .skips = true, .joins = true};
        struct dg_step_choice slices = {.slices = form < 2 ? 0 : form < 4 ? 3 : BATCH};
        struct outcome *fast = run_beside(plain, program, &recipe, &slices, finish);
        assert_int_equal(fast->skipped, 2 * 13); /* in two sizes; the other branches must be made of all images */
        assert_within(plain, fast, &tol);
        free_outcome(fast);
    }
    free_outcome(plain);
}

/* Joined ops make what they made apart, to the bit; but for the biases in front of a GELU, whose gradients are summed in another
 * order, and in bf16 before they are rounded. */
static void test_joined_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    struct dg_recompute_levels most = recompute_all();
    static const int forms[] = {0, 3, 5, 6}; /* every pair of the three in every way */
    bool bf16 = has_bf16();
    for (int f = 0; f < 4; f++) {
        int form = forms[f];
        if (form & 1 && !bf16) continue;
        struct finish finish = {.bf16 = form & 1, .recompute = form & 2 ? &most : NULL};
        struct dg_step_choice slices = {.slices = form & 4 ? 3 : 0};
        struct outcome *apart = run_finished(program, &recipe, &slices, &finish);
        struct tolerance tol = rounding(apart, program, &recipe, &slices, finish);
        finish.joins = true;
        struct outcome *joined = run_beside(apart, program, &recipe, &slices, finish);
        assert_equal(apart, joined, &tol);
        assert_true(joined->peak <= apart->peak);
        free_outcome(apart);
        free_outcome(joined);
    }
}

/* Whatever is made again comes out the same, to the bit; and all of it together saves much. */
static void assert_remade(struct dg_program *program, const struct dg_train_recipe *recipe,
                          const struct dg_step_choice *form)
{
    struct outcome *all = run(program, recipe, form, NULL);
    uint64_t least = all->peak;
    static const int levels[] = {1, 3, DG_RECOMPUTE_PAIRS - 1, DG_RECOMPUTE_PAIRS, DG_RECOMPUTE_NORMS};
    for (int i = 0; i < 5; i++)
        for (int part = i == 1 ? 0 : -1; part < (i == 1 ? 4 : 0); part++) { /* one at a time, or all */
            struct dg_recompute_levels recompute = {.packing = i > 0};
            for (int p = 0; p < 4; p++) recompute.level[p] = part < 0 || part == p ? levels[i] : 0;
            struct outcome *some = run(program, recipe, form, &recompute);
            assert_equal(all, some, NULL);
            if (some->peak < least) least = some->peak;
            free_outcome(some);
        }
    assert_true(least < all->peak - all->peak / 4);
    free_outcome(all);
}

static void test_remade_batch_norm_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/resnet.yaml");
    for (int head_norm = 0; head_norm < 2; head_norm++) {
        struct dg_train_recipe recipe = resnet_recipe(head_norm);
        assert_remade(program, &recipe, &(struct dg_step_choice){0});
    }
}

/* Any mixture of levels in any form. */
static void test_random_forms(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    static const int slices[] = {1, 2, 6};
    struct dg_rng rng = dg_rng_make(11, DG_RNG_TEST, 0, 0);
    for (int f = 0; f < 6; f++) {
        struct dg_step_choice form = {.slices = slices[f % 3], .smallest_first = f > 2};
        struct outcome *all = run(program, &recipe, &form, NULL);
        for (int i = 0; i < 3; i++) {
            struct dg_recompute_levels recompute = {0};
            for (int p = 0; p < DG_MAX_RECOMPUTE_PARTS; p++)
                recompute.level[p] = (int)dg_rng_int(&rng, 0, DG_MAX_RECOMPUTE + 1);
            struct outcome *some = run(program, &recipe, &form, &recompute);
            assert_equal(all, some, NULL);
            free_outcome(some);
        }
        free_outcome(all);
    }
}

static void test_remade_is_the_same(void **state)
{
    (void)state;
    struct dg_program *program = load_with_head("graphs/vit.yaml");
    struct dg_train_recipe recipe = vit_recipe();
    assert_remade(program, &recipe, &(struct dg_step_choice){0});
    assert_remade(program, &recipe, &(struct dg_step_choice){.slices = 3});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain_is_the_same, two_threads, one_thread),
        cmocka_unit_test(test_slices_add_up),
        cmocka_unit_test(test_remade_is_the_same),
        cmocka_unit_test(test_remade_batch_norm_is_the_same),
        cmocka_unit_test_setup_teardown(test_random_forms, two_threads, one_thread),
        cmocka_unit_test_setup_teardown(test_joined_is_the_same, two_threads, one_thread),
        cmocka_unit_test(test_odd_branches),
        cmocka_unit_test(test_skipped_is_the_same),
        cmocka_unit_test(test_packed_is_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* From the file to the plan: reads the description, builds the graph of each entry of a recipe, a probe or a module alone, has the
 * passes run on it, and writes the plan or what the options ask for in its place. */
#include "compiler/compile.h"

#include "compiler/facts.h"
#include "compiler/language/recipe.h"
#include "compiler/plan/emit.h"
#include "compiler/report/report.h"
#include "compiler/step/budget.h"
#include "compiler/step/compile_step.h"
#include "runtime/plan/view.h"

#include <stdio.h>
#include <string.h>

struct compile {
    const struct dg_compile_options *options;
    struct dg_arena *arena;
    struct dg_diagnostics *diag;
    struct dg_program *program;
    struct dg_definition *definition;
    struct dg_entry entry[DG_ENTRY_ROLES];
    int num_entries;
    union {
        struct dg_model_recipe model; /* a module alone; also the beginning of the other two */
        struct dg_train_recipe recipe;
        struct dg_probe_recipe probe;
    };
    struct dg_pipeline pipeline;
    struct dg_step_request source;
    struct dg_train_step step;      /* of a recipe */
    struct dg_budget_result budget; /* --memory */
    struct dg_text text, dumps;
};

/* The next entry; its graph is complete. False: errors are in diag. */
static bool add_entry(struct compile *c, const struct dg_entry *entry)
{
    const struct dg_recompute_levels none = {0}; /* only a recipe's step is recomputed */
    struct dg_entry *added = &c->entry[c->num_entries++];
    *added = *entry;
    return dg_finish_entry(&c->source, &none, added);
}

/* Gives the position tables of a graph that is not trained the grid that they are used on, where that is no square: weights of
 * such a grid are then taken as they are, and those of a square are resized when they are loaded. */
static void fit_position_tables(struct dg_graph *graph)
{
    const struct dg_op *add = dg_op_find("add_position");
    int height = dg_op_attr(add, "grid_h"), width = dg_op_attr(add, "grid_w"), same = dg_op_attr(add, "same_grid");
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        struct dg_graph_node *node = &graph->node[n];
        struct dg_graph_value *table = &graph->value[node->input[1]];
        int64_t h = node->attr[height].i, w = node->attr[width].i;
        uint32_t *reads = dg_graph_reads(graph, NULL, 0);
        if (node->op != add || h == w || table->region != DG_REGION_PARAM || reads[node->input[1]] != 1) continue;
        table->desc.dim[1] = graph->value[node->input[DG_DATA]].desc.dim[1];
        node->attr[same].i = 1;
    }
}

/* An entry from images to one output: one application of a network. */
static bool add_evaluation(struct compile *c, enum dg_entry_role role, struct dg_graph *graph, int64_t batch,
                           dg_value images, dg_value output)
{
    const char *name = dg_entry_name(role);
    fit_position_tables(graph);
    struct dg_pass_context context = {.graph = graph,
                                      .diag = c->diag,
                                      .subject = dg_arena_printf(c->arena, "entry %s", name),
                                      .keep = &output,
                                      .num_keep = 1,
                                      .constant_params = true};
    if (!dg_run_passes(dg_application_passes, &c->pipeline, &context)) return false;
    graph->value[output].name = name;
    struct dg_slots slots = dg_no_slots();
    slots.of[DG_SLOT_IMAGES] = images;
    slots.of[DG_SLOT_OUTPUT] = output;
    return add_entry(c, &(struct dg_entry){.role = role,
                                           .bind = "teacher.backbone.",
                                           .graph = graph,
                                           .batch = batch,
                                           .constant_params = true,
                                           .slots = slots});
}

/* Whether --ranks can be: by a form of the step in one piece, which tells what couples rows. Sets that in the request. */
static bool can_be_shared(struct compile *c)
{
    struct dg_step_request alone = c->source;
    alone.ranks = 0;
    struct dg_step_choice whole = dg_default_choice(&alone);
    struct dg_entry entry;
    struct dg_train_step step;
    if (!dg_build_step(&alone, &whole, &entry, &step)) return false;
    c->source.coupled = step.uncut || step.coupling;
    return dg_step_can_be_shared(&c->source);
}

/* False: errors are in diag, or err says that --memory cannot be met. */
static bool train_entry(struct compile *c, struct dg_error *err)
{
    c->source.ranks = c->options->ranks;
    struct dg_step_choice choice = dg_default_choice(&c->source);
    if (c->options->ranks > 1 && !can_be_shared(c)) return false;
    if (c->options->memory) {
        if (dg_budget_search(&c->source, c->options->memory, &c->budget, err) != DG_OK) return false;
        choice = c->budget.choice;
    }
    return dg_compile_step(&c->source, &choice, &c->entry[c->num_entries++], &c->step);
}

/* One entry for each output of the module that evaluations know; of a module without any, its last node as features. */
static void evaluation_entries(struct compile *c)
{
    const struct dg_recipe_crops *image = &c->model.image;
    int64_t batch = c->model.batch;
    for (int role = DG_ENTRY_FEATURES; role < DG_ENTRY_ROLES; role++) {
        const char *name = dg_entry_name((enum dg_entry_role)role); /* also that of the module's output */
        struct dg_graph *graph = dg_graph_create(c->arena);
        struct dg_instance *backbone =
            dg_instance_create(c->program, graph, c->model.backbone, c->model.args, &c->model.origin, "", false);
        if (!backbone) return;
        struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){batch, image->height, image->width, 3});
        if (!dg_desc_valid(&desc)) {
            dg_diag_error(c->diag, &image->size_origin, "images: a batch of %lld at %lldx%lld is empty or too large",
                          (long long)batch, (long long)image->height, (long long)image->width);
            return;
        }
        dg_value images = dg_graph_input(graph, "images", &desc);
        graph->value[images].origin = image->size_origin;
        struct dg_row_range rows = {.batch = (int)batch};
        struct dg_application *a =
            dg_instance_apply(backbone, &images, 1, false, rows, dg_graph_application(graph, DG_EVALUATED, name));
        if (!a) return; /* reported once is enough */
        dg_value output = dg_application_output(a, name);
        if (output == DG_NO_VALUE && role == DG_ENTRY_FEATURES) output = dg_application_output(a, NULL);
        if (output == DG_NO_VALUE) continue;
        if (!add_evaluation(c, (enum dg_entry_role)role, graph, batch, images, output)) return;
    }
}

/* --set, then what --batch, --image-size and --dtype set; `size_key` is the key that has the size of evaluated images. */
static bool apply_flags(struct compile *c, const char *size_key)
{
    const struct dg_compile_options *o = c->options;
    struct dg_yaml *map = c->definition->map;
    bool ok = true;
    for (int s = 0; s < o->num_sets; s++) ok &= dg_program_set(c->program, map, o->set[s], s + 1);
    if (o->batch > 0)
        ok &= dg_program_set(c->program, map, dg_arena_printf(c->arena, "batch=%lld", (long long)o->batch),
                             o->num_sets + 1);
    if (o->height > 0)
        ok &= dg_program_set(
            c->program, map,
            dg_arena_printf(c->arena, "%s=[%lld, %lld]", size_key, (long long)o->height, (long long)o->width),
            o->num_sets + 2);
    if (o->dtype)
        ok &= dg_program_set(c->program, map, dg_arena_printf(c->arena, "dtype=%s", o->dtype), o->num_sets + 3);
    return ok;
}

/* What all entries compute in. */
static bool choose_types(struct compile *c, bool bf16)
{
    const char *math = c->options->math;
    struct dg_origin at = {.file = c->options->file};
    c->pipeline.bf16 = bf16;
    c->pipeline.math = !math || !strcmp(math, "f32") ? DG_MATH_F32
                       : !strcmp(math, "bf16x3")     ? DG_MATH_BF16X3
                                                     : DG_MATH_BF16X6;
    if (!bf16 || c->pipeline.math == DG_MATH_F32) return true;
    dg_diag_error(c->diag, &at,
                  "--math %s is about products of f32, and the plan is in bf16: give --dtype f32, or no --math", math);
    return false;
}

static bool compile_recipe(struct compile *c, struct dg_error *err)
{
    const struct dg_compile_options *o = c->options;
    bool ok = apply_flags(c, "entries.features.size");
    if (!dg_recipe_read(c->program, c->definition->name, &c->recipe) || !ok) return false;
    if (o->print) return true;
    if (!choose_types(c, c->model.dtype == DG_RECIPE_BF16)) return false;
    if (!train_entry(c, err) || dg_diag_errors(c->diag)) return false;
    evaluation_entries(c);
    return !dg_diag_errors(c->diag);
}

/* The frozen features, and the step on them. The step is the plan's first entry: it is the model that a run saves. */
static bool compile_probe(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    bool ok = apply_flags(c, "crops.size");
    if (!dg_probe_read(c->program, c->definition->name, &c->probe) || !ok) return false;
    if (o->print) return true;
    if (!choose_types(c, c->model.dtype == DG_RECIPE_BF16)) return false;
    struct dg_graph *frozen = dg_graph_create(c->arena), *step = dg_graph_create(c->arena);
    struct dg_train_step *train = &c->step;
    dg_value images, features = dg_build_probe_features(&c->source, frozen, &images);
    if (features == DG_NO_VALUE) return false;
    if (!dg_build_probe_step(&c->source, frozen->value[features].desc.dim[1], step, train)) return false;
    return add_entry(c, &(struct dg_entry){.role = DG_ENTRY_TRAIN,
                                           .bind = "",
                                           .graph = step,
                                           .batch = c->model.batch,
                                           .slots = train->slots}) &&
           add_evaluation(c, DG_ENTRY_FEATURES, frozen, c->model.batch, images, features);
}

/* Of how many blocks the backbone gives tokens: what a probe can take [CLS] of. */
static int64_t count_blocks(struct compile *c)
{
    const struct dg_recipe_crops *image = &c->model.image;
    struct dg_graph *graph = dg_graph_create(c->arena);
    struct dg_instance *backbone =
        dg_instance_create(c->program, graph, c->model.backbone, c->model.args, &c->model.origin, "", false);
    struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){1, image->height, image->width, 3});
    if (!backbone || !dg_desc_valid(&desc)) return 0; /* reported where the probe is built */
    dg_value images = dg_graph_input(graph, "images", &desc);
    struct dg_row_range rows = {.batch = 1};
    struct dg_application *a =
        dg_instance_apply(backbone, &images, 1, false, rows, dg_graph_application(graph, DG_EVALUATED, "features"));
    return a ? dg_application_repeats(a, "taps") : 0;
}

/* --probe: the linear classifier on a recipe's backbone. */
static bool make_probe(struct compile *c)
{
    if (!dg_recipe_read(c->program, c->definition->name, &c->recipe)) return false;
    c->definition = dg_probe_of_recipe(c->program, c->definition, count_blocks(c));
    return c->definition && !dg_diag_errors(c->diag) && compile_probe(c);
}

/* What else was asked for, so that messages of the runtime can repeat the command with another number of classes. */
static const char *probe_settings(const struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    const char *text = "";
    for (int s = 0; s < o->num_sets; s++) {
        if (!strncmp(o->set[s], "classes=", 8)) continue;
        const char *quote = strpbrk(o->set[s], " []{}*$'\"\\") ? "'" : "";
        text = dg_arena_printf(c->arena, "%s --set %s%s%s", text, quote, o->set[s], quote);
    }
    if (o->probe) text = dg_arena_printf(c->arena, "%s --probe", text);
    if (o->batch > 0) text = dg_arena_printf(c->arena, "%s --batch %lld", text, (long long)o->batch);
    if (o->height > 0)
        text = dg_arena_printf(c->arena, "%s --image-size %lldx%lld", text, (long long)o->height, (long long)o->width);
    if (o->dtype) text = dg_arena_printf(c->arena, "%s --dtype %s", text, o->dtype);
    if (o->math) text = dg_arena_printf(c->arena, "%s --math %s", text, o->math);
    return text;
}

/* A module alone: its arguments come from --set, its images from the argument `image`. */
static bool compile_module(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    struct dg_yaml *with = dg_arena_alloc(c->arena, sizeof *with);
    *with = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = c->definition->map->origin};
    if (!choose_types(c, o->dtype && !strcmp(o->dtype, "bf16"))) return false;
    c->model = (struct dg_model_recipe){.name = c->definition->name,
                                        .origin = c->definition->map->origin,
                                        .dtype = c->pipeline.bf16 ? DG_RECIPE_BF16 : DG_RECIPE_F32,
                                        .backbone = c->definition->name,
                                        .batch = o->batch > 0 ? o->batch : 1,
                                        .image = {.height = 224, .width = 224, .size_origin = {.file = o->file}}};
    struct dg_model_recipe *model = &c->model;
    dg_recipe_read_pixels(c->program, model);
    bool ok = true;
    for (int s = 0; s < o->num_sets; s++) ok &= dg_program_set(c->program, with, o->set[s], s + 1);
    if (!dg_program_read_args(c->program, with, NULL, &model->args) || !ok) return false;
    struct dg_definition *base;
    const struct dg_scope *scope;
    if (!dg_program_bind_args(c->program, model->name, &model->origin, model->args, &base, &scope)) return false;
    struct dg_yaml *shown = dg_yaml_get(c->arena, c->definition->map, base == c->definition ? "args" : "with");
    for (; scope; scope = scope->outer) {
        const struct dg_term *value = &scope->value;
        if (!strcmp(scope->name, "image") && value->kind == DG_TERM_INT)
            model->image.height = model->image.width = value->i;
        dg_program_show_argument(c->program, shown, scope, base == c->definition);
    }
    if (o->height > 0) {
        model->image.height = o->height;
        model->image.width = o->width;
    }
    if (o->print) return true;
    evaluation_entries(c);
    return !dg_diag_errors(c->diag);
}

static bool load(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    const struct dg_library library = {o->folder, o->folders};
    c->program = dg_program_load(c->arena, c->diag, o->file, &library);
    if (!c->program) return false;
    c->source.program = c->program;
    const char *found;
    enum dg_definition_kind kind = dg_program_find(c->program, o->name, &found);
    if (kind != DG_DEFINITION_NONE) {
        c->definition = dg_program_definition(c->program, kind, found);
        return kind != DG_DEFINITION_RECIPE || dg_program_resolve_like(c->program, c->definition);
    }
    struct dg_origin at = {.file = o->file};
    if (o->name)
        dg_diag_error(c->diag, &at, "there is no module, recipe or probe %s in it%s", o->name,
                      dg_program_nearest(c->program, o->name));
    else
        dg_diag_error(c->diag, &at, "it defines no module, recipe or probe");
    return false;
}

/* What --print writes, under a line that says what else the plan was compiled with. */
static const char *description_of(const struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    struct dg_text text = {.arena = c->arena};
    dg_text_add(&text, "# %s, with every default filled in; dinoc FILE", c->model.name);
    if (o->math) dg_text_add(&text, " --math %s", o->math);
    if (o->memory) dg_text_add(&text, " --memory %lld", (long long)o->memory);
    if (o->ranks) dg_text_add(&text, " --ranks %lld", (long long)o->ranks);
    if (o->plain) dg_text_add(&text, " --plain");
    if (o->skip) dg_text_add(&text, " --skip %s", o->skip);
    dg_text_add(&text, " -o PLAN compiles it again\n");
    dg_print_program(&text, c->program, c->definition);
    return text.text;
}

static enum dg_status finish(struct compile *c, struct dg_error *err)
{
    const struct dg_compile_options *o = c->options;
    if (o->print) {
        dg_print_program(&c->text, c->program, c->definition);
        return DG_OK;
    }
    if (o->explain) {
        if (dg_explain(&c->text, c->entry, c->num_entries, o->explain)) return DG_OK;
        return dg_fail(err, DG_ERR_USAGE, "--explain %s: %s has no such node%s%s%s", o->explain, c->model.name,
                       c->text.length ? "; did you mean " : "", c->text.length ? c->text.text : "",
                       c->text.length ? "?" : "");
    }
    struct dg_layout layout[DG_ENTRY_ROLES];
    for (int e = 0; e < c->num_entries; e++) DG_TRY(dg_lay_out(&c->entry[e], &layout[e], err));
    enum dg_definition_kind kind = c->definition->kind;
    struct dg_emit_input in = {.kind = kind == DG_DEFINITION_RECIPE  ? DG_PLAN_RECIPE
                                       : kind == DG_DEFINITION_PROBE ? DG_PLAN_PROBE
                                                                     : DG_PLAN_MODULE,
                               .entry = c->entry,
                               .layout = layout,
                               .num_entries = c->num_entries,
                               .knob = c->model.knobs.knob,
                               .knob_key = c->model.knobs.knob_key,
                               .num_knobs = c->model.knobs.num_knobs,
                               .schedule = c->model.knobs.schedule,
                               .schedule_key = c->model.knobs.schedule_key,
                               .num_schedules = c->model.knobs.num_schedules,
                               .recipe = c->model.name,
                               .source = o->file,
                               .settings = kind == DG_DEFINITION_PROBE ? probe_settings(c) : ""};
    const struct dg_facts_input facts = {.program = c->program,
                                         .definition = c->definition,
                                         .model = &c->model,
                                         .recipe = kind == DG_DEFINITION_RECIPE ? &c->recipe : NULL};
    in.facts = dg_facts_text(&facts);
    in.description = description_of(c);
    uint64_t size;
    DG_TRY(dg_plan_emit(c->arena, &in, o->output, &size, err));
    char bytes[32];
    dg_text_add(&c->text, "%s %s%s",
                kind == DG_DEFINITION_RECIPE  ? "recipe"
                : kind == DG_DEFINITION_PROBE ? "probe"
                                              : "module",
                c->model.name,
                c->model.dtype == DG_RECIPE_BF16 ? " in bf16"
                : c->pipeline.math               ? dg_arena_printf(c->arena, ", products by %s", o->math)
                                                 : "");
    if (o->output) dg_text_add(&c->text, " -> %s (%s)", o->output, dg_format_bytes(bytes, sizeof bytes, (double)size));
    dg_text_add(&c->text, "\n");
    dg_report_coupling(&c->text, &c->step, c->source.coupled);
    if (o->memory) dg_budget_report(&c->text, &c->budget, c->recipe.batch);
    dg_report(&c->text, c->entry, layout, c->num_entries);
    return DG_OK;
}

/* FILE as it is, else of the folders. */
static const char *find_description(struct dg_arena *arena, const struct dg_compile_options *options)
{
    const struct dg_library library = {options->folder, options->folders};
    return dg_library_path(&library, arena, options->file, options->file);
}

enum dg_status dg_compile(const struct dg_compile_options *options, struct dg_compile_result *result,
                          struct dg_error *err)
{
    *result = (struct dg_compile_result){0};
    jmp_buf out_of_memory;
    struct dg_arena *arena = dg_arena_create(&out_of_memory);
    if (!arena) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (setjmp(out_of_memory)) {
        dg_arena_free(arena);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory while compiling %s", options->file);
    }
    struct compile *c = dg_arena_alloc(arena, sizeof *c);
    struct dg_compile_options *found = dg_arena_alloc(arena, sizeof *found);
    *found = *options;
    found->file = find_description(arena, options);
    c->options = found;
    c->arena = c->text.arena = arena;
    c->dumps.arena = arena;
    c->diag = dg_diag_create(arena);
    c->pipeline =
        (struct dg_pipeline){.plain = options->plain, .skip = options->skip, .dump = options->dump, .dumps = &c->dumps};
    c->source =
        (struct dg_step_request){.diag = c->diag, .recipe = &c->recipe, .probe = &c->probe, .pipeline = &c->pipeline};
    enum dg_status status = DG_ERR_INPUT;
    bool loaded = dg_pipeline_check(&c->pipeline, err) == DG_OK && load(c);
    if (loaded && options->memory && c->definition->kind != DG_DEFINITION_RECIPE)
        status = dg_fail(err, DG_ERR_USAGE, "--memory is for recipes, and %s is none; choose its --batch instead",
                         c->definition->name);
    else if (loaded && options->ranks && c->definition->kind != DG_DEFINITION_RECIPE)
        status = dg_fail(err, DG_ERR_USAGE, "--ranks is for recipes, and %s is none", c->definition->name);
    else if (loaded && options->probe && c->definition->kind != DG_DEFINITION_RECIPE)
        status = dg_fail(err, DG_ERR_USAGE, "--probe makes a probe of a recipe, and %s is none", c->definition->name);
    else if (loaded && (options->probe                                ? make_probe(c)
                        : c->definition->kind == DG_DEFINITION_RECIPE ? compile_recipe(c, err)
                        : c->definition->kind == DG_DEFINITION_PROBE  ? compile_probe(c)
                                                                      : compile_module(c)))
        status = finish(c, err);
    else if (!dg_diag_errors(c->diag))
        status = err->status; /* --memory cannot be met */
    else {
        *err = (struct dg_error){0}; /* what failed is in the diagnostics */
        dg_fail(err, DG_ERR_INPUT, "%s: %d error%s", found->file, dg_diag_errors(c->diag),
                dg_diag_errors(c->diag) == 1 ? "" : "s");
    }
    *result = (struct dg_compile_result){.text = c->text.text ? c->text.text : "",
                                         .dumps = c->dumps.text ? c->dumps.text : "",
                                         .diagnostics = dg_diag_text(c->diag),
                                         .errors = dg_diag_errors(c->diag),
                                         .arena = arena};
    result->diagnostic = dg_diag_messages(c->diag, &result->num_diagnostics);
    return status;
}

void dg_compile_result_free(struct dg_compile_result *result)
{
    dg_arena_free(result->arena);
    *result = (struct dg_compile_result){0};
}

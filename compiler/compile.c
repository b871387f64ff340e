/* The passes in their order, for a recipe, for a probe and for a module alone. */
#include "compiler/compile.h"

#include "compiler/language/recipe.h"
#include "compiler/passes/passes.h"
#include "compiler/pipeline/budget.h"
#include "compiler/report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an evaluation entry may be: an output of the backbone by its name (graphs/vit.yaml). */
static const char *const evaluations[] = {"features", "attention", "tokens"};
enum { NUM_EVALUATIONS = 3, MAX_ENTRIES = 1 + NUM_EVALUATIONS };

struct compile {
    const struct dg_compile_options *options;
    struct dg_arena *arena;
    struct dg_diagnostics *diag;
    struct dg_program *program;
    struct dg_definition *definition;
    struct dg_emit_entry entry[MAX_ENTRIES];
    int num_entries;
    struct dg_recipe recipe;   /* of a module alone: its name, type, knobs and image size */
    struct dg_train_step step; /* of a recipe */
    struct dg_budget budget;   /* --memory */
    struct dg_budget_choice choice;
    struct dg_text text;
};

static struct dg_emit_entry make_entry(struct compile *c, const char *name, struct dg_graph *graph, int64_t batch,
                                       bool constant_params, const dg_value *input, int num_inputs,
                                       const dg_value *output, int num_outputs)
{
    struct dg_arena *arena = c->arena;
    dg_value *in = dg_arena_alloc(arena, (size_t)num_inputs * sizeof *in),
             *out = dg_arena_alloc(arena, (size_t)num_outputs * sizeof *out);
    memcpy(in, input, (size_t)num_inputs * sizeof *in);
    memcpy(out, output, (size_t)num_outputs * sizeof *out);
    dg_pass_prune(graph, out, num_outputs);
    if (c->recipe.bf16) dg_pass_narrow(graph, out, num_outputs);
    return (struct dg_emit_entry){.name = name,
                                  .bind = constant_params ? "teacher.backbone." : "",
                                  .graph = graph,
                                  .batch = batch,
                                  .constant_params = constant_params,
                                  .bf16 = c->recipe.bf16,
                                  .input = in,
                                  .num_inputs = num_inputs,
                                  .output = out,
                                  .num_outputs = num_outputs};
}

static void add_entry(struct compile *c, const char *name, struct dg_graph *graph, int64_t batch, bool constant_params,
                      const dg_value *input, int num_inputs, const dg_value *output, int num_outputs)
{
    c->entry[c->num_entries++] =
        make_entry(c, name, graph, batch, constant_params, input, num_inputs, output, num_outputs);
}

/* All runs of `parts` names joined by dots within the names of what is trained: what could have been meant. */
struct name_parts {
    const char **part;
    size_t count, capacity;
};

static void add_parts(struct compile *c, struct name_parts *list, const char *name, int parts)
{
    for (const char *from = name; from; from = strchr(from, '.') ? strchr(from, '.') + 1 : NULL) {
        const char *end = from;
        for (int p = 0; p < parts && end; p++) end = strchr(p ? end + 1 : end, '.');
        list->part = dg_arena_grow(c->arena, list->part, list->count, &list->capacity, sizeof *list->part);
        list->part[list->count++] = dg_arena_strndup(c->arena, from, end ? (size_t)(end - from) : strlen(from));
        if (!end) return;
    }
}

static const char *part_at(const void *context, int index) { return ((const struct name_parts *)context)->part[index]; }

/* A freeze that meets no parameter would have no effect, and nobody would know. */
static void check_freeze(struct compile *c, const struct dg_graph *graph)
{
    const char *word = c->recipe.freeze_params;
    if (!word || c->recipe.freeze_origin.line <= 0) return;
    struct name_parts list = {0};
    int parts = 1;
    for (const char *dot = word; (dot = strchr(dot, '.')); dot++) parts++;
    for (uint32_t v = 0; v < graph->num_values; v++) {
        if (!(graph->value[v].flags & DG_TENSOR_TRAINABLE)) continue;
        if (strstr(graph->value[v].name, word)) return;
        add_parts(c, &list, graph->value[v].name, parts);
    }
    const char *near = dg_nearest_name(word, part_at, &list, (int)list.count), *whole = NULL;
    for (uint32_t v = 0; near && !whole && v < graph->num_values; v++)
        if (graph->value[v].flags & DG_TENSOR_TRAINABLE && strstr(graph->value[v].name, near))
            whole = graph->value[v].name;
    dg_diag_error(c->diag, &c->recipe.freeze_origin, "optim.freeze.params: no parameter has %s in its name%s%s%s%s%s",
                  word, near ? "; did you mean " : "", near ? near : "", near ? ", as in " : "", near ? whole : "",
                  near ? "?" : "");
}

/* The step in one of its forms, as the entry of a plan. */
static bool build_step(void *context, const struct dg_step_form *form, struct dg_emit_entry *entry)
{
    struct compile *c = context;
    struct dg_graph *graph = dg_graph_create(c->arena);
    struct dg_train_step *step = &c->step;
    bool built = dg_pass_train_step(c->program, c->diag, &c->recipe, form, graph, step);
    if (step->num_inputs) check_freeze(c, graph);
    if (!built || dg_diag_errors(c->diag)) return false;
    *entry = make_entry(c, "train", graph, c->recipe.batch, false, step->input, step->num_inputs, step->output,
                        step->num_outputs);
    return true;
}

/* False with err: no form of it fits into --memory. */
static enum dg_status train_entry(struct compile *c, struct dg_error *err)
{
    struct dg_emit_entry entry;
    if (!build_step(c, &(struct dg_step_form){0}, &entry)) return DG_OK; /* reported */
    c->budget = (struct dg_budget){.bytes = c->options->memory,
                                   .batch = c->recipe.batch,
                                   .plain = c->options->plain,
                                   .step = &c->step,
                                   .build = build_step,
                                   .context = c};
    struct dg_remake cheap = dg_remake_cheap();
    if (!c->options->plain) dg_pass_finish(entry.graph, &cheap, entry.output, entry.num_outputs);
    if (c->options->memory) DG_TRY(dg_budget_fit(c->arena, &c->budget, &entry, &c->choice, err));
    c->entry[c->num_entries++] = entry;
    return DG_OK;
}

/* An entry from images to one output, with what can be fused fused. */
static void add_evaluation(struct compile *c, const char *name, struct dg_graph *graph, int64_t batch, dg_value images,
                           dg_value output)
{
    dg_pass_prune(graph, &output, 1);
    if (!c->options->plain) {
        if (!dg_pass_take_early(graph, c->diag, 0, &output, 1)) return;
        dg_pass_fuse(graph, 0, true, &output, 1);
    }
    graph->value[output].name = name;
    add_entry(c, name, graph, batch, true, &images, 1, &output, 1);
    if (!c->options->plain) dg_pass_join(graph, &output, 1);
}

/* One entry for each output of the module that evaluations know; of a module without any, its last node as features. */
static void evaluation_entries(struct compile *c, const char *module, struct dg_given *given, int64_t batch,
                               const struct dg_recipe_crops *image)
{
    for (int k = 0; k < NUM_EVALUATIONS; k++) {
        struct dg_graph *graph = dg_graph_create(c->arena);
        struct dg_instance *backbone =
            dg_instance_create(c->program, graph, module, given, &c->recipe.origin, "", false);
        if (!backbone) return;
        struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){batch, image->height, image->width, 3});
        if (!dg_desc_valid(&desc)) {
            dg_diag_error(c->diag, &image->size_origin, "images: a batch of %lld at %lldx%lld is empty or too large",
                          (long long)batch, (long long)image->height, (long long)image->width);
            return;
        }
        dg_value images = dg_graph_input(graph, "images", &desc);
        graph->value[images].origin = image->size_origin;
        struct dg_position position = {.batch = (int)batch};
        struct dg_application *a = dg_instance_apply(backbone, &images, 1, false, position, evaluations[k]);
        if (!a) return; /* reported once is enough */
        dg_value output = dg_application_output(a, evaluations[k]);
        if (output == DG_NO_VALUE && !k) output = dg_application_output(a, NULL);
        if (output == DG_NO_VALUE) continue;
        add_evaluation(c, evaluations[k], graph, batch, images, output);
    }
}

/* --set, then what --batch, --image-size and --dtype set; `size_key` is the key that has the size of evaluated images. */
static bool apply_flags(struct compile *c, const char *size_key)
{
    const struct dg_compile_options *o = c->options;
    struct dg_yaml *map = c->definition->map;
    bool ok = true;
    for (int s = 0; s < o->num_sets; s++) ok &= dg_recipe_set(c->program, map, o->set[s], s + 1);
    if (o->batch > 0)
        ok &= dg_recipe_set(c->program, map, dg_arena_printf(c->arena, "batch=%lld", (long long)o->batch),
                            o->num_sets + 1);
    if (o->height > 0)
        ok &= dg_recipe_set(
            c->program, map,
            dg_arena_printf(c->arena, "%s=[%lld, %lld]", size_key, (long long)o->height, (long long)o->width),
            o->num_sets + 2);
    if (o->dtype)
        ok &= dg_recipe_set(c->program, map, dg_arena_printf(c->arena, "dtype=%s", o->dtype), o->num_sets + 3);
    return ok;
}

static bool compile_recipe(struct compile *c, struct dg_error *err)
{
    const struct dg_compile_options *o = c->options;
    bool ok = apply_flags(c, "entries.features.size");
    if (!dg_recipe_read(c->program, c->definition->name, &c->recipe) || !ok) return false;
    if (o->print) return true;
    c->recipe.plain = o->plain;
    if (train_entry(c, err) != DG_OK || dg_diag_errors(c->diag)) return false;
    evaluation_entries(c, c->recipe.backbone, c->recipe.teacher_with, c->recipe.features_batch, &c->recipe.features);
    return !dg_diag_errors(c->diag);
}

/* The frozen features, and the step on them. The step is the plan's first entry: it is the model that a run saves. */
static bool compile_probe(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    bool ok = apply_flags(c, "crops.size");
    if (!dg_probe_read(c->program, c->definition->name, &c->recipe) || !ok) return false;
    if (o->print) return true;
    struct dg_graph *frozen = dg_graph_create(c->arena), *step = dg_graph_create(c->arena);
    struct dg_train_step train;
    dg_value images, features = dg_pass_probe_features(c->program, c->diag, &c->recipe, frozen, &images);
    if (features == DG_NO_VALUE) return false;
    if (!dg_pass_probe_step(c->diag, &c->recipe, frozen->value[features].desc.dim[1], step, &train)) return false;
    add_entry(c, "train", step, c->recipe.batch, false, train.input, train.num_inputs, train.output, train.num_outputs);
    add_evaluation(c, "features", frozen, c->recipe.features_batch, images, features);
    return !dg_diag_errors(c->diag);
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
    if (o->batch > 0) text = dg_arena_printf(c->arena, "%s --batch %lld", text, (long long)o->batch);
    if (o->height > 0)
        text = dg_arena_printf(c->arena, "%s --image-size %lldx%lld", text, (long long)o->height, (long long)o->width);
    if (o->dtype) text = dg_arena_printf(c->arena, "%s --dtype %s", text, o->dtype);
    return text;
}

/* A module alone: its arguments come from --set, its images from the argument `image`. */
static bool compile_module(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    struct dg_yaml *with = dg_arena_alloc(c->arena, sizeof *with);
    *with = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = c->definition->map->origin};
    c->recipe = (struct dg_recipe){.name = c->definition->name, .origin = c->definition->map->origin};
    c->recipe.bf16 = o->dtype && !strcmp(o->dtype, "bf16");
    dg_recipe_pixels(c->program, &c->recipe);
    bool ok = true;
    for (int s = 0; s < o->num_sets; s++) ok &= dg_recipe_set(c->program, with, o->set[s], s + 1);
    struct dg_given *given = NULL;
    if (!dg_program_give(c->program, with, NULL, &given) || !ok) return false;
    struct dg_definition *base;
    const struct dg_scope *scope;
    if (!dg_program_bind(c->program, c->definition->name, &c->recipe.origin, given, &base, &scope)) return false;
    struct dg_recipe_crops image = {.height = 224, .width = 224, .size_origin = {.file = o->file}};
    struct dg_yaml *shown = dg_yaml_get(c->arena, c->definition->map, base == c->definition ? "args" : "with");
    for (; scope; scope = scope->outer) {
        const struct dg_term *value = &scope->value;
        if (!strcmp(scope->name, "image") && value->kind == DG_TERM_INT) image.height = image.width = value->i;
        dg_recipe_show_argument(c->program, shown, scope, base == c->definition);
    }
    if (o->height > 0) {
        image.height = o->height;
        image.width = o->width;
    }
    if (o->print) return true;
    evaluation_entries(c, c->definition->name, given, o->batch > 0 ? o->batch : 1, &image);
    return !dg_diag_errors(c->diag);
}

static bool load(struct compile *c)
{
    const struct dg_compile_options *o = c->options;
    c->program = dg_program_load(c->arena, c->diag, o->file);
    if (!c->program) return false;
    const char *found;
    enum dg_definition_kind kind = dg_program_find(c->program, o->name, &found);
    if (kind != DG_DEFINITION_NONE) {
        c->definition = dg_program_definition(c->program, kind, found);
        return true;
    }
    struct dg_origin at = {.file = o->file};
    if (o->name)
        dg_diag_error(c->diag, &at, "there is no module, recipe or probe %s in it", o->name);
    else
        dg_diag_error(c->diag, &at, "it defines no module, recipe or probe");
    return false;
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
        return dg_fail(err, DG_ERR_USAGE, "--explain %s: %s has no such node%s%s%s", o->explain, c->recipe.name,
                       c->text.length ? "; did you mean " : "", c->text.length ? c->text.text : "",
                       c->text.length ? "?" : "");
    }
    struct dg_emit_input in = {.entry = c->entry,
                               .num_entries = c->num_entries,
                               .knob = c->recipe.knobs,
                               .knob_key = c->recipe.knob_key,
                               .num_knobs = c->recipe.num_knobs,
                               .schedule = c->recipe.schedules,
                               .schedule_key = c->recipe.schedule_key,
                               .num_schedules = c->recipe.num_schedules,
                               .recipe = c->recipe.name,
                               .source = o->file,
                               .settings = c->definition->kind == DG_DEFINITION_PROBE ? probe_settings(c) : ""};
    uint64_t size;
    DG_TRY(dg_plan_emit(c->arena, &in, o->output, &size, err));
    char bytes[32];
    dg_text_add(&c->text, "%s %s%s",
                c->definition->kind == DG_DEFINITION_RECIPE  ? "recipe"
                : c->definition->kind == DG_DEFINITION_PROBE ? "probe"
                                                             : "module",
                c->recipe.name, c->recipe.bf16 ? " in bf16" : "");
    if (o->output) dg_text_add(&c->text, " -> %s (%s)", o->output, dg_format_bytes(bytes, sizeof bytes, (double)size));
    dg_text_add(&c->text, "\n");
    dg_report_coupling(&c->text, &c->step);
    if (o->memory) dg_budget_report(&c->text, &c->budget, &c->choice);
    dg_report(&c->text, c->entry, c->num_entries);
    return DG_OK;
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
    c->options = options;
    c->arena = c->text.arena = arena;
    c->diag = dg_diag_create(arena);
    enum dg_status status = DG_ERR_INPUT;
    bool loaded = load(c);
    if (loaded && options->memory && c->definition->kind != DG_DEFINITION_RECIPE)
        status = dg_fail(err, DG_ERR_USAGE, "--memory is for recipes, and %s is none; choose its --batch instead",
                         c->definition->name);
    else if (loaded && (c->definition->kind == DG_DEFINITION_RECIPE  ? compile_recipe(c, err)
                        : c->definition->kind == DG_DEFINITION_PROBE ? compile_probe(c)
                                                                     : compile_module(c)))
        status = finish(c, err);
    else if (!dg_diag_errors(c->diag))
        status = err->status; /* --memory cannot be met */
    else
        dg_fail(err, DG_ERR_INPUT, "%s: %d error%s", options->file, dg_diag_errors(c->diag),
                dg_diag_errors(c->diag) == 1 ? "" : "s");
    result->text = strdup(c->text.text ? c->text.text : "");
    result->diagnostics = strdup(dg_diag_text(c->diag) ? dg_diag_text(c->diag) : "");
    dg_arena_free(arena);
    if (!result->text || !result->diagnostics) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    return status;
}

void dg_compile_result_free(struct dg_compile_result *result)
{
    free(result->text);
    free(result->diagnostics);
    *result = (struct dg_compile_result){0};
}

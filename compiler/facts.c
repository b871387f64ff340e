#include "compiler/facts.h"

#include "compiler/base/text.h"
#include "compiler/graph/identity.h"
#include "compiler/language/elaborate.h"

#include <inttypes.h>
#include <string.h>

struct facts {
    const struct dg_facts_input *in;
    struct dg_arena *arena;
    struct dg_text text;
};

static void add(struct facts *f, const char *key, const char *value)
{
    char *line = dg_arena_strdup(f->arena, value);
    for (char *c = line; *c; c++)
        if (*c == '\n') *c = ' ';
    dg_text_add(&f->text, "%s=%s\n", key, line);
}

/* Is the key a knob, or a list of knobs? A run may change those, and its checkpoint has their values. */
static bool is_knob(const struct facts *f, const char *key)
{
    const struct dg_knob_list *knobs = &f->in->model->knobs;
    size_t length = strlen(key);
    for (int k = 0; k < knobs->num_knobs; k++) {
        const char *name = knobs->knob_key[k];
        if (!strcmp(name, key) || (!strncmp(name, key, length) && !strcmp(name + length, ".0"))) return true;
    }
    return false;
}

/* The keys of a description and their values, but for knobs. */
static void add_tree(struct facts *f, const char *key, const struct dg_yaml *node)
{
    if (is_knob(f, key) || !strcmp(key, "teacher.with")) return; /* what the teacher computes is computes.teacher */
    const char *full = dg_arena_printf(f->arena, "recipe.%s", key);
    if (node->kind == DG_YAML_SCALAR) {
        add(f, full, node->text);
        return;
    }
    for (size_t i = 0; i < node->count; i++)
        add_tree(f,
                 node->kind == DG_YAML_MAP ? dg_arena_printf(f->arena, "%s.%s", key, node->item[i].key)
                                           : dg_arena_printf(f->arena, "%s.%zu", key, i),
                 node->item[i].value);
}

static void add_recipe(struct facts *f)
{
    static const char *const left_out[] = {"recipe", "probe", "import"}; /* names */
    const struct dg_yaml *map = f->in->definition->map;
    for (size_t i = 0; i < map->count; i++) {
        bool name = false;
        for (size_t l = 0; l < sizeof left_out / sizeof *left_out; l++) name |= !strcmp(map->item[i].key, left_out[l]);
        if (!name) add_tree(f, map->item[i].key, map->item[i].value);
    }
}

/* Applies a module to one input of a graph of its own, which *desc describes. Adds what identifies its features, or its first
 * output, and sets *desc to theirs. */
static void add_identity(struct facts *f, const char *key, const char *module, struct dg_args *args,
                         struct dg_desc *desc, bool train)
{
    struct dg_graph *graph = dg_graph_create(f->arena);
    struct dg_instance *instance =
        dg_instance_create(f->in->program, graph, module, args, &f->in->model->origin, "", train);
    if (!instance) return;
    dg_value input = dg_graph_input(graph, "input", desc);
    struct dg_row_range rows = {.batch = (int)desc->dim[0]};
    struct dg_application *a = dg_instance_apply(instance, &input, 1, train, rows,
                                                 dg_graph_application(graph, train ? DG_STUDENT : DG_EVALUATED, ""));
    dg_value output = a ? dg_application_output(a, "features") : DG_NO_VALUE;
    if (a && output == DG_NO_VALUE) output = dg_application_output(a, NULL);
    if (output == DG_NO_VALUE) return;
    *desc = graph->value[output].desc;
    add(f, key, dg_arena_printf(f->arena, "%016" PRIx64, dg_graph_identity(graph, output, train)));
}

/* The backbone's module, its arguments and what it computes; of a recipe also what is trained. */
static void add_network(struct facts *f)
{
    const struct dg_facts_input *in = f->in;
    const struct dg_model_recipe *model = in->model;
    struct dg_definition *base;
    const struct dg_scope *scope;
    if (!dg_program_bind_args(in->program, model->backbone, &model->origin, model->args, &base, &scope)) return;
    add(f, "computes.module", base->name);
    for (; scope; scope = scope->outer) {
        char value[256];
        add(f, dg_arena_printf(f->arena, "network.%s", scope->name), dg_term_text(value, sizeof value, &scope->value));
    }
    const struct dg_recipe_crops *image = &model->image;
    struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){1, image->height, image->width, 3});
    add_identity(f, "computes.evaluated", model->backbone, model->args, &desc, false);
    if (!in->recipe) return;
    const struct dg_train_recipe *recipe = in->recipe;
    desc = dg_desc_make(DG_F32, 4, (int64_t[]){2, recipe->global.height, recipe->global.width, 3});
    add_identity(f, "computes.trained", model->backbone, recipe->student_args, &desc, true);
    struct dg_desc teacher = dg_desc_make(DG_F32, 4, (int64_t[]){2, recipe->global.height, recipe->global.width, 3});
    add_identity(f, "computes.teacher", model->backbone, model->args, &teacher, true);
    add_identity(f, "computes.head", recipe->head, recipe->head_args, &desc, true);
}

const char *dg_facts_text(const struct dg_facts_input *in)
{
    struct facts f = {.in = in, .arena = in->program->arena, .text = {.arena = in->program->arena}};
    add(&f, "dinoc", DG_VERSION);
    add_network(&f);
    if (in->definition->kind != DG_DEFINITION_MODULE) add_recipe(&f);
    return f.text.text ? f.text.text : "";
}

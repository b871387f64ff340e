/* Definitions to nodes: an instance binds a module's arguments and owns its parameters, an application walks the module's nodes
 * and adds them to the graph, with shapes inferred as they come. A node that fails is reported once and poisons what reads it,
 * so that one compile finds all errors that do not follow from each other. */
#include "compiler/language/elaborate.h"

#include "compiler/base/choices.h"
#include "compiler/language/frame.h"

#include "ops/base/base.h"

#include <string.h>

enum { MAX_REPEAT = 4096, MAX_NESTING = 32, MAX_FROM = 16 };

/* A node of a module where it is used: once, or one of its repetitions, or one of a list. */
struct site {
    const char *name; /* within the module: "blocks.3" */
    struct dg_yaml *yaml;
    const struct dg_scope *scope;
    struct dg_result before; /* its input, if it has no `from` */
    const struct dg_origin *origin;
    bool numbered; /* one of its repetitions, or of a list: a module here is a block */
};

/* A module where it is used. */
struct module_site {
    const char *name;
    struct dg_args *args;
    const char *path; /* before the names of its nodes: "blocks.3." */
    const struct dg_origin *origin;
    uint32_t block; /* of its nodes; DG_NO_BLOCK: none */
};

static struct dg_result elaborate(struct dg_frame *outer, struct dg_application *application,
                                  const struct module_site *site, const dg_value *input, int num_inputs);

/* The inputs of a node: its `from`, or the result before it. Returns their number, -1 if it was reported; one that is poisoned is
 * DG_NO_VALUE. */
static int read_inputs(struct dg_frame *f, const struct site *site, dg_value input[MAX_FROM])
{
    struct dg_yaml *from = dg_yaml_get(dg_frame_arena(f), site->yaml, "from");
    bool list = from && from->kind == DG_YAML_LIST;
    size_t count = list ? from->count : 1;
    if (count > MAX_FROM) {
        dg_diag_error(dg_frame_diag(f), &from->origin, "`from` takes at most %d names", MAX_FROM);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct dg_result result = site->before;
        const struct dg_yaml *name = list ? from->item[i].value : from;
        if (name && name->kind != DG_YAML_SCALAR) {
            dg_diag_error(dg_frame_diag(f), &name->origin, "`from` wants names of values");
            return -1;
        }
        if (name) result = dg_frame_resolve(f, name->text, &name->origin, site->scope);
        input[i] = result.poisoned ? DG_NO_VALUE : result.output[DG_RESULT];
    }
    return (int)count;
}

static struct dg_result value_or_poison(struct dg_frame *f, dg_value value)
{
    return value == DG_NO_VALUE ? dg_frame_poison(f) : dg_frame_value(value);
}

static bool any_failed(const dg_value *input, int count)
{
    for (int i = 0; i < count; i++)
        if (input[i] == DG_NO_VALUE) return true;
    return count < 0;
}

/* The word that names the op of a node, which may be a bare word; NULL: there is none. */
static const struct dg_yaml *op_word(struct dg_frame *f, struct dg_yaml *node)
{
    const struct dg_yaml *word = node->kind == DG_YAML_SCALAR ? node : dg_yaml_get(dg_frame_arena(f), node, "op");
    return word && word->kind == DG_YAML_SCALAR && *word->text ? word : NULL;
}

static const char *path_of(struct dg_frame *f, const char *name)
{
    return dg_arena_printf(dg_frame_arena(f), "%s%s", f->path, name);
}

/* The node above that `apply` names; NULL: there is none. */
static const struct dg_named *find_applied(const struct dg_frame *f, const struct dg_yaml *apply)
{
    for (size_t i = 0; apply->kind == DG_YAML_SCALAR && i < f->num_named; i++)
        if (f->named[i].yaml && !strcmp(f->named[i].name, apply->text)) return &f->named[i];
    return NULL;
}

/* `apply`: an earlier node once more, on the same weights. */
static struct dg_result apply_node(struct dg_frame *f, const struct site *site, const struct dg_yaml *apply)
{
    dg_value input[MAX_FROM];
    int count = read_inputs(f, site, input);
    const struct dg_named *named = find_applied(f, apply);
    const struct dg_op *op = NULL;
    if (named) {
        if (dg_named_last(named)->poisoned) return dg_frame_poison(f);
        dg_yaml_check_used(dg_frame_diag(f), site->yaml, "a node with `apply`");
        if (any_failed(input, count)) return dg_frame_poison(f);
        const struct dg_yaml *word = op_word(f, named->yaml);
        if (word && !named->repeated) op = dg_yaml_op(word->text);
    }
    if (!op) {
        dg_diag_error(dg_frame_diag(f), &apply->origin, "`apply` wants the name of a node above that is one op");
        return dg_frame_poison(f);
    }
    struct dg_op_site op_site = {named->yaml, op,          path_of(f, site->name), path_of(f, named->name),
                                 site->scope, site->origin};
    return dg_frame_make_op(f, &op_site, input, count);
}

/* The block of a module's nodes: the outermost that they are in counts. */
static uint32_t block_of(struct dg_frame *f, const struct site *site)
{
    const struct dg_application *a = f->application;
    if (f->block != DG_NO_BLOCK || !site->numbered) return f->block;
    return ++a->instance->graph->application[a->number].num_blocks;
}

/* `use`: a module in the place of the node. */
static struct dg_result use_node(struct dg_frame *f, const struct site *site, const struct dg_yaml *use)
{
    dg_value input[MAX_FROM];
    int count = read_inputs(f, site, input);
    struct dg_args *args = NULL;
    struct dg_yaml *with = dg_yaml_get(dg_frame_arena(f), site->yaml, "with");
    bool ok = dg_program_read_args(f->application->instance->program, with, site->scope, &args);
    dg_yaml_check_used(dg_frame_diag(f), site->yaml, "a node with `use`");
    if (use->kind != DG_YAML_SCALAR) {
        dg_diag_error(dg_frame_diag(f), &use->origin, "`use` wants the name of a module");
        ok = false;
    }
    if (!ok || count < 0) return dg_frame_poison(f);
    struct module_site module = {use->text, args, dg_arena_printf(dg_frame_arena(f), "%s%s.", f->path, site->name),
                                 &use->origin, block_of(f, site)};
    return elaborate(f, f->application, &module, input, count);
}

static struct dg_result op_node(struct dg_frame *f, const struct site *site)
{
    dg_value input[MAX_FROM];
    const struct dg_yaml *word = op_word(f, site->yaml);
    int count = read_inputs(f, site, input);
    const struct dg_op *op = word ? dg_yaml_op(word->text) : NULL;
    if (!op) {
        if (word)
            dg_diag_error(dg_frame_diag(f), &word->origin, "there is no op %s%s", word->text,
                          dg_op_choices(dg_frame_arena(f), word->text, dg_yaml_op_name, dg_op_count()));
        else
            dg_diag_error(dg_frame_diag(f), site->origin, "node %s needs one of `op`, `use`, `apply`, `list`",
                          site->name);
        return dg_frame_poison(f);
    }
    if (count < 0) return dg_frame_poison(f);
    const char *path = path_of(f, site->name);
    struct dg_op_site op_site = {site->yaml, op, path, path, site->scope, site->origin};
    return dg_frame_make_op(f, &op_site, input, count);
}

static struct dg_result one_node(struct dg_frame *f, const struct site *site)
{
    /* What the first of them decides, the others are not asked for: they are then reported as unknown keys. */
    const struct dg_yaml *apply = dg_yaml_get_if(dg_frame_arena(f), site->yaml, "apply");
    if (apply) return apply_node(f, site, apply);
    const struct dg_yaml *use = dg_yaml_get_if(dg_frame_arena(f), site->yaml, "use");
    return use ? use_node(f, site, use) : op_node(f, site);
}

bool dg_frame_is_wanted(struct dg_frame *f, struct dg_yaml *node, const struct dg_scope *scope)
{
    struct dg_yaml *when = dg_yaml_get(dg_frame_arena(f), node, "when");
    struct dg_term value;
    if (!when) return true;
    if (!dg_expr_yaml(dg_frame_arena(f), dg_frame_diag(f), when, scope, &value)) return false;
    if (value.kind == DG_TERM_BOOL) return value.i;
    dg_diag_error(dg_frame_diag(f), &when->origin, "`when` wants true or false");
    return false;
}

/* `list`: numbered nodes, as nn.Sequential numbers them; one that `when` leaves out takes no number. */
static struct dg_result list_node(struct dg_frame *f, const struct site *site, const struct dg_yaml *list)
{
    dg_value input[MAX_FROM];
    int count = read_inputs(f, site, input), number = 0;
    bool wanted = dg_frame_is_wanted(f, site->yaml, f->scope);
    dg_yaml_check_used(dg_frame_diag(f), site->yaml, "a node with `list`");
    if (list->kind != DG_YAML_LIST || count > 1) {
        dg_diag_error(dg_frame_diag(f), &list->origin,
                      count > 1 ? "a node with `list` takes one input" : "`list` wants a list of nodes");
        return dg_frame_poison(f);
    }
    if (count < 1) return dg_frame_poison(f);
    struct dg_result last = value_or_poison(f, input[0]);
    for (size_t i = 0; wanted && i < list->count; i++) {
        struct dg_yaml *child = list->item[i].value;
        if (!dg_frame_is_wanted(f, child, f->scope)) continue;
        const char *name = dg_arena_printf(dg_frame_arena(f), "%s.%d", site->name, number++);
        last = dg_frame_settle(one_node(f, &(struct site){name, child, f->scope, last, &child->origin, true}));
        struct dg_named *named = dg_frame_add(f, name, child, 1);
        named->item[named->count++] = last;
    }
    return last;
}

/* A name for a node that failed and was reported. */
static void add_failed(struct dg_frame *f, const struct dg_yaml_item *item)
{
    f->previous = dg_frame_poison(f);
    *dg_frame_add(f, item->key, item->value, 0)->item = f->previous;
}

/* `repeat`: the node so many times, each on the result before it; expressions see `index`. */
static void repeat_node(struct dg_frame *f, const struct dg_yaml_item *item, struct dg_yaml *repeat)
{
    struct dg_term count;
    if (!dg_expr_yaml(dg_frame_arena(f), dg_frame_diag(f), repeat, f->scope, &count)) {
        add_failed(f, item);
        return;
    }
    if (count.kind != DG_TERM_INT || count.i < 0 || count.i > MAX_REPEAT) {
        dg_diag_error(dg_frame_diag(f), &repeat->origin, "`repeat` wants a whole number from 0 to %d", MAX_REPEAT);
        add_failed(f, item);
        return;
    }
    struct dg_named *added = dg_frame_add(f, item->key, item->value, (int)count.i);
    added->repeated = true;
    *added->item = f->previous;
    size_t at = f->num_named - 1; /* the array of names moves */
    for (int64_t i = 0; i < count.i; i++) {
        struct dg_scope index = {.outer = f->scope, .name = "index", .value = {.kind = DG_TERM_INT, .i = i}};
        const char *name = dg_arena_printf(dg_frame_arena(f), "%s.%lld", item->key, (long long)i);
        int errors = dg_diag_errors(dg_frame_diag(f));
        struct dg_result made =
            one_node(f, &(struct site){name, item->value, &index, f->previous, &item->key_origin, true});
        struct dg_named *named = &f->named[at];
        named->item[named->count++] = made;
        f->previous = dg_frame_settle(made);
        named->cut = dg_diag_errors(dg_frame_diag(f)) > errors;
        if (named->cut) break; /* the others would say the same */
    }
}

/* A node that `when` leaves out stands for its first input. */
static struct dg_result left_out_node(struct dg_frame *f, const struct site *site)
{
    dg_value input[MAX_FROM];
    if (!dg_yaml_get(dg_frame_arena(f), site->yaml, "from")) return site->before;
    return read_inputs(f, site, input) > 0 ? value_or_poison(f, input[0]) : dg_frame_poison(f);
}

static void elaborate_nodes(struct dg_frame *f, const struct dg_yaml *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct dg_yaml_item *item = &nodes->item[i];
        struct dg_yaml *repeat = dg_yaml_get(dg_frame_arena(f), item->value, "repeat"),
                       *list = dg_yaml_get_if(dg_frame_arena(f), item->value, "list");
        if (repeat && list) {
            dg_diag_error(dg_frame_diag(f), &list->origin, "a list is not repeated; make it a module and `use` that");
            add_failed(f, item);
            continue;
        }
        if (repeat) {
            repeat_node(f, item, repeat);
            continue;
        }
        struct site site = {item->key, item->value, f->scope, f->previous, &item->key_origin, false};
        struct dg_result made = list                                           ? list_node(f, &site, list)
                                : dg_frame_is_wanted(f, item->value, f->scope) ? one_node(f, &site)
                                                                               : left_out_node(f, &site);
        struct dg_named *named = dg_frame_add(f, item->key, item->value, 1);
        named->item[named->count++] = made;
        f->previous = dg_frame_settle(made);
    }
}

/* --- modules --- */

/* Finds the module of a new frame and binds its arguments: those of `site` within another module, else the instance's. */
static bool bind_module(struct dg_frame *f, const struct module_site *site)
{
    const struct dg_instance *instance = f->application->instance;
    struct dg_definition *module = instance->module;
    int depth = 0;
    for (const struct dg_frame *g = f->outer; g; g = g->outer) depth++;
    if (depth > MAX_NESTING) {
        dg_diag_error(dg_frame_diag(f), site->origin, "module %s uses itself, or modules are nested more than %d deep",
                      site->name, MAX_NESTING);
        return false;
    }
    f->scope = instance->scope;
    if (f->outer && !dg_program_bind_args(instance->program, site->name, site->origin, site->args, &module, &f->scope))
        return false;
    f->module = module;
    return true;
}

/* The module's own parameters are values that `from` may name. */
static void name_params(struct dg_frame *f)
{
    struct dg_yaml *params = dg_yaml_get(dg_frame_arena(f), f->module->map, "params");
    for (size_t i = 0; params && i < params->count; i++) {
        dg_value param = dg_frame_own_param(f, params->item[i].key);
        if (param == DG_NO_VALUE) continue; /* `when` leaves it out */
        struct dg_named *named = dg_frame_add(f, params->item[i].key, NULL, 1);
        named->item[named->count++] = dg_frame_value(param);
    }
}

static struct dg_result elaborate(struct dg_frame *outer, struct dg_application *application,
                                  const struct module_site *site, const dg_value *input, int num_inputs)
{
    struct dg_arena *arena = application->instance->program->arena;
    struct dg_frame *f = dg_arena_alloc(arena, sizeof *f);
    *f = (struct dg_frame){
        .application = application, .outer = outer, .path = site->path, .block = site->block, .use = *site->origin};
    if (!bind_module(f, site) || !dg_frame_check_module(f)) return dg_frame_poison(f);
    struct dg_yaml *inputs = dg_yaml_get(arena, f->module->map, "inputs"),
                   *nodes = dg_yaml_get(arena, f->module->map, "nodes");
    int wants = inputs ? (int)inputs->count : 1;
    if (wants != num_inputs) {
        dg_diag_error(dg_frame_diag(f), site->origin, "module %s takes %d inputs, got %d", f->module->name, wants,
                      num_inputs);
        return dg_frame_poison(f);
    }
    for (int i = 0; i < num_inputs; i++) {
        struct dg_named *named = dg_frame_add(f, inputs ? inputs->item[i].value->text : "x", NULL, 1);
        struct dg_result result = value_or_poison(f, input[i]);
        named->item[named->count++] = result;
    }
    f->previous = value_or_poison(f, input[0]);
    if (!dg_frame_declare_params(f)) return dg_frame_poison(f);
    name_params(f);
    elaborate_nodes(f, nodes);
    return (struct dg_result){.frame = f, .poisoned = f->previous.poisoned};
}

/* --- the interface --- */

struct dg_instance *dg_instance_create(struct dg_program *program, struct dg_graph *graph, const char *module,
                                       struct dg_args *args, const struct dg_origin *at, const char *prefix,
                                       bool trainable)
{
    struct dg_instance *instance = dg_arena_alloc(program->arena, sizeof *instance);
    *instance = (struct dg_instance){.program = program, .graph = graph, .prefix = prefix, .trainable = trainable};
    return dg_program_bind_args(program, module, at, args, &instance->module, &instance->scope) ? instance : NULL;
}

struct dg_application *dg_instance_apply(struct dg_instance *instance, const dg_value *input, int num_inputs,
                                         bool train, struct dg_row_range rows, uint32_t application)
{
    struct dg_application *a = dg_arena_alloc(instance->program->arena, sizeof *a);
    *a = (struct dg_application){
        .instance = instance, .train = train, .rows = rows, .number = application, .source = input[0]};
    struct module_site site = {instance->module->name, NULL, "", &instance->module->map->origin, DG_NO_BLOCK};
    a->root = elaborate(NULL, a, &site, input, num_inputs).frame;
    return a->failed || !a->root ? NULL : a;
}

dg_value dg_application_output(const struct dg_application *application, const char *name)
{
    bool found = true;
    struct dg_result result =
        name ? dg_frame_output(application->root, name, &found) : dg_frame_default_output(application->root);
    return !found || result.poisoned ? DG_NO_VALUE : result.output[DG_RESULT];
}

/* The repeated node that an output names without an index; NULL: it names another. */
static const struct dg_named *repeated_output(const struct dg_application *a, const char *name)
{
    const struct dg_frame *f = a->root;
    struct dg_yaml *outputs = dg_yaml_get(dg_frame_arena(f), f->module->map, "outputs");
    const struct dg_yaml *output = dg_yaml_get(dg_frame_arena(f), outputs, name);
    for (size_t i = 0; output && output->kind == DG_YAML_SCALAR && i < f->num_named; i++)
        if (f->named[i].repeated && !strcmp(f->named[i].name, output->text)) return &f->named[i];
    return NULL;
}

int64_t dg_application_repeats(const struct dg_application *application, const char *name)
{
    const struct dg_named *named = repeated_output(application, name);
    return named ? named->count : 0;
}

dg_value dg_application_repeated(const struct dg_application *application, const char *name, int64_t index)
{
    const struct dg_named *named = repeated_output(application, name);
    if (!named || index < 0 || index >= named->count) return DG_NO_VALUE;
    struct dg_result result = dg_frame_settle(named->item[index]);
    return result.poisoned ? DG_NO_VALUE : result.output[DG_RESULT];
}

int dg_instance_num_params(const struct dg_instance *instance) { return (int)instance->num_params; }
dg_value dg_instance_param(const struct dg_instance *instance, int index)
{
    return index < (int)instance->num_params ? instance->param[index] : DG_NO_VALUE;
}

/* Definitions to nodes: an instance binds a module's arguments and owns its parameters, an application walks its nodes and
 * adds them to the graph, with shapes inferred as they come. A node that fails is reported once and poisons what reads it,
 * so that one compile finds all errors that do not follow from each other. */
#include "compiler/language/elaborate.h"

#include "compiler/base/string_map.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_REPEAT = 4096, MAX_NESTING = 32, MAX_NODES = 100000 };

struct dg_instance {
    struct dg_program *program;
    struct dg_graph *graph;
    struct dg_definition *module;
    const struct dg_scope *scope;
    const char *prefix;
    bool trainable;
    dg_value *param; /* in the order of their first use */
    size_t num_params, param_capacity;
    struct dg_names names; /* to values; without the prefix */
};

/* What a node's name stands for: the outputs of an op, or a whole module. */
struct single {
    bool poisoned;
    const struct dg_op *op;
    dg_value output[DG_MAX_OUTPUTS];
    struct frame *frame; /* of a used module */
};
struct entry {
    const char *name;
    struct dg_yaml *yaml;
    struct single *item;
    int count;
    bool repeated;
};

/* One module being elaborated. */
struct frame {
    struct dg_application *application;
    struct frame *outer;
    const struct dg_definition *module;
    const struct dg_scope *scope;
    const char *path;     /* of nodes and parameters: "blocks.3." */
    struct dg_origin use; /* where it is used */
    struct entry *entry;
    size_t num_entries, entry_capacity;
    struct single previous;
};

struct dg_application {
    struct dg_instance *instance;
    struct frame *root;
    bool train, failed;
    struct dg_row_range rows;
    const char *label;
    dg_value source; /* the first input, for diagnostics */
    int nodes;
};

static struct dg_arena *arena_of(const struct frame *f) { return f->application->instance->program->arena; }
static struct dg_diagnostics *diag_of(const struct frame *f) { return f->application->instance->program->diag; }

static struct single poison(struct frame *f)
{
    f->application->failed = true;
    return (struct single){.poisoned = true};
}

static struct single of_value(dg_value value) { return (struct single){.output = {value}}; }

/* The chain that led to an error: each `use`, and where the images come from. */
static void explain_chain(struct frame *f)
{
    for (struct frame *g = f; g->outer; g = g->outer)
        dg_diag_note(diag_of(f), &g->use, "in module %s, used here as %.*s", g->module->name, (int)strlen(g->path) - 1,
                     g->path);
    const struct dg_application *a = f->application;
    const struct dg_graph_value *source = &a->instance->graph->value[a->source];
    if (source->origin.line)
        dg_diag_note(diag_of(f), &source->origin, "for %s: %s is %lldx%lld from here", a->label, source->name,
                     (long long)source->grid_h, (long long)source->grid_w);
}

/* --- references --- */

static const char *entry_name(const void *context, int index)
{
    return ((const struct frame *)context)->entry[index].name;
}

static bool boundary(char c) { return !c || c == '.' || c == '['; }

static struct single resolve(struct frame *f, const char *ref, const struct dg_origin *at,
                             const struct dg_scope *scope);

static struct single default_output(struct frame *f);

/* An output of a used module by name. */
static struct single module_output(struct frame *f, const char *name, const struct dg_origin *at, bool *found)
{
    struct dg_yaml *outputs = dg_yaml_get(arena_of(f), f->module->map, "outputs");
    for (size_t i = 0; outputs && outputs->kind == DG_YAML_MAP && i < outputs->count; i++)
        if (!strcmp(outputs->item[i].key, name) && outputs->item[i].value->kind == DG_YAML_SCALAR) {
            *found = true;
            return resolve(f, outputs->item[i].value->text, &outputs->item[i].value->origin, f->scope);
        }
    (void)at;
    *found = false;
    return (struct single){0};
}

static struct single resolve(struct frame *f, const char *ref, const struct dg_origin *at, const struct dg_scope *scope)
{
    const struct entry *best = NULL;
    size_t length = 0;
    for (size_t i = 0; i < f->num_entries; i++) { /* the longest name that fits: names have dots */
        size_t n = strlen(f->entry[i].name);
        if (n >= length && !strncmp(ref, f->entry[i].name, n) && boundary(ref[n])) {
            best = &f->entry[i];
            length = n;
        }
    }
    if (!best) {
        const char *near = dg_nearest_name(ref, entry_name, f, (int)f->num_entries);
        dg_diag_error(diag_of(f), at, "nothing above is called %s%s%s%s", ref, near ? "; did you mean " : "",
                      near ? near : "", near ? "?" : "");
        return poison(f);
    }
    const char *rest = ref + length;
    if (!best->count) return poison(f);
    struct single s = best->item[best->count - 1];
    if (*rest == '[') {
        const char *end = strchr(rest, ']');
        struct dg_term index;
        if (!end || !boundary(end[1])) {
            dg_diag_error(diag_of(f), at, "%s: expected name[index] or name[index].output", ref);
            return poison(f);
        }
        if (!best->repeated) {
            dg_diag_error(diag_of(f), at, "%s: only a repeated node is indexed, as name[index]", ref);
            return poison(f);
        }
        if (!dg_expr_evaluate(arena_of(f), diag_of(f), at,
                              dg_arena_strndup(arena_of(f), rest + 1, (size_t)(end - rest) - 1), scope, &index))
            return poison(f);
        int64_t i = index.kind != DG_TERM_INT ? INT64_MIN : index.i < 0 ? index.i + best->count : index.i;
        if (i < 0 || i >= best->count) {
            dg_diag_error(diag_of(f), at, "%s: there are %d of %s", ref, best->count, best->name);
            return poison(f);
        }
        s = best->item[i];
        rest = end + 1;
    }
    if (s.poisoned || !*rest) return s.frame && !s.poisoned ? default_output(s.frame) : s;
    if (*rest == '.') rest++;
    if (s.frame) {
        bool found;
        struct single output = module_output(s.frame, rest, at, &found);
        return found ? output : resolve(s.frame, rest, at, scope);
    }
    for (int o = 0; s.op && o < dg_op_num_outputs(s.op); o++)
        if (!strcmp(s.op->outputs[o].name, rest) && !(s.op->outputs[o].flags & DG_SAVED)) return of_value(s.output[o]);
    dg_diag_error(diag_of(f), at, "%s has no output %s", best->name, rest);
    return poison(f);
}

/* What a module stands for: its first named output, or its last node. */
static struct single default_output(struct frame *f)
{
    struct dg_yaml *outputs = dg_yaml_get(arena_of(f), f->module->map, "outputs");
    if (outputs && outputs->kind == DG_YAML_MAP && outputs->count && outputs->item[0].value->kind == DG_YAML_SCALAR)
        return resolve(f, outputs->item[0].value->text, &outputs->item[0].value->origin, f->scope);
    return f->previous;
}

static struct entry *add_entry(struct frame *f, const char *name, struct dg_yaml *yaml, int room)
{
    f->entry = dg_arena_grow(arena_of(f), f->entry, f->num_entries, &f->entry_capacity, sizeof *f->entry);
    struct entry *entry = &f->entry[f->num_entries++];
    *entry = (struct entry){.name = name, .yaml = yaml};
    entry->item = dg_arena_alloc(arena_of(f), ((size_t)room + 1) * sizeof *entry->item);
    return entry;
}

/* --- parameters --- */

static dg_value parameter(struct frame *f, const char *name, const struct dg_desc *desc, const struct dg_init *init,
                          uint32_t flags, const struct dg_origin *at)
{
    struct dg_instance *instance = f->application->instance;
    struct dg_graph *graph = instance->graph;
    const dg_value *known = dg_names_find(&instance->names, name);
    if (known) {
        if (dg_desc_equal(&graph->value[*known].desc, desc)) return *known;
        char now[96], before[96];
        dg_diag_error(diag_of(f), at, "parameter %s would be %s here and is %s elsewhere", name,
                      dg_desc_text(now, sizeof now, desc),
                      dg_desc_text(before, sizeof before, &graph->value[*known].desc));
        explain_chain(f);
        return DG_NO_VALUE;
    }
    if (!dg_desc_valid(desc)) {
        dg_diag_error(diag_of(f), at, "parameter %s would be too large or empty", name);
        explain_chain(f);
        return DG_NO_VALUE;
    }
    if (!instance->trainable) flags &= ~(uint32_t)DG_TENSOR_TRAINABLE;
    struct dg_origin origin = *at;
    origin.path = name;
    dg_value value = dg_graph_param(graph, dg_arena_printf(arena_of(f), "%s%s", instance->prefix, name), desc,
                                    DG_REGION_PARAM, flags, init, origin);
    instance->param = dg_arena_grow(arena_of(f), instance->param, instance->num_params, &instance->param_capacity,
                                    sizeof *instance->param);
    instance->param[instance->num_params++] = value;
    dg_names_add(arena_of(f), &instance->names, name, value);
    return value;
}

/* He et al. 2015, for ReLU, by fan-out: the std of a weight [out, in, ...] is sqrt(2 / (out * window)). */
static struct dg_init settle_init(const struct dg_init *init, const struct dg_desc *weight)
{
    if (init->kind != DG_INIT_KAIMING_NORMAL) return *init;
    double fan_out = (double)weight->dim[0];
    for (int d = 2; d < weight->ndim; d++) fan_out *= (double)weight->dim[d];
    return (struct dg_init){DG_INIT_NORMAL, sqrt(2 / fan_out)};
}

/* `init: trunc_normal(0.02)`. */
static bool read_init(struct frame *f, const struct dg_yaml *yaml, struct dg_init *init)
{
    static const struct {
        const char *name;
        enum dg_init_kind kind;
    } kinds[] = {{"trunc_normal", DG_INIT_TRUNC_NORMAL},
                 {"normal", DG_INIT_NORMAL},
                 {"uniform", DG_INIT_UNIFORM},
                 {"constant", DG_INIT_CONSTANT}};
    const char *open = yaml->kind == DG_YAML_SCALAR ? strchr(yaml->text, '(') : NULL;
    size_t length = open ? strlen(open) : 0;
    if (yaml->kind == DG_YAML_SCALAR && !strcmp(yaml->text, "kaiming_normal")) {
        *init = (struct dg_init){DG_INIT_KAIMING_NORMAL, 0};
        return true;
    }
    for (size_t k = 0; open && length > 2 && open[length - 1] == ')' && k < 4; k++) {
        struct dg_term value;
        if ((size_t)(open - yaml->text) != strlen(kinds[k].name) ||
            strncmp(yaml->text, kinds[k].name, (size_t)(open - yaml->text)))
            continue;
        if (!dg_expr_evaluate(arena_of(f), diag_of(f), &yaml->origin,
                              dg_arena_strndup(arena_of(f), open + 1, length - 2), f->scope, &value))
            return false;
        if (value.kind > DG_TERM_FLOAT) break;
        *init = (struct dg_init){kinds[k].kind, dg_term_number(&value)};
        return true;
    }
    dg_diag_error(diag_of(f), &yaml->origin,
                  "expected an initialiser: trunc_normal(std), normal(std), uniform(bound), constant(value) or "
                  "kaiming_normal");
    return false;
}

/* `params:` of a module: named exactly so, ahead of the nodes' own. */
static bool declare_params(struct frame *f)
{
    struct dg_yaml *params = dg_yaml_get(arena_of(f), f->module->map, "params");
    bool ok = true;
    for (size_t i = 0; params && i < params->count; i++) {
        struct dg_yaml *p = params->item[i].value, *shape = dg_yaml_get(arena_of(f), p, "shape"),
                       *init_yaml = dg_yaml_get(arena_of(f), p, "init");
        struct dg_term dims;
        struct dg_init init = {DG_INIT_CONSTANT, 0};
        struct dg_desc desc = {.dtype = DG_F32};
        dg_yaml_check_used(diag_of(f), p, "a parameter");
        bool good = shape && dg_expr_yaml(arena_of(f), diag_of(f), shape, f->scope, &dims) &&
                    (!init_yaml || read_init(f, init_yaml, &init));
        if (good && (dims.kind != DG_TERM_LIST || dims.count > DG_MAX_DIMS)) good = false;
        for (size_t d = 0; good && d < dims.count; d++) {
            good = dims.item[d].kind == DG_TERM_INT;
            desc.dim[desc.ndim++] = dims.item[d].i;
        }
        if (!good)
            dg_diag_error(diag_of(f), &params->item[i].key_origin,
                          "parameter %s needs a shape: a list of whole numbers", params->item[i].key);
        const char *name = dg_arena_printf(arena_of(f), "%s%s", f->path, params->item[i].key);
        init = settle_init(&init, &desc);
        ok &= good && parameter(f, name, &desc, &init, DG_TENSOR_TRAINABLE, &params->item[i].key_origin) != DG_NO_VALUE;
    }
    return ok;
}

/* --- ops --- */

/* A key of the node, else of `defaults: {op: ...}` of this module or one around it. */
static struct dg_yaml *attribute(struct frame *f, struct dg_yaml *node, const char *op, const char *key)
{
    struct dg_yaml *found = dg_yaml_get(arena_of(f), node, key);
    for (struct frame *g = f; !found && g; g = g->outer)
        found = dg_yaml_get(arena_of(f),
                            dg_yaml_get(arena_of(f), dg_yaml_get(arena_of(f), g->module->map, "defaults"), op), key);
    return found;
}

static bool read_attr(struct frame *f, const struct dg_attr_spec *spec, struct dg_yaml *yaml,
                      const struct dg_scope *scope, union dg_attr *attr)
{
    static const char *const want[] = {"a whole number", "a number", "true or false"};
    struct dg_term value;
    if (!dg_expr_yaml(arena_of(f), diag_of(f), yaml, scope, &value)) return false;
    bool ok = spec->type == DG_ATTR_FLOAT ? value.kind <= DG_TERM_FLOAT
                                          : value.kind == (spec->type == DG_ATTR_INT ? DG_TERM_INT : DG_TERM_BOOL);
    if (!ok) {
        char got[64];
        dg_diag_error(diag_of(f), &yaml->origin, "%s must be %s, got %s", spec->name, want[spec->type],
                      dg_term_text(got, sizeof got, &value));
        return false;
    }
    double number = dg_term_number(&value);
    if (spec->type != DG_ATTR_BOOL && !(number >= spec->min && number <= spec->max)) {
        dg_diag_error(diag_of(f), &yaml->origin, "%s is %.9g, outside %.9g .. %.9g", spec->name, number, spec->min,
                      spec->max);
        return false;
    }
    if (spec->type == DG_ATTR_FLOAT)
        attr->f = number;
    else
        attr->i = value.i;
    return true;
}

static dg_value find_param(struct frame *f, const struct dg_yaml *yaml)
{
    struct dg_instance *instance = f->application->instance;
    const char *name = dg_arena_printf(arena_of(f), "%s%s", f->path, yaml->kind == DG_YAML_SCALAR ? yaml->text : "?");
    const dg_value *known = dg_names_find(&instance->names, name);
    if (known) return *known;
    dg_diag_error(diag_of(f), &yaml->origin, "module %s declares no parameter %s under `params:`", f->module->name,
                  yaml->kind == DG_YAML_SCALAR ? yaml->text : "?");
    return DG_NO_VALUE;
}

static struct single make_op(struct frame *f, struct dg_yaml *node, const struct dg_op *op, const char *param_path,
                             const char *node_path, dg_value *input, int num_inputs, const struct dg_scope *scope,
                             const struct dg_origin *at)
{
    struct dg_graph *graph = f->application->instance->graph;
    union dg_attr attr[DG_MAX_ATTRS] = {{0}};
    dg_value all[64];
    bool ok = true;
    int count = num_inputs;
    bool more;
    int data_inputs = dg_op_data_inputs(op, &more);
    if (num_inputs < data_inputs || (num_inputs > data_inputs && !more)) {
        dg_diag_error(diag_of(f), at, "%s takes %d inputs, got %d", op->name, data_inputs, num_inputs);
        return poison(f);
    }
    memcpy(all, input, (size_t)num_inputs * sizeof *all);
    const struct dg_graph_value *first = &graph->value[input[0]];
    for (int a = 0; a < dg_op_num_attrs(op); a++) {
        const struct dg_attr_spec *spec = &op->attrs[a];
        attr[a] = spec->value;
        if (spec->internal) {
            if (!strcmp(spec->name, "grid_h")) attr[a].i = first->grid_h;
            if (!strcmp(spec->name, "grid_w")) attr[a].i = first->grid_w;
            continue;
        }
        struct dg_yaml *yaml = attribute(f, node, op->name, spec->name);
        if (!yaml && spec->required) {
            dg_diag_error(diag_of(f), at, "%s needs %s (%s)", op->name, spec->name, spec->doc ? spec->doc : "");
            ok = false;
        } else if (yaml && spec->type == DG_ATTR_PARAM) {
            all[count] = find_param(f, yaml);
            ok &= all[count++] != DG_NO_VALUE;
        } else if (yaml) {
            ok &= read_attr(f, spec, yaml, scope, &attr[a]);
        }
    }
    struct dg_init init = {0};
    struct dg_yaml *init_yaml = op->params ? attribute(f, node, op->name, "init") : NULL;
    if (init_yaml) ok &= read_init(f, init_yaml, &init);
    if (node->kind == DG_YAML_MAP) dg_yaml_check_used(diag_of(f), node, op->name);
    if (!ok) return poison(f);

    struct dg_desc desc[64];
    for (int i = 0; i < count; i++) desc[i] = graph->value[all[i]].desc;
    struct dg_op_call call = {
        .op = op, .attr = attr, .num_inputs = count, .input = desc, .train = f->application->train};
    if (op->is_identity && op->is_identity(&call)) return of_value(input[0]);
    struct dg_error err = {0};
    struct dg_param_need need[DG_MAX_PARAMS];
    int params = op->params ? op->params(&call, need, &err) : 0;
    for (int i = 0; i < params; i++) {
        const struct dg_init *start = !init.kind                      ? &need[i].init
                                      : need[i].init_from_yaml        ? &init
                                      : need[i].init_if_replaced.kind ? &need[i].init_if_replaced
                                                                      : &need[i].init;
        struct dg_init settled = settle_init(start, &need[i].desc);
        uint32_t flags = need[i].buffer ? DG_TENSOR_BUFFER : need[i].trainable ? DG_TENSOR_TRAINABLE : 0;
        all[count] = parameter(f, dg_arena_printf(arena_of(f), "%s.%s", param_path, need[i].name), &need[i].desc,
                               &settled, flags, at);
        if (all[count++] == DG_NO_VALUE) return poison(f);
    }
    struct dg_node_options options = {.train = f->application->train,
                                      .stream = dg_fnv1a(DG_FNV_BASIS, node_path, strlen(node_path)),
                                      .rows = f->application->rows,
                                      .label = f->application->label,
                                      .origin = *at};
    options.origin.path = node_path;
    struct single result = {.op = op};
    if (++f->application->nodes > MAX_NODES) dg_fail(&err, DG_ERR_INPUT, "more than %d nodes", MAX_NODES);
    if (params < 0 || err.status != DG_OK ||
        dg_graph_node(graph, op, attr, all, count, &options, result.output, &err) != DG_OK) {
        dg_diag_error(diag_of(f), at, "node %s (%s): %s", node_path, op->name, err.text);
        explain_chain(f);
        return poison(f);
    }
    return result;
}

/* --- nodes --- */

static struct single elaborate(struct frame *outer, struct dg_application *application, const char *module,
                               struct dg_args *given, const char *path, const dg_value *input, int num_inputs,
                               const struct dg_origin *at);

static const char *op_name(const void *context, int index)
{
    (void)context;
    const struct dg_op *op = dg_op_at(index);
    return op && op->in_yaml ? op->name : NULL;
}

/* The inputs of a node: its `from`, or `otherwise`. Returns their number, -1 if one of them is poisoned or reported. */
static int read_inputs(struct frame *f, struct dg_yaml *node, const struct dg_scope *scope, struct single otherwise,
                       dg_value *input)
{
    struct dg_yaml *from = dg_yaml_get(arena_of(f), node, "from");
    size_t count = !from || from->kind != DG_YAML_LIST ? 1 : from->count;
    if (count > 16) {
        dg_diag_error(diag_of(f), &from->origin, "`from` takes at most 16 names");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct single s = otherwise;
        const struct dg_yaml *one = from && from->kind == DG_YAML_LIST ? from->item[i].value : from;
        if (one && one->kind != DG_YAML_SCALAR) {
            dg_diag_error(diag_of(f), &one->origin, "`from` wants names of values");
            return -1;
        }
        if (one) s = resolve(f, one->text, &one->origin, scope);
        if (s.poisoned) return -1;
        input[i] = s.output[0];
    }
    return (int)count;
}

static struct dg_yaml *op_of(struct frame *f, struct dg_yaml *node)
{
    return node->kind == DG_YAML_SCALAR ? node : dg_yaml_get(arena_of(f), node, "op");
}

static struct single one_node(struct frame *f, const char *name, const char *param_name, struct dg_yaml *node,
                              const struct dg_scope *scope, struct single before, const struct dg_origin *at, int depth)
{
    dg_value input[16];
    struct dg_yaml *apply = dg_yaml_get(arena_of(f), node, "apply"), /* what the first of them decides, others miss */
        *use = apply ? NULL : dg_yaml_get(arena_of(f), node, "use"), *op_yaml = apply || use ? NULL : op_of(f, node);
    int count = read_inputs(f, node, scope, before, input);
    const char *path = dg_arena_printf(arena_of(f), "%s%s", f->path, name);
    const char *param_path = dg_arena_printf(arena_of(f), "%s%s", f->path, param_name);
    if (apply && depth < 8) { /* an earlier node once more, on the same weights */
        for (size_t i = 0; i < f->num_entries; i++)
            if (apply->kind == DG_YAML_SCALAR && f->entry[i].yaml && !strcmp(f->entry[i].name, apply->text)) {
                const struct entry *entry = &f->entry[i];
                if (entry->count && entry->item[entry->count - 1].poisoned) return poison(f);
                dg_yaml_check_used(diag_of(f), node, "a node with `apply`");
                if (count < 0) return poison(f);
                struct dg_yaml *again = entry->yaml;
                const struct dg_yaml *word = op_of(f, again);
                const struct dg_op *op = word && word->kind == DG_YAML_SCALAR ? dg_op_find(word->text) : NULL;
                if (!op || !op->in_yaml || entry->repeated) break;
                return make_op(f, again, op, dg_arena_printf(arena_of(f), "%s%s", f->path, apply->text), path, input,
                               count, scope, at);
            }
        dg_diag_error(diag_of(f), &apply->origin, "`apply` wants the name of a node above that is one op");
        return poison(f);
    }
    if (use) {
        struct dg_args *given = NULL;
        bool ok = dg_program_read_args(f->application->instance->program, dg_yaml_get(arena_of(f), node, "with"), scope,
                                       &given);
        dg_yaml_check_used(diag_of(f), node, "a node with `use`");
        if (use->kind != DG_YAML_SCALAR) {
            dg_diag_error(diag_of(f), &use->origin, "`use` wants the name of a module");
            ok = false;
        }
        if (!ok || count < 0) return poison(f);
        return elaborate(f, f->application, use->text, given, dg_arena_printf(arena_of(f), "%s.", path), input, count,
                         &use->origin);
    }
    const struct dg_op *op = op_yaml && op_yaml->kind == DG_YAML_SCALAR ? dg_op_find(op_yaml->text) : NULL;
    if (!op || !op->in_yaml) {
        const char *word = op_yaml && op_yaml->kind == DG_YAML_SCALAR && *op_yaml->text ? op_yaml->text : NULL;
        const char *near = word ? dg_nearest_name(word, op_name, NULL, dg_op_count()) : NULL;
        if (word)
            dg_diag_error(diag_of(f), &op_yaml->origin, "there is no op %s%s%s%s", word, near ? "; did you mean " : "",
                          near ? near : "", near ? "?" : "");
        else
            dg_diag_error(diag_of(f), at, "node %s needs one of `op`, `use`, `apply`, `list`", name);
        return poison(f);
    }
    return count < 0 ? poison(f) : make_op(f, node, op, param_path, path, input, count, scope, at);
}

/* `when:` of a node; true if there is none. */
static bool wanted(struct frame *f, struct dg_yaml *node, const struct dg_scope *scope)
{
    struct dg_yaml *when = dg_yaml_get(arena_of(f), node, "when");
    struct dg_term value;
    if (!when) return true;
    if (!dg_expr_yaml(arena_of(f), diag_of(f), when, scope, &value)) return false;
    if (value.kind == DG_TERM_BOOL) return value.i;
    dg_diag_error(diag_of(f), &when->origin, "`when` wants true or false");
    return false;
}

/* Numbered children, as nn.Sequential numbers them; what `when` leaves out takes no number. */
static struct single node_list(struct frame *f, const char *name, struct dg_yaml *node, struct dg_yaml *list,
                               struct single before)
{
    dg_value input[16];
    int count = read_inputs(f, node, f->scope, before, input), number = 0;
    bool want = wanted(f, node, f->scope);
    dg_yaml_check_used(diag_of(f), node, "a node with `list`");
    if (list->kind != DG_YAML_LIST || count > 1) {
        dg_diag_error(diag_of(f), &list->origin,
                      count > 1 ? "a node with `list` takes one input" : "`list` wants a list of nodes");
        return poison(f);
    }
    if (count < 1) return poison(f);
    struct single last = of_value(input[0]);
    for (size_t i = 0; want && i < list->count; i++) {
        struct dg_yaml *child = list->item[i].value;
        if (!wanted(f, child, f->scope)) continue;
        const char *child_name = dg_arena_printf(arena_of(f), "%s.%d", name, number++);
        last = one_node(f, child_name, child_name, child, f->scope, last, &child->origin, 0);
        if (last.frame && !last.poisoned) last = default_output(last.frame);
        struct entry *entry = add_entry(f, child_name, child, 1);
        entry->item[entry->count++] = last;
    }
    return last;
}

static void repeat_node(struct frame *f, const struct dg_yaml_item *item, struct dg_yaml *repeat)
{
    struct dg_term times;
    if (!dg_expr_yaml(arena_of(f), diag_of(f), repeat, f->scope, &times)) {
        f->previous = poison(f);
        add_entry(f, item->key, item->value, 0);
        return;
    }
    if (times.kind != DG_TERM_INT || times.i < 0 || times.i > MAX_REPEAT) {
        dg_diag_error(diag_of(f), &repeat->origin, "`repeat` wants a whole number from 0 to %d", MAX_REPEAT);
        times.i = 0;
        f->previous = poison(f);
    }
    struct entry *entry = add_entry(f, item->key, item->value, (int)times.i);
    size_t at = f->num_entries - 1;
    entry->repeated = true;
    for (int64_t i = 0; i < times.i; i++) {
        struct dg_scope index = {.outer = f->scope, .name = "index", .value = {.kind = DG_TERM_INT, .i = i}};
        const char *name = dg_arena_printf(arena_of(f), "%s.%lld", item->key, (long long)i);
        int errors = dg_diag_errors(diag_of(f));
        struct single made = one_node(f, name, name, item->value, &index, f->previous, &item->key_origin, 0);
        f->entry[at].item[f->entry[at].count++] = made;
        f->previous = made.frame && !made.poisoned ? default_output(made.frame) : made;
        if (dg_diag_errors(diag_of(f)) > errors) break; /* the others would say the same */
    }
}

static void elaborate_nodes(struct frame *f, const struct dg_yaml *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct dg_yaml_item *item = &nodes->item[i];
        struct dg_yaml *repeat = dg_yaml_get(arena_of(f), item->value, "repeat"),
                       *list = dg_yaml_get(arena_of(f), item->value, "list");
        if (repeat && list) {
            dg_diag_error(diag_of(f), &list->origin, "a list is not repeated; make it a module and `use` that");
            f->previous = poison(f);
            add_entry(f, item->key, item->value, 0);
            continue;
        }
        if (repeat) {
            repeat_node(f, item, repeat);
            continue;
        }
        struct single made;
        if (list)
            made = node_list(f, item->key, item->value, list, f->previous);
        else if (wanted(f, item->value, f->scope))
            made = one_node(f, item->key, item->key, item->value, f->scope, f->previous, &item->key_origin, 0);
        else
            made = f->previous;
        struct entry *entry = add_entry(f, item->key, item->value, 1);
        entry->item[entry->count++] = made;
        f->previous = made.frame && !made.poisoned ? default_output(made.frame) : made;
    }
}

/* --- modules --- */

static const char *attr_name(const void *context, int index)
{
    const struct dg_op *op = context;
    return op->attrs[index].internal ? NULL : op->attrs[index].name;
}

/* `defaults: {op: {attribute: value}}`: what is misspelt there would have no effect, and nobody would know. */
static bool check_defaults(struct frame *f, const struct dg_yaml *defaults)
{
    bool ok = true;
    for (size_t i = 0; i < defaults->count; i++) {
        const struct dg_yaml_item *item = &defaults->item[i];
        const struct dg_op *op = dg_op_find(item->key);
        if (!op || !op->in_yaml || item->value->kind != DG_YAML_MAP) {
            const char *near = op && op->in_yaml ? NULL : dg_nearest_name(item->key, op_name, NULL, dg_op_count());
            dg_diag_error(diag_of(f), &item->key_origin,
                          op && op->in_yaml ? "the defaults of %s must be a mapping%s%s%s" : "there is no op %s%s%s%s",
                          item->key, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
            ok = false;
            continue;
        }
        for (size_t k = 0; k < item->value->count; k++) {
            const struct dg_yaml_item *attr = &item->value->item[k];
            int a = 0, count = dg_op_num_attrs(op);
            while (a < count && (op->attrs[a].internal || strcmp(op->attrs[a].name, attr->key))) a++;
            if (a < count || (op->params && !strcmp(attr->key, "init"))) continue;
            const char *near = dg_nearest_name(attr->key, attr_name, op, count);
            dg_diag_error(diag_of(f), &attr->key_origin, "%s has no key %s%s%s%s", op->name, attr->key,
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
            ok = false;
        }
    }
    return ok;
}

static bool all_words(const struct dg_yaml *node, enum dg_yaml_kind kind)
{
    if (node->kind != kind) return false;
    for (size_t i = 0; i < node->count; i++)
        if (node->item[i].value->kind != DG_YAML_SCALAR) return false;
    return true;
}

/* Everything of a module but its nodes; marks its keys as used. */
static bool check_module(struct frame *f)
{
    struct dg_arena *arena = arena_of(f);
    struct dg_diagnostics *diag = diag_of(f);
    struct dg_yaml *map = f->module->map;
    const struct dg_yaml *inputs = dg_yaml_get(arena, map, "inputs"), *outputs = dg_yaml_get(arena, map, "outputs"),
                         *defaults = dg_yaml_get(arena, map, "defaults"), *params = dg_yaml_get(arena, map, "params"),
                         *nodes = dg_yaml_get(arena, map, "nodes");
    int errors = dg_diag_errors(diag);
    bool ok = true;
    dg_yaml_check_used(diag, map, "a module");
    if (inputs && (!all_words(inputs, DG_YAML_LIST) || !inputs->count)) {
        dg_diag_error(diag, &inputs->origin, "`inputs` must be a list of names, as in [x, y]");
        ok = false;
    }
    if (outputs && !all_words(outputs, DG_YAML_MAP)) {
        dg_diag_error(diag, &outputs->origin, "`outputs` must be a mapping of names to values, as in {features: cls}");
        ok = false;
    }
    if (params && params->kind != DG_YAML_MAP) {
        dg_diag_error(diag, &params->origin, "`params` must be a mapping, as in {token: {shape: [1, 1, dim]}}");
        ok = false;
    }
    if (defaults && defaults->kind != DG_YAML_MAP) {
        dg_diag_error(diag, &defaults->origin, "`defaults` must be a mapping, as in {linear: {bias: false}}");
        ok = false;
    } else if (defaults) {
        ok &= check_defaults(f, defaults);
    }
    if (!nodes || nodes->kind != DG_YAML_MAP || !nodes->count) {
        dg_diag_error(diag, nodes ? &nodes->origin : &map->origin, "module %s needs `nodes`, a mapping",
                      f->module->name);
        ok = false;
    }
    return ok && dg_diag_errors(diag) == errors;
}

static struct single elaborate(struct frame *outer, struct dg_application *application, const char *module,
                               struct dg_args *given, const char *path, const dg_value *input, int num_inputs,
                               const struct dg_origin *at)
{
    struct dg_program *program = application->instance->program;
    struct frame *f = dg_arena_alloc(program->arena, sizeof *f);
    *f = (struct frame){.application = application, .outer = outer, .path = path, .use = *at};
    int depth = 0;
    for (struct frame *g = outer; g; g = g->outer) depth++;
    struct dg_definition *base;
    if (depth > MAX_NESTING) {
        dg_diag_error(program->diag, at, "module %s uses itself, or modules are nested more than %d deep", module,
                      MAX_NESTING);
        return poison(f);
    }
    if (outer) {
        if (!dg_program_bind_args(program, module, at, given, &base, &f->scope)) return poison(f);
    } else {
        base = application->instance->module;
        f->scope = application->instance->scope;
    }
    f->module = base;
    if (!check_module(f)) return poison(f);
    struct dg_yaml *inputs = dg_yaml_get(program->arena, base->map, "inputs"),
                   *nodes = dg_yaml_get(program->arena, base->map, "nodes");
    int wants = inputs ? (int)inputs->count : 1;
    if (wants != num_inputs) {
        dg_diag_error(program->diag, at, "module %s takes %d inputs, got %d", base->name, wants, num_inputs);
        return poison(f);
    }
    for (int i = 0; i < num_inputs; i++) {
        const char *name = inputs ? inputs->item[i].value->text : "x";
        struct entry *entry = add_entry(f, name, NULL, 1);
        entry->item[entry->count++] = of_value(input[i]);
    }
    f->previous = of_value(input[0]);
    if (!declare_params(f)) return poison(f);
    elaborate_nodes(f, nodes);
    return (struct single){.frame = f, .poisoned = f->previous.poisoned};
}

/* --- the interface --- */

struct dg_instance *dg_instance_create(struct dg_program *program, struct dg_graph *graph, const char *module,
                                       struct dg_args *given, const struct dg_origin *at, const char *prefix,
                                       bool trainable)
{
    struct dg_instance *instance = dg_arena_alloc(program->arena, sizeof *instance);
    *instance = (struct dg_instance){.program = program, .graph = graph, .prefix = prefix, .trainable = trainable};
    return dg_program_bind_args(program, module, at, given, &instance->module, &instance->scope) ? instance : NULL;
}

struct dg_application *dg_instance_apply(struct dg_instance *instance, const dg_value *input, int num_inputs,
                                         bool train, struct dg_row_range rows, const char *label)
{
    struct dg_application *a = dg_arena_alloc(instance->program->arena, sizeof *a);
    *a =
        (struct dg_application){.instance = instance, .train = train, .rows = rows, .label = label, .source = input[0]};
    struct single made =
        elaborate(NULL, a, instance->module->name, NULL, "", input, num_inputs, &instance->module->map->origin);
    a->root = made.frame;
    return a->failed || !made.frame ? NULL : a;
}

dg_value dg_application_output(const struct dg_application *application, const char *name)
{
    bool found = true;
    struct single s = name ? module_output(application->root, name, NULL, &found) : default_output(application->root);
    return !found || s.poisoned ? DG_NO_VALUE : s.output[0];
}

/* The node that an output names as a whole, if it is a repeated one. */
static const struct entry *repeated_output(const struct dg_application *a, const char *name)
{
    const struct frame *f = a->root;
    struct dg_yaml *outputs = dg_yaml_get(arena_of(f), f->module->map, "outputs");
    const struct dg_yaml *output = dg_yaml_get(arena_of(f), outputs, name);
    for (size_t i = 0; output && output->kind == DG_YAML_SCALAR && i < f->num_entries; i++)
        if (f->entry[i].repeated && !strcmp(f->entry[i].name, output->text)) return &f->entry[i];
    return NULL;
}

int64_t dg_application_repeats(const struct dg_application *application, const char *name)
{
    const struct entry *entry = repeated_output(application, name);
    return entry ? entry->count : 0;
}

dg_value dg_application_repeated(const struct dg_application *application, const char *name, int64_t index)
{
    const struct entry *entry = repeated_output(application, name);
    if (!entry || index < 0 || index >= entry->count) return DG_NO_VALUE;
    struct single s = entry->item[index];
    if (s.frame && !s.poisoned) s = default_output(s.frame);
    return s.poisoned ? DG_NO_VALUE : s.output[0];
}

int dg_instance_num_params(const struct dg_instance *instance) { return (int)instance->num_params; }
dg_value dg_instance_param(const struct dg_instance *instance, int index)
{
    return index < (int)instance->num_params ? instance->param[index] : DG_NO_VALUE;
}

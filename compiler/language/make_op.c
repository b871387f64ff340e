/* An op of a description to a node of the graph: its attributes, its parameters, the node. */
#include "compiler/language/frame.h"

#include <string.h>

enum { MAX_NODES = 100000, MAX_NODE_INPUTS = 64 };

const struct dg_op *dg_yaml_op(const char *name)
{
    const struct dg_op *op = dg_op_find(name);
    return op && op->in_yaml ? op : NULL;
}

const char *dg_yaml_op_name(const void *context, int index)
{
    (void)context;
    const struct dg_op *op = dg_op_at(index);
    return op && op->in_yaml ? op->name : NULL;
}

/* What is known of the node so far. */
struct call {
    union dg_attr attr[DG_MAX_ATTRS];
    dg_value input[MAX_NODE_INPUTS]; /* data inputs, then parameters named by attributes, then the op's own */
    struct dg_desc desc[MAX_NODE_INPUTS];
    int num_inputs;
    struct dg_init init; /* of `init:`; no kind: there is none */
};

/* A key of the node, else of `defaults: {op: ...}` of this module or one around it. */
static struct dg_yaml *attribute(struct dg_frame *f, struct dg_yaml *node, const char *op, const char *key)
{
    struct dg_yaml *found = dg_yaml_get(dg_frame_arena(f), node, key);
    for (struct dg_frame *g = f; !found && g; g = g->outer)
        found = dg_yaml_get(
            dg_frame_arena(f),
            dg_yaml_get(dg_frame_arena(f), dg_yaml_get(dg_frame_arena(f), g->module->map, "defaults"), op), key);
    return found;
}

static bool read_attr(struct dg_frame *f, const struct dg_attr_spec *spec, struct dg_yaml *yaml,
                      const struct dg_scope *scope, union dg_attr *attr)
{
    static const char *const want[] = {"a whole number", "a number", "true or false"};
    struct dg_term value;
    if (!dg_expr_yaml(dg_frame_arena(f), dg_frame_diag(f), yaml, scope, &value)) return false;
    bool ok = spec->type == DG_ATTR_FLOAT ? value.kind <= DG_TERM_FLOAT
                                          : value.kind == (spec->type == DG_ATTR_INT ? DG_TERM_INT : DG_TERM_BOOL);
    if (!ok) {
        char got[64];
        dg_diag_error(dg_frame_diag(f), &yaml->origin, "%s must be %s, got %s", spec->name, want[spec->type],
                      dg_term_text(got, sizeof got, &value));
        return false;
    }
    double number = dg_term_number(&value);
    if (spec->type != DG_ATTR_BOOL && !(number >= spec->min && number <= spec->max)) {
        dg_diag_error(dg_frame_diag(f), &yaml->origin, "%s is %.9g, outside %.9g .. %.9g", spec->name, number,
                      spec->min, spec->max);
        return false;
    }
    if (spec->type == DG_ATTR_FLOAT)
        attr->f = number;
    else
        attr->i = value.i;
    return true;
}

/* Attributes that the compiler sets, not the description. */
static void set_internal(const struct dg_attr_spec *spec, const struct dg_graph_value *input, union dg_attr *attr)
{
    if (spec->grid == DG_ATTR_GRID_HEIGHT) attr->i = input->grid_h;
    if (spec->grid == DG_ATTR_GRID_WIDTH) attr->i = input->grid_w;
}

/* Attributes, the parameters that some of them name, and `init:`. False: reported. */
static bool read_attributes(struct dg_frame *f, const struct dg_op_site *site, struct call *call)
{
    const struct dg_op *op = site->op;
    dg_value data = call->input[DG_DATA];
    const struct dg_graph_value *first = data == DG_NO_VALUE ? NULL : &f->application->instance->graph->value[data];
    bool ok = true;
    for (int a = 0; a < dg_op_num_attrs(op); a++) {
        const struct dg_attr_spec *spec = &op->attrs[a];
        call->attr[a] = spec->value;
        if (spec->internal) {
            if (first) set_internal(spec, first, &call->attr[a]);
            continue;
        }
        struct dg_yaml *yaml = attribute(f, site->yaml, op->name, spec->name);
        if (!yaml && spec->required) {
            dg_diag_error(dg_frame_diag(f), site->origin, "%s needs %s (%s)", op->name, spec->name,
                          spec->doc ? spec->doc : "");
            ok = false;
        } else if (yaml && spec->type == DG_ATTR_PARAM) {
            dg_value param = dg_frame_find_param(f, yaml);
            call->input[call->num_inputs++] = param;
            ok &= param != DG_NO_VALUE;
        } else if (yaml) {
            ok &= read_attr(f, spec, yaml, site->scope, &call->attr[a]);
        }
    }
    struct dg_yaml *init = op->params ? attribute(f, site->yaml, op->name, "init") : NULL;
    if (init) ok &= dg_frame_read_init(f, init, &call->init);
    if (site->yaml->kind == DG_YAML_MAP) dg_yaml_check_used(dg_frame_diag(f), site->yaml, op->name);
    return ok;
}

/* How a parameter begins: as `init:` says, or as the op does. */
static const struct dg_init *choose_init(const struct dg_param_need *need, const struct dg_init *said)
{
    if (!said->kind) return &need->init;
    if (need->init_from_yaml) return said;
    return need->init_if_replaced.kind ? &need->init_if_replaced : &need->init;
}

/* Adds the parameters that the op owns. False: reported, or `err` says what is wrong with the op. */
static bool declare_parameters(struct dg_frame *f, const struct dg_op_site *site, const struct dg_op_call *op_call,
                               struct call *call, struct dg_error *err)
{
    struct dg_param_need need[DG_MAX_PARAMS];
    int count = site->op->params ? site->op->params(op_call, need, err) : 0;
    for (int i = 0; i < count; i++) {
        const char *name = dg_arena_printf(dg_frame_arena(f), "%s.%s", site->param_path, need[i].name);
        uint32_t flags = need[i].buffer ? DG_TENSOR_BUFFER : need[i].trainable ? DG_TENSOR_TRAINABLE : 0;
        dg_value param =
            dg_frame_param(f, name, &need[i].desc, choose_init(&need[i], &call->init), flags, site->origin);
        if (param == DG_NO_VALUE) return false;
        call->input[call->num_inputs++] = param;
    }
    return true;
}

/* Adds the node. False: `err` says why not. */
static bool append(struct dg_frame *f, const struct dg_op_site *site, struct call *call, struct dg_result *result,
                   struct dg_error *err)
{
    struct dg_application *a = f->application;
    struct dg_node_options options = {.train = a->train,
                                      .stream = dg_fnv1a(DG_FNV_BASIS, site->path, strlen(site->path)),
                                      .rows = a->rows,
                                      .application = a->number,
                                      .block = f->block,
                                      .origin = *site->origin};
    options.origin.path = site->path;
    if (++a->nodes > MAX_NODES) dg_fail(err, DG_ERR_INPUT, "more than %d nodes", MAX_NODES);
    const struct dg_op_use use = {site->op, call->attr, call->input, call->num_inputs};
    return err->status == DG_OK && dg_graph_node(a->instance->graph, &use, &options, result->output, err) == DG_OK;
}

/* Is its result a parameter in another shape? Parameters have one, that of `params`. */
static bool views_parameter(const struct dg_graph *graph, const struct dg_op *op, const dg_value *input)
{
    const struct dg_operand *result = op->outputs;
    return dg_is_view(result) && graph->value[input[dg_reused_input(result)]].region == DG_REGION_PARAM;
}

struct dg_result dg_frame_make_op(struct dg_frame *f, const struct dg_op_site *site, const dg_value *input,
                                  int num_inputs)
{
    const struct dg_op *op = site->op;
    const struct dg_graph *graph = f->application->instance->graph;
    bool more;
    int data_inputs = dg_op_data_inputs(op, &more);
    if (num_inputs < data_inputs || (num_inputs > data_inputs && !more)) {
        dg_diag_error(dg_frame_diag(f), site->origin, "%s takes %d inputs, got %d", op->name, data_inputs, num_inputs);
        return dg_frame_poison(f);
    }
    struct call call = {.num_inputs = num_inputs};
    memcpy(call.input, input, (size_t)num_inputs * sizeof *input);
    if (!read_attributes(f, site, &call)) return dg_frame_poison(f);
    for (int i = 0; i < num_inputs; i++) /* what is wrong with them was reported */
        if (input[i] == DG_NO_VALUE) return dg_frame_poison(f);
    if (views_parameter(graph, op, input)) {
        dg_diag_error(dg_frame_diag(f), site->origin,
                      "%s gives a value another shape and takes no parameter: declare it in that shape", op->name);
        return dg_frame_poison(f);
    }

    for (int i = 0; i < call.num_inputs; i++) call.desc[i] = graph->value[call.input[i]].desc;
    struct dg_op_call op_call = {
        .op = op, .attr = call.attr, .num_inputs = call.num_inputs, .input = call.desc, .train = f->application->train};
    if (op->is_identity && op->is_identity(&op_call)) return dg_frame_value(input[DG_DATA]);
    struct dg_error err = {0};
    struct dg_result result = {.op = op};
    if (!declare_parameters(f, site, &op_call, &call, &err)) return dg_frame_poison(f);
    if (append(f, site, &call, &result, &err)) return result;
    dg_diag_error(dg_frame_diag(f), site->origin, "node %s (%s): %s", site->path, op->name, err.text);
    dg_frame_explain(f, site->yaml, err.text);
    return dg_frame_poison(f);
}

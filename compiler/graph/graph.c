#include "compiler/graph/graph.h"

#include <stdlib.h>
#include <string.h>

struct dg_graph *dg_graph_create(struct dg_arena *arena)
{
    struct dg_graph *graph = dg_arena_alloc(arena, sizeof *graph);
    graph->arena = arena;
    graph->slices = 1;
    dg_graph_application(graph, DG_TRAINER, "");
    return graph;
}

struct dg_graph *dg_graph_copy(const struct dg_graph *graph)
{
    struct dg_graph *copy = dg_arena_alloc(graph->arena, sizeof *copy);
    *copy = *graph; /* inputs of nodes and names are shared: passes replace them and do not write to them */
    copy->value_capacity = (size_t)graph->num_values * 5 / 4;
    copy->node_capacity = graph->num_nodes;
    copy->application_capacity = graph->num_applications; /* full: one more moves them */
    copy->value = dg_arena_alloc(graph->arena, (copy->value_capacity + 1) * sizeof *copy->value);
    copy->node = dg_arena_alloc(graph->arena, (copy->node_capacity + 1) * sizeof *copy->node);
    memcpy(copy->value, graph->value, graph->num_values * sizeof *copy->value);
    memcpy(copy->node, graph->node, graph->num_nodes * sizeof *copy->node);
    return copy;
}

static struct dg_graph_value *new_value(struct dg_graph *graph, const char *name, const struct dg_desc *desc)
{
    graph->value =
        dg_arena_grow(graph->arena, graph->value, graph->num_values, &graph->value_capacity, sizeof *graph->value);
    struct dg_graph_value *value = &graph->value[graph->num_values++];
    *value = (struct dg_graph_value){.name = dg_arena_strdup(graph->arena, name),
                                     .desc = *desc,
                                     .producer = DG_PLAN_NONE,
                                     .init_from = DG_PLAN_NONE};
    if (desc->ndim == 4) {
        value->grid_h = desc->dim[1];
        value->grid_w = desc->dim[2];
    }
    return value;
}

dg_value dg_graph_input(struct dg_graph *graph, const char *name, const struct dg_desc *desc)
{
    new_value(graph, name, desc)->region = DG_REGION_INPUT;
    return graph->num_values - 1;
}

dg_value dg_graph_param(struct dg_graph *graph, const char *name, const struct dg_desc *desc, enum dg_region region,
                        uint32_t flags, const struct dg_init *init, struct dg_origin origin)
{
    struct dg_graph_value *value = new_value(graph, name, desc);
    value->region = region;
    value->flags = flags;
    value->init_kind = (uint32_t)init->kind;
    value->init_value = init->value;
    value->origin = origin;
    value->grid_h = value->grid_w = 0; /* a convolution's weight is no image */
    return graph->num_values - 1;
}

dg_value dg_graph_control(struct dg_graph *graph, const char *key)
{
    const dg_value *known = dg_string_map_find(&graph->controls, key);
    if (known) return *known;
    struct dg_desc scalar = dg_desc_scalar(DG_F64);
    dg_value v = dg_graph_input(graph, key, &scalar);
    graph->value[v].control = graph->value[v].name;
    dg_string_map_add(graph->arena, &graph->controls, graph->value[v].name, v);
    return v;
}

static int64_t slices_of(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return node->phase == DG_PHASE_LOOP ? graph->slices : 1;
}

int64_t dg_node_ranks(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return node->op->joins && node->train && graph->coupled > 1 ? graph->coupled : 1;
}

enum dg_status dg_graph_node(struct dg_graph *graph, const struct dg_op_use *use, const struct dg_node_options *options,
                             dg_value *output, struct dg_error *err)
{
    const struct dg_op *op = use->op;
    const dg_value *input = use->input;
    int num_inputs = use->num_inputs;
    struct dg_graph_node node = {.op = op,
                                 .num_inputs = num_inputs,
                                 .num_outputs = dg_op_num_outputs(op),
                                 .train = options->train,
                                 .role = options->role,
                                 .application = options->application,
                                 .block = options->block,
                                 .forward_of = options->forward_of ? options->forward_of : graph->num_forward + 1,
                                 .phase = graph->phase,
                                 .stream = options->stream,
                                 .rows = options->rows,
                                 .origin = options->origin};
    for (int a = 0, n = dg_op_num_attrs(op); a < n; a++) node.attr[a] = use->attr ? use->attr[a] : op->attrs[a].value;

    struct dg_desc *desc = dg_arena_alloc(graph->arena, ((size_t)num_inputs + 1) * sizeof *desc);
    for (int i = 0; i < num_inputs; i++)
        desc[i] = input[i] == DG_NO_VALUE ? DG_ABSENT_DESC : graph->value[input[i]].desc;
    struct dg_desc made[DG_MAX_OUTPUTS] = {{0}};
    struct dg_op_call call = {.op = op,
                              .attr = node.attr,
                              .num_inputs = num_inputs,
                              .input = desc,
                              .train = options->train,
                              .slices = slices_of(graph, &node),
                              .ranks = dg_node_ranks(graph, &node)};
    DG_TRY(dg_op_infer(&call, made, err));
    for (int o = 0; o < node.num_outputs; o++)
        if (!dg_desc_valid(&made[o]))
            return dg_fail(err, DG_ERR_INPUT, "output %s would be too large or empty", op->outputs[o].name);

    if (node.num_inputs < dg_op_num_inputs(op)) node.num_inputs = dg_op_num_inputs(op);
    node.input = dg_arena_alloc(graph->arena, ((size_t)node.num_inputs + 1) * sizeof *node.input);
    for (int i = 0; i < node.num_inputs; i++) node.input[i] = i < num_inputs ? input[i] : DG_NO_VALUE;
    for (int o = 0; o < node.num_outputs; o++) {
        const char *path = options->origin.path ? options->origin.path : op->name;
        const char *name = o ? dg_arena_printf(graph->arena, "%s.%s", path, op->outputs[o].name) : path;
        struct dg_graph_value *value = new_value(graph, name, &made[o]);
        value->region = DG_REGION_STEP;
        value->producer = graph->num_nodes;
        value->output = (uint32_t)o;
        value->origin = options->origin;
        if (made[o].ndim != 4 && num_inputs && input[DG_DATA] != DG_NO_VALUE) {
            value->grid_h = graph->value[input[DG_DATA]].grid_h;
            value->grid_w = graph->value[input[DG_DATA]].grid_w;
        }
        node.output[o] = output[o] = graph->num_values - 1;
    }
    if (!options->forward_of) graph->num_forward++;
    dg_graph_append(graph, &node);
    return DG_OK;
}

dg_value dg_node_row_map(const struct dg_graph_node *node)
{
    int i = dg_op_row_map(node->op);
    return i < 0 ? DG_NO_VALUE : node->input[i];
}

void dg_graph_append(struct dg_graph *graph, const struct dg_graph_node *node)
{
    graph->node =
        dg_arena_grow(graph->arena, graph->node, graph->num_nodes, &graph->node_capacity, sizeof *graph->node);
    for (int o = 0; o < node->num_outputs; o++) graph->value[node->output[o]].producer = graph->num_nodes;
    graph->node[graph->num_nodes++] = *node;
}

struct dg_op_call dg_graph_call(struct dg_graph *graph, const struct dg_graph_node *node, const uint32_t *reads)
{
    struct dg_desc *input = dg_arena_alloc(graph->arena, ((size_t)node->num_inputs + 1) * sizeof *input);
    struct dg_desc *output = dg_arena_alloc(graph->arena, ((size_t)node->num_outputs + 1) * sizeof *output);
    bool *wanted = dg_arena_alloc(graph->arena, ((size_t)node->num_outputs + 1) * sizeof *wanted);
    for (int i = 0; i < node->num_inputs; i++)
        input[i] = node->input[i] == DG_NO_VALUE ? DG_ABSENT_DESC : graph->value[node->input[i]].desc;
    for (int o = 0; o < node->num_outputs; o++) {
        output[o] = graph->value[node->output[o]].desc;
        wanted[o] = !reads || reads[node->output[o]] > 0 || !dg_is_optional_output(&node->op->outputs[o]);
    }
    return (struct dg_op_call){.op = node->op,
                               .attr = node->attr,
                               .num_inputs = node->num_inputs,
                               .input = input,
                               .num_outputs = node->num_outputs,
                               .output = output,
                               .output_wanted = wanted,
                               .train = node->train,
                               .slices = slices_of(graph, node),
                               .ranks = dg_node_ranks(graph, node)};
}

uint32_t dg_graph_application(struct dg_graph *graph, enum dg_network network, const char *label)
{
    graph->application = dg_arena_grow(graph->arena, graph->application, graph->num_applications,
                                       &graph->application_capacity, sizeof *graph->application);
    graph->application[graph->num_applications] = (struct dg_graph_application){.network = network, .label = label};
    return graph->num_applications++;
}

uint32_t dg_graph_trainer(struct dg_graph *graph, const char *label)
{
    for (uint32_t a = 0; a < graph->num_applications; a++)
        if (graph->application[a].network == DG_TRAINER && !strcmp(graph->application[a].label, label)) return a;
    return dg_graph_application(graph, DG_TRAINER, label);
}

const char *dg_node_label(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return graph->application[node->application].label;
}

static const char *title(const struct dg_graph *graph, enum dg_node_role role, const char *name)
{
    const char *prefix = role == DG_ROLE_BACKWARD ? "d:" : role == DG_ROLE_RECOMPUTED ? "again:" : NULL;
    return prefix ? dg_arena_printf(graph->arena, "%s%s", prefix, name) : name;
}

const char *dg_node_title(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return title(graph, node->role, node->origin.path ? node->origin.path : "");
}

const char *dg_value_title(const struct dg_graph *graph, dg_value value)
{
    const struct dg_graph_value *v = &graph->value[value];
    return v->producer == DG_PLAN_NONE ? v->name : title(graph, graph->node[v->producer].role, v->name);
}

bool dg_graph_made_before(const struct dg_graph *graph, dg_value value, uint32_t n)
{
    uint32_t producer = value == DG_NO_VALUE ? DG_PLAN_NONE : graph->value[value].producer;
    return producer == DG_PLAN_NONE || producer < n;
}

dg_value dg_graph_value_like(struct dg_graph *graph, dg_value like)
{
    graph->value =
        dg_arena_grow(graph->arena, graph->value, graph->num_values, &graph->value_capacity, sizeof *graph->value);
    graph->value[graph->num_values] = graph->value[like];
    return graph->num_values++;
}

void dg_graph_drop(struct dg_graph *graph, const bool *gone)
{
    uint32_t to = 0;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        if (gone[n]) continue;
        for (int o = 0; o < graph->node[n].num_outputs; o++) graph->value[graph->node[n].output[o]].producer = to;
        graph->node[to++] = graph->node[n];
    }
    graph->num_nodes = to;
}

void dg_graph_loop(const struct dg_graph *graph, uint32_t *first, uint32_t *count)
{
    *first = *count = 0;
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        if (graph->node[n].phase == DG_PHASE_LOOP && !(*count)++) *first = n;
}

void dg_graph_sort_phases(struct dg_graph *graph)
{
    struct dg_graph_node *sorted = dg_arena_alloc(graph->arena, ((size_t)graph->num_nodes + 1) * sizeof *sorted);
    uint32_t to = 0;
    for (int phase = DG_PHASE_BEFORE; phase <= DG_PHASE_AFTER; phase++)
        for (uint32_t n = 0; n < graph->num_nodes; n++)
            if (graph->node[n].phase == (enum dg_phase)phase) sorted[to++] = graph->node[n];
    memcpy(graph->node, sorted, graph->num_nodes * sizeof *sorted);
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int o = 0; o < graph->node[n].num_outputs; o++) graph->value[graph->node[n].output[o]].producer = n;
}

uint32_t *dg_graph_reads(struct dg_graph *graph, const dg_value *keep, int num_keep)
{
    uint32_t *reads = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *reads);
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++)
            if (graph->node[n].input[i] != DG_NO_VALUE) reads[graph->node[n].input[i]]++;
    for (int k = 0; k < num_keep; k++) reads[keep[k]]++;
    return reads;
}

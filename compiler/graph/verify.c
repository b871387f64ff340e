#include "compiler/graph/verify.h"

static enum dg_status broken(const struct dg_graph_node *node, const char *what, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INTERNAL, "internal: graph: node %s (%s): %s; please report this",
                   node->origin.path ? node->origin.path : "?", node->op->name, what);
}

static enum dg_status check_input(const struct dg_graph *graph, uint32_t n, int i, struct dg_error *err)
{
    const struct dg_graph_node *node = &graph->node[n];
    dg_value v = node->input[i];
    if (v == DG_NO_VALUE) return DG_OK;
    if (v >= graph->num_values) return broken(node, "reads a value that does not exist", err);
    const struct dg_graph_value *value = &graph->value[v];
    if (value->producer != DG_PLAN_NONE && value->producer >= n)
        return broken(node, "reads a value before it is made", err);
    if (value->producer == DG_PLAN_NONE && value->region == DG_REGION_STEP)
        return broken(node, "reads a value that nothing makes", err);
    bool lasting = value->region == DG_REGION_PARAM || value->region == DG_REGION_STATE;
    if (dg_op_input_has(node->op, node->num_inputs, i, DG_UPDATED) && !lasting)
        return broken(node, "writes to a value that does not outlive the step", err);
    return DG_OK;
}

static enum dg_status check_outputs(const struct dg_graph *graph, uint32_t n, struct dg_error *err)
{
    const struct dg_graph_node *node = &graph->node[n];
    for (int o = 0; o < node->num_outputs; o++) {
        dg_value v = node->output[o];
        if (v >= graph->num_values) return broken(node, "makes a value that does not exist", err);
        const struct dg_graph_value *value = &graph->value[v];
        if (value->producer == n && value->output == (uint32_t)o) continue;
        return broken(node, "output and producer disagree", err);
    }
    return DG_OK;
}

/* Asks the op to infer its outputs from the inputs as they are now. */
static enum dg_status check_shapes(struct dg_graph *graph, const struct dg_graph_node *node, struct dg_error *err)
{
    struct dg_op_call call = dg_graph_call(graph, node, NULL);
    call.bf16 = true; /* types may be final already */
    struct dg_desc inferred[DG_MAX_OUTPUTS] = {{0}};
    struct dg_error why = {0};
    if (dg_op_infer(&call, inferred, &why) != DG_OK) return broken(node, why.text, err);
    for (int o = 0; o < node->num_outputs; o++)
        if (!dg_op_stores(&call, o, &inferred[o], &graph->value[node->output[o]].desc))
            return broken(node, "an output's shape is not the one that its op infers", err);
    return DG_OK;
}

enum dg_status dg_graph_verify(struct dg_graph *graph, uint32_t first, struct dg_error *err)
{
    bool committing = false;
    struct dg_arena_mark mark = dg_arena_mark(graph->arena);
    enum dg_status status = DG_OK;
    for (uint32_t n = first; n < graph->num_nodes && status == DG_OK; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        bool commits = node->role == DG_ROLE_COMMIT;
        if (node->application >= graph->num_applications ||
            node->block > graph->application[node->application].num_blocks)
            return broken(node, "is of an application or a block that does not exist", err);
        if (!node->forward_of || node->forward_of > graph->num_forward)
            return broken(node, "belongs to a forward node that does not exist", err);
        if (n > first && node->phase < graph->node[n - 1].phase) return broken(node, "comes after a later phase", err);
        if (node->phase == DG_PHASE_LOOP && (graph->slices < 2 || commits))
            return broken(node, "runs for each slice where there are none", err);
        if (committing && !commits) return broken(node, "comes after the commit began", err);
        committing = commits;
        if (dg_op_any_has(node->op, DG_UPDATED) && !commits) return broken(node, "writes outside the commit", err);
        for (int i = 0; i < node->num_inputs && status == DG_OK; i++) status = check_input(graph, n, i, err);
        if (status == DG_OK) status = check_outputs(graph, n, err);
        if (status == DG_OK) status = check_shapes(graph, node, err);
    }
    dg_arena_release(graph->arena, mark);
    return status;
}

#include "compiler/graph/verify.h"

static enum dg_status broken(const struct dg_graph_node *node, const char *what, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INTERNAL, "internal: graph: node %s (%s): %s; please report this",
                   node->origin.path ? node->origin.path : "?", node->op->name, what);
}

enum dg_status dg_graph_verify(struct dg_graph *graph, struct dg_error *err)
{
    bool committing = false;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (n && node->phase < graph->node[n - 1].phase) return broken(node, "comes after a later phase", err);
        if (node->phase == DG_PHASE_LOOP && (graph->slices < 2 || node->commit))
            return broken(node, "runs for each slice where there are none", err);
        if (committing && !node->commit) return broken(node, "comes after the commit began", err);
        committing = node->commit;
        if (node->op->writes && !node->commit) return broken(node, "writes outside the commit", err);
        for (int i = 0; i < node->num_inputs; i++) {
            dg_value v = node->input[i];
            if (v == DG_NO_VALUE) continue;
            if (v >= graph->num_values) return broken(node, "reads a value that does not exist", err);
            uint32_t producer = graph->value[v].producer;
            if (producer != DG_PLAN_NONE && producer >= n) return broken(node, "reads a value before it is made", err);
            if (producer == DG_PLAN_NONE && graph->value[v].region == DG_REGION_STEP)
                return broken(node, "reads a value that nothing makes", err);
            bool lasting = graph->value[v].region == DG_REGION_PARAM || graph->value[v].region == DG_REGION_STATE;
            if (i < 64 && node->op->writes >> i & 1 && !lasting)
                return broken(node, "writes to a value that does not outlive the step", err);
        }
        for (int o = 0; o < node->num_outputs; o++) {
            dg_value v = node->output[o];
            if (v >= graph->num_values || graph->value[v].producer != n || graph->value[v].output != (uint32_t)o)
                return broken(node, "output and producer disagree", err);
        }
    }
    return DG_OK;
}

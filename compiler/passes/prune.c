/* Drops nodes whose results nothing reads: unread outputs of the backbone, gradients of inputs. */
#include "compiler/passes/pass.h"

bool dg_prune(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    bool *read = dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1);
    bool *gone = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    for (int k = 0; k < c->num_keep; k++) read[c->keep[k]] = true;
    for (uint32_t n = graph->num_nodes; n-- > 0;) {
        const struct dg_graph_node *node = &graph->node[n];
        gone[n] = node->role != DG_ROLE_COMMIT;
        for (int o = 0; o < node->num_outputs; o++) gone[n] &= !read[node->output[o]];
        for (int o = 0; gone[n] && o < node->num_outputs; o++) graph->value[node->output[o]].producer = DG_PLAN_NONE;
        if (gone[n]) continue;
        for (int i = 0; i < node->num_inputs; i++)
            if (node->input[i] != DG_NO_VALUE) read[node->input[i]] = true;
    }
    dg_graph_drop(graph, gone);
    return true;
}

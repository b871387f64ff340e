#include "compiler/graph/cost.h"

/* Of the images that a node could run on, those that it does on average. */
static double kept_share(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return node->kept ? 1 - graph->node[graph->value[node->input[node->num_inputs - 1]].producer].attr[0].f : 1;
}

double dg_graph_bytes(const struct dg_graph *graph, const struct dg_graph_node *node, int i)
{
    int o = i - node->num_inputs;
    dg_value v = o < 0 ? node->input[i] : node->output[o];
    if (v == DG_NO_VALUE) return 0;
    double bytes = (double)dg_desc_bytes(&graph->value[v].desc);
    bool compact =
        o < 0 ? dg_op_input_has(node->op, node->num_inputs, i, DG_COMPACT) : node->op->outputs[o].flags & DG_COMPACT;
    return node->kept && compact ? bytes * kept_share(graph, node) : bytes;
}

struct dg_cost dg_graph_cost(struct dg_graph *graph, const struct dg_graph_node *node)
{
    struct dg_cost none = {0};
    if (!node->op->cost) return none;
    struct dg_op_call call = dg_graph_call(graph, node, NULL);
    struct dg_cost cost = node->op->cost(&call);
    double times = (double)dg_slices(&call) * kept_share(graph, node);
    return (struct dg_cost){cost.flops * times, cost.useful * times};
}

#include "compiler/graph/cost.h"

/* The share of the images that survive on average: 1 minus the rate of the op that draws the row map. */
static double survivors_share(const struct dg_graph *graph, dg_value rows)
{
    if (rows == DG_NO_VALUE) return 1;
    const struct dg_graph_node *draw = &graph->node[graph->value[rows].producer];
    return 1 - draw->attr[dg_op_attr(draw->op, "rate")].f;
}

double dg_graph_bytes(const struct dg_graph *graph, const struct dg_graph_node *node, int i)
{
    int o = i - node->num_inputs;
    dg_value v = o < 0 ? node->input[i] : node->output[o];
    if (v == DG_NO_VALUE) return 0;
    double bytes = (double)dg_desc_bytes(&graph->value[v].desc);
    const struct dg_operand *operand = o < 0 ? dg_op_input(node->op, node->num_inputs, i) : &node->op->outputs[o];
    int map = dg_operand_row_map(node->op, operand);
    return map < 0 ? bytes : bytes * survivors_share(graph, node->input[map]);
}

struct dg_cost dg_graph_cost(struct dg_graph *graph, const struct dg_graph_node *node)
{
    struct dg_cost none = {0};
    if (!node->op->cost) return none;
    struct dg_op_call call = dg_graph_call(graph, node, NULL);
    struct dg_cost cost = node->op->cost(&call);
    double times = (double)dg_slices(&call) * survivors_share(graph, dg_node_row_map(node));
    return (struct dg_cost){cost.flops * times, cost.useful * times};
}

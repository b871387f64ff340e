/* What a node costs: FLOPs, and bytes read and written. */
#ifndef DG_COMPILER_GRAPH_COST_H
#define DG_COMPILER_GRAPH_COST_H

#include "compiler/graph/graph.h"

/* What a run of the node costs in a step: in all slices, and of the images that survive drop path on average. */
struct dg_cost dg_graph_cost(struct dg_graph *graph, const struct dg_graph_node *node);
/* The bytes that one run of it reads of input i, or writes to output i - num_inputs, likewise. */
double dg_graph_bytes(const struct dg_graph *graph, const struct dg_graph_node *node, int i);

#endif

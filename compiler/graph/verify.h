/* Whether a graph is one that can be run. */
#ifndef DG_COMPILER_GRAPH_VERIFY_H
#define DG_COMPILER_GRAPH_VERIFY_H

#include "compiler/graph/graph.h"

/* Checks nodes [first, num_nodes): values exist and have one producer, inputs are made before they are read, outputs have the
 * shapes that the ops infer, commit nodes come last and alone write what outlives the step, phases are in order. DG_ERR_INTERNAL:
 * err names the first node that is wrong. */
enum dg_status dg_graph_verify(struct dg_graph *graph, uint32_t first, struct dg_error *err);

#endif

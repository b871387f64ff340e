/* Whether a graph is one that can be run. */
#ifndef DG_COMPILER_GRAPH_VERIFY_H
#define DG_COMPILER_GRAPH_VERIFY_H

#include "compiler/graph/graph.h"

/* Internal consistency: ids in range, producers match, inputs made before use, shapes as inferred, commits last, phases
 * in order. */
enum dg_status dg_graph_verify(struct dg_graph *graph, struct dg_error *err);

#endif

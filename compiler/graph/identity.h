/* What a graph computes, as a number. */
#ifndef DG_COMPILER_GRAPH_IDENTITY_H
#define DG_COMPILER_GRAPH_IDENTITY_H

#include "compiler/graph/graph.h"

/* A hash of how `output` comes about: operations, attributes, names of parameters, and which result goes where. Sizes of tensors,
 * places in descriptions, and nodes that `output` does not need do not count; neither do attributes that matter in training alone,
 * where `train` is false. To be called before passes rewrite the graph. */
uint64_t dg_graph_identity(const struct dg_graph *graph, dg_value output, bool train);

#endif

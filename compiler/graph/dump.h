/* A graph as text, for people and tests. The form is stable: the same graph gives the same text. */
#ifndef DG_COMPILER_GRAPH_DUMP_H
#define DG_COMPILER_GRAPH_DUMP_H

#include "compiler/base/text.h"
#include "compiler/graph/graph.h"

/* Is the node's path, or the name of an output, `path` or below it ("blocks.3" has "blocks.3.attn")? Outputs count too, since of
 * nodes that were fused one is left. */
bool dg_node_is_below(const struct dg_graph *graph, const struct dg_graph_node *node, const char *path);

/* Adds nodes [first, num_nodes) in order, one a line, under a line for each application; with `path`, only those below it,
 * or a line that there are none.
 *
 *   student.backbone(global)
 *     %41 f32 [4, 17, 32] = layer_norm(%38, student.backbone.norm.weight, student.backbone.norm.bias) eps=1e-06 | norm
 *
 * Values of the step are numbered, all others named; "-" is an absent input, or an optional output that neither a node nor
 * `keep` reads. */
void dg_graph_dump(struct dg_text *text, struct dg_graph *graph, uint32_t first, const dg_value *keep, int num_keep,
                   const char *path);

#endif

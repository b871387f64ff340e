/* When each value of a graph is in use, and which values share bytes: the input of memory planning. */
#ifndef DG_COMPILER_PLAN_LIFETIMES_H
#define DG_COMPILER_PLAN_LIFETIMES_H

#include "compiler/graph/graph.h"
#include "compiler/plan/pack.h"

/* What memory planning knows of a value. */
struct dg_life {
    uint32_t root;        /* the value whose bytes it shares */
    uint32_t first, last; /* of a root: first to last op that touches any value sharing it */
    uint32_t reads;
    uint64_t bytes, offset;
    bool output;
};

/* An output that nobody reads and that its op need not compute. */
bool dg_output_absent(const struct dg_graph_node *node, int o, const struct dg_life *life);

/* Fills `life` and `used` (num_values each, zeroed) for a graph that is complete; values in `output` live to its end. A value
 * that is made before a loop over slices and read in it lives to the loop's end; a sum over slices stays in its bytes.
 * DG_ERR_INTERNAL: a loop for which that is not so. */
enum dg_status dg_lifetimes(struct dg_graph *graph, const dg_value *output, int num_outputs, struct dg_life *life,
                            bool *used, struct dg_error *err);

/* The roots that the planner has to place: step values in use. Returns their number; `value` receives which they are. Both
 * have room for num_values. */
uint32_t dg_live_intervals(const struct dg_graph *graph, const struct dg_life *life, const bool *used,
                           struct dg_interval *interval, dg_value *value);

#endif

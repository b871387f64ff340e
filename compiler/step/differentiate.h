/* Reverse mode: the backward nodes of one application, by the ops' own gradient rules. */
#ifndef DG_COMPILER_STEP_DIFFERENTIATE_H
#define DG_COMPILER_STEP_DIFFERENTIATE_H

#include "compiler/base/diag.h"
#include "compiler/graph/graph.h"

/* Gradients of parameters collected over several backward passes, by value. */
struct dg_gradients {
    dg_value *of; /* DG_NO_VALUE where none has arrived; dg_gradients_of() reads it */
    uint32_t size;
};
/* DG_NO_VALUE: none has arrived. */
dg_value dg_gradients_of(const struct dg_gradients *gradients, dg_value value);

/* Appends the backward of nodes [first, num_nodes at call) to the graph. `loss` is the value to differentiate: a scalar whose
 * gradient is one, which the loss op's rule knows (it gets the loss itself in that place). Gradients of trainable parameters are
 * added to what `gradients` holds, in plan order; in a loop over slices, to the sum so far. A rule that is missing is an error at
 * the node's YAML line. False: errors are in diag. */
bool dg_differentiate(struct dg_graph *graph, struct dg_diagnostics *diag, uint32_t first, dg_value loss,
                      struct dg_gradients *gradients);

/* Where a sum over the slices of the batch begins: zeros shaped as `like`, made before the loop. */
dg_value dg_sum_over_slices(struct dg_graph *graph, dg_value like, const char *name);

#endif

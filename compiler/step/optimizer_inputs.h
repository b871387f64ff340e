/* What an optimiser's node reads. */
#ifndef DG_COMPILER_STEP_OPTIMIZER_INPUTS_H
#define DG_COMPILER_STEP_OPTIMIZER_INPUTS_H

#include "compiler/graph/graph.h"

enum { DG_MAX_STEP_INPUTS = 24 };

/* Fills `input` for the optimiser `op` on one parameter, as the op lists its inputs (struct dg_step_input); its state is made.
 * `teacher`: DG_NO_VALUE where there is none. Returns their number. */
int dg_step_inputs(struct dg_graph *graph, const struct dg_op *op, dg_value param, dg_value gradient, dg_value norms,
                   dg_value teacher, bool freezes, dg_value input[DG_MAX_STEP_INPUTS]);

#endif

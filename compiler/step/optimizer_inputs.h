/* What an optimiser's node reads. */
#ifndef DG_COMPILER_STEP_OPTIMIZER_INPUTS_H
#define DG_COMPILER_STEP_OPTIMIZER_INPUTS_H

#include "compiler/graph/graph.h"

enum { DG_MAX_STEP_INPUTS = 24 };

/* One parameter that is trained. */
struct dg_step_values {
    dg_value param, gradient;
    dg_value norms;     /* of all gradients */
    dg_value teacher;   /* its average; DG_NO_VALUE: none */
    dg_value rate;      /* its learning rate; DG_NO_VALUE: the recipe's */
    const char *freeze; /* the schedule that freezes it at first; NULL: none */
};

/* Fills `input` for the optimiser `op` on one parameter, as the op lists its inputs (struct dg_step_input), and adds the
 * parameter's state to the graph. Returns their number. */
int dg_step_inputs(struct dg_graph *graph, const struct dg_op *op, const struct dg_step_values *values,
                   dg_value input[DG_MAX_STEP_INPUTS]);

#endif

/* What the gradient rule of an op asks the compiler for, recorded: for losses, whose rules name other values than a case of
 * op_harness.h has. */
#ifndef DG_TESTS_GRADIENT_RULE_H
#define DG_TESTS_GRADIENT_RULE_H

#include "ops/op.h"

/* The first of the values of each kind: the call's inputs and outputs, the gradient of its first output (the others have none), the
 * gradients of its inputs so far, and the outputs of the node that the rule adds. */
enum { RULE_INPUT = 10, RULE_OUTPUT = 30, RULE_DIFF_OUTPUT = 40, RULE_SO_FAR = 50, RULE_ADDED = 70 };
enum { RULE_MAX_INPUTS = 16 };

struct gradient_rule {
    const struct dg_op *op; /* of the one node that the rule adds, with what it reads */
    const union dg_attr *attr;
    int num_inputs;
    dg_value input[RULE_MAX_INPUTS];
    dg_value gradient[RULE_MAX_INPUTS]; /* by input of the call: what the rule adds, or sets it to; 0: nothing */
};

/* Runs the rule of call->op. `wants` is by input. Fails the test if the rule fails or adds a second node. */
struct gradient_rule run_gradient_rule(const struct dg_op_call *call, const bool *wants);

#endif

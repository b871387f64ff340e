/* What a gradient rule and a commit rule see, and what they can do. */
#ifndef DG_OPS_OP_GRAD_H
#define DG_OPS_OP_GRAD_H

#include "ops/op_call.h"

typedef uint32_t dg_value; /* a value of the compiler's graph */
#define DG_NO_VALUE UINT32_MAX

/* The compiler implements it. A rule runs once for a forward node, after the gradients of all its outputs are known, and must
 * serve every input i with wants[i]. */
struct dg_grad_builder {
    const struct dg_op_call *call;
    const dg_value *input, *output;
    const dg_value *diff_output; /* DG_NO_VALUE where no gradient flows into that output */
    const bool *wants;           /* per input: does it lead to something trainable */
    void *compiler;
    /* Adds a node. `attr` has the op's attributes in its order (NULL: defaults); inputs may hold DG_NO_VALUE at optional slots.
     * `output` receives as many values as the op has outputs. */
    enum dg_status (*emit)(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output);
    /* The gradient of input i collected so far, or DG_NO_VALUE. A rule whose kernel can add to it passes it to its op's
     * accumulator input and then calls set_gradient; other rules call add_gradient. */
    dg_value (*gradient_so_far)(struct dg_grad_builder *b, int i);
    void (*set_gradient)(struct dg_grad_builder *b, int i, dg_value gradient); /* replaces the gradient so far */
    /* Adds to the gradient so far, by an `add` node if need be. */
    enum dg_status (*add_gradient)(struct dg_grad_builder *b, int i, dg_value gradient);
    struct dg_error *err;
};

/* The explicit "no gradient": asking for one is a compile error that names the op and the YAML line. */
enum dg_status dg_no_gradient(struct dg_grad_builder *b);
/* The gradient is zero or deliberately stopped: serves no input. */
enum dg_status dg_stop_gradient(struct dg_grad_builder *b);

/* A node that computes output 0 of another node once more, later in the same step. It starts as an exact copy; an op's
 * `recompute` may make it cheaper, since the other outputs of the first node are still there. */
struct dg_recompute {
    bool train;
    dg_value *input;
    int num_inputs;
    const dg_value *output; /* of the first node */
};

#endif

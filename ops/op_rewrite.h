/* Fusion, as the compiler offers it to ops. */
#ifndef DG_OPS_OP_REWRITE_H
#define DG_OPS_OP_REWRITE_H

#include "ops/op_grad.h"

/* A node and the first that reads its output 0, for the node's op to make what the reader makes while it has its own result
 * at hand. Two ways: `absorb` makes the reader's result in place of its own, which nobody else reads; `join` makes both. */
struct dg_fusion {
    const struct dg_op *op; /* of the node; to be changed where another op makes both */
    bool train;             /* mode of both */
    bool constant_params;   /* in an evaluation entry */
    union dg_attr *attr;    /* of the node; to be changed */
    dg_value *input;        /* of the node; has room for the reader's inputs behind */
    int num_inputs;         /* to be raised when inputs are added */
    dg_value made;          /* by the node, read by the next */
    const struct dg_op *next;
    const union dg_attr *next_attr;
    dg_value *next_input; /* `join` may make some DG_NO_VALUE, which the reader then need not read */
    int next_num_inputs;
    uint32_t next_wanted; /* bit o: somebody reads the reader's output o */
    uint32_t takes;       /* out, `join`: bit o: the node now makes that output, behind its own */
    /* Which images are kept, where these are run with that, else DG_NO_VALUE; behind the inputs counted here. `join` makes them
     * DG_NO_VALUE where the op takes them as inputs. */
    dg_value kept, next_kept;
};

#endif

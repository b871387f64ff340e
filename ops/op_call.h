/* One application of an op: its attributes, shapes and mode, as the facets of the op see it. */
#ifndef DG_OPS_OP_CALL_H
#define DG_OPS_OP_CALL_H

#include "ops/base/tensor.h"

struct dg_op;

enum {
    DG_MAX_ATTRS = 12,
    DG_MAX_OUTPUTS = 6, /* visible and saved */
    DG_MAX_PARAMS = 6,  /* parameters and buffers of one op */
};

union dg_attr {
    int64_t i; /* INT, BOOL */
    double f;  /* FLOAT */
};

/* How products of f32 operands are computed in a plan in f32: as they are, or as three or six products of bf16 parts whose sums
 * are f32 (ops/dense/parts.h). Linear layers go by it, forward and backward; other products stay f32. */
enum dg_math { DG_MATH_F32, DG_MATH_BF16X3, DG_MATH_BF16X6, DG_MATHS };

struct dg_op_call {
    const struct dg_op *op;
    const union dg_attr *attr;    /* in the order of the op's attributes */
    int num_inputs;               /* those of the op's table */
    const struct dg_desc *input;  /* an optional input that is absent has ndim -1 */
    int num_outputs;              /* those of the op's table */
    const struct dg_desc *output; /* valid after infer */
    const bool *output_wanted; /* false: nothing reads the output and run gets NULL; only optional and saved outputs */
    bool train;                /* mode of the application */
    int64_t slices;            /* how often a step runs the op, each time on the next slice of the batch; 0 or 1: once,
                                     on all of the batch */
    int64_t ranks;             /* processes of which the op sees the rows together (struct dg_op, joins); 0 or 1:
                                     this one's only */
    bool bf16;                 /* the plan is in bf16: matmuls may round their operands, also those stored as f32 */
    enum dg_math math;         /* of the plan; DG_MATH_F32 where it is in bf16 */
};
static inline int64_t dg_slices(const struct dg_op_call *call) { return call->slices > 1 ? call->slices : 1; }
static inline int64_t dg_ranks(const struct dg_op_call *call) { return call->ranks > 1 ? call->ranks : 1; }

/* What one run of an op that sees the rows of all processes exchanges with each other of them (struct dg_peers). */
struct dg_joins {
    int64_t times; /* gathers, one after the other */
    int64_t bytes; /* of all of them, sent to each other process */
};

/* An optional operand that is not there. */
#define DG_ABSENT_DESC ((struct dg_desc){.ndim = -1})
static inline bool dg_absent(const struct dg_desc *desc) { return desc->ndim < 0; }

/* FLOPs of one run; a multiply and an add count as two. `useful` is the part that the share of the peak counts: products of
 * linear layers, convolutions and attention, without what is computed again. Bytes moved are derived from the tensors. */
struct dg_cost {
    double flops, useful;
};
/* FLOPs of the product of each row of `rows` with all of a weight matrix. */
double dg_product_flops(const struct dg_desc *rows, const struct dg_desc *weight);

/* Checks for infer functions; `what` names the operand in the message. */
enum dg_status dg_want_ndim(const struct dg_desc *desc, int ndim, const char *what, struct dg_error *err);
/* At least 2 dimensions: rows of the last one. */
enum dg_status dg_want_rows(const struct dg_desc *desc, const char *what, struct dg_error *err);
enum dg_status dg_want_token(const struct dg_desc *src, int64_t token, struct dg_error *err); /* of dim 1 */
/* An accumulator must be absent or have the shape of the gradient that is added to it. */
enum dg_status dg_want_accumulator(const struct dg_desc *acc, const struct dg_desc *gradient, struct dg_error *err);

#endif

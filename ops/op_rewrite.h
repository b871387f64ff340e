/* Rewrites: one fused op in the place of two ops, a producer and the consumer that reads its output 0.
 *
 * A rewrite belongs to the fused op: it stands in that op's file in ops/fused/, and ops/fused/rewrite_list.h has a line for it.
 * compiler/passes/fuse.c finds the pairs of nodes; a rewrite's `build` looks at a pair and says what the fused node is. */
#ifndef DG_OPS_OP_REWRITE_H
#define DG_OPS_OP_REWRITE_H

#include "ops/op.h"

enum {
    DG_MAX_FUSED_INPUTS = 16,
    DG_MAX_FUSED_OUTPUTS = DG_MAX_OUTPUTS,
};

/* When a rewrite is tried. */
enum dg_rewrite_phase {
    DG_FUSE_FORWARD,    /* among forward nodes, before they are differentiated: the fused op has a gradient rule */
    DG_FUSE_EVALUATION, /* the same, in evaluation entries only, where parameters are constant: weights may be folded */
    DG_FUSE_LATE, /* on the complete graph, last: dtypes are chosen, and nothing is differentiated or recomputed any more */
};

/* A node as a rewrite sees it. */
struct dg_match_node {
    const struct dg_op *op;
    const union dg_attr *attr; /* in the order of the op's attributes */
    const dg_value *input;     /* in the order of the op's operands; DG_NO_VALUE for absent ones */
    int num_inputs;
    const dg_value *output;
    const bool *wanted; /* per output: does anything read it */
    bool train;
};

struct dg_match {
    struct dg_match_node producer, consumer;
    /* Finds the node that makes a value; false where none does. */
    bool (*find_maker)(const struct dg_match *match, dg_value value, struct dg_match_node *maker);
    void *compiler;
};

/* The fused node, to be filled by `build`. It comes with no op, all attributes zero, all inputs and outputs DG_NO_VALUE. */
struct dg_new_node {
    const struct dg_op *op;
    union dg_attr attr[DG_MAX_ATTRS];
    dg_value input[DG_MAX_FUSED_INPUTS];
    dg_value output[DG_MAX_FUSED_OUTPUTS]; /* outputs of the pair that the fused node now makes; each must be set */
};

struct dg_rewrite {
    const char *name;                        /* "add + layer_norm" */
    const struct dg_op *producer, *consumer; /* the consumer reads output 0 of the producer */
    enum dg_rewrite_phase phase;
    /* False: the consumer is the only reader of the producer's output 0, and both nodes go. True: the fused node makes that
     * output too, so others may read it, and the consumer stays if other outputs of it are read. */
    bool keeps_producer_output;
    /* The fused node stands where the consumer stood and belongs to its application; false: where the producer stood. */
    bool at_consumer;
    /* Fills `made`; false: this pair does not fuse. */
    bool (*build)(const struct dg_match *match, struct dg_new_node *made);
};

/* The list. */
int dg_rewrite_count(void);
const struct dg_rewrite *dg_rewrite_at(int index);

/* By name, for `build`: a name that the op does not have is a mistake of the rewrite, and reads as absent. */
union dg_attr dg_attr_of(const struct dg_match_node *node, const char *name);
dg_value dg_input_of(const struct dg_match_node *node, const char *name);
dg_value dg_output_of(const struct dg_match_node *node, const char *name);
bool dg_is_wanted(const struct dg_match_node *node, const char *output);
void dg_set_attr(struct dg_new_node *made, const char *name, union dg_attr value);
void dg_set_input(struct dg_new_node *made, const char *name, dg_value value);
void dg_set_output(struct dg_new_node *made, const char *name, dg_value value);
/* The fused node is the node with other attributes or inputs: copies its op, attributes, inputs and outputs. */
void dg_copy_match(struct dg_new_node *made, const struct dg_match_node *node);

#endif

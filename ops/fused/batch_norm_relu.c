/* A batch norm applies the ReLU behind it. The op is batch_norm itself, which does so when its internal attribute says so; its
 * gradient then looks at dst (ops/norm/batch_norm.c). */
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_batch_norm, dg_op_relu;

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    if (dg_attr_of(&m->producer, "relu").i) return false;
    dg_copy_match(made, &m->producer);
    dg_set_attr(made, "relu", (union dg_attr){.i = true});
    dg_set_output(made, "dst", dg_output_of(&m->consumer, "dst"));
    return true;
}

const struct dg_rewrite dg_fuse_batch_norm_relu = {.name = "batch_norm + relu",
                                                   .producer = &dg_op_batch_norm,
                                                   .consumer = &dg_op_relu,
                                                   .phase = DG_FUSE_FORWARD,
                                                   .build = build};

/* Evaluation: a convolution takes the batch norm behind it into its weights, then a sum with what was made before it, then the
 * ReLU behind that into its result. The op is conv2d itself, which does so when its internal attributes and input say so
 * (ops/dense/conv2d.c). */
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_conv2d, dg_op_batch_norm, dg_op_add, dg_op_relu;

static bool has_addend(const struct dg_match *m) { return dg_input_of(&m->producer, "addend") != DG_NO_VALUE; }

static bool fold_norm(const struct dg_match *m, struct dg_new_node *made)
{
    if (m->producer.train || dg_attr_of(&m->producer, "fold").i || dg_attr_of(&m->producer, "relu").i) return false;
    if (has_addend(m)) return false;
    dg_copy_match(made, &m->producer);
    dg_set_attr(made, "fold", (union dg_attr){.i = true});
    dg_set_attr(made, "eps", dg_attr_of(&m->consumer, "eps"));
    dg_set_attr(made, "relu", dg_attr_of(&m->consumer, "relu"));
    dg_set_input(made, "norm_weight", dg_input_of(&m->consumer, "weight"));
    dg_set_input(made, "norm_bias", dg_input_of(&m->consumer, "bias"));
    dg_set_input(made, "norm_mean", dg_input_of(&m->consumer, "running_mean"));
    dg_set_input(made, "norm_var", dg_input_of(&m->consumer, "running_var"));
    dg_set_input(made, "norm_tracked", dg_input_of(&m->consumer, "num_batches_tracked"));
    dg_set_output(made, "dst", dg_output_of(&m->consumer, "dst"));
    return true;
}

/* The end of a residual block. Where both terms come from convolutions, the later one adds the other's result. */
static bool add_sum(const struct dg_match *m, struct dg_new_node *made)
{
    if (m->producer.train || !dg_attr_of(&m->producer, "fold").i || dg_attr_of(&m->producer, "relu").i) return false;
    if (has_addend(m)) return false;
    dg_value a = dg_input_of(&m->consumer, "a"), b = dg_input_of(&m->consumer, "b");
    dg_copy_match(made, &m->producer);
    dg_set_input(made, "addend", a == dg_output_of(&m->producer, "dst") ? b : a);
    dg_set_output(made, "dst", dg_output_of(&m->consumer, "dst"));
    return true;
}

static bool add_relu(const struct dg_match *m, struct dg_new_node *made)
{
    if (m->producer.train || !dg_attr_of(&m->producer, "fold").i || dg_attr_of(&m->producer, "relu").i) return false;
    dg_copy_match(made, &m->producer);
    dg_set_attr(made, "relu", (union dg_attr){.i = true});
    dg_set_output(made, "dst", dg_output_of(&m->consumer, "dst"));
    return true;
}

const struct dg_rewrite dg_fuse_conv2d_batch_norm = {.name = "conv2d + batch_norm",
                                                     .producer = &dg_op_conv2d,
                                                     .consumer = &dg_op_batch_norm,
                                                     .phase = DG_FUSE_EVALUATION,
                                                     .build = fold_norm};
const struct dg_rewrite dg_fuse_conv2d_add = {.name = "conv2d + add",
                                              .producer = &dg_op_conv2d,
                                              .consumer = &dg_op_add,
                                              .phase = DG_FUSE_EVALUATION,
                                              .build = add_sum};
const struct dg_rewrite dg_fuse_conv2d_relu = {.name = "conv2d + relu",
                                               .producer = &dg_op_conv2d,
                                               .consumer = &dg_op_relu,
                                               .phase = DG_FUSE_EVALUATION,
                                               .build = add_relu};

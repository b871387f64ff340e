/* What train_step.c and commit.c share while they build one training step. */
#ifndef DG_COMPILER_STEP_BUILDER_H
#define DG_COMPILER_STEP_BUILDER_H

#include "compiler/step/differentiate.h"
#include "compiler/step/step.h"

struct dg_step_builder {
    const struct dg_step_request *from;
    const struct dg_train_recipe *recipe; /* that of `from` */
    struct dg_graph *graph;
    struct {
        struct dg_instance *backbone, *head;
    } network[2];                  /* DG_STUDENT, DG_TEACHER */
    struct dg_instance *predictor; /* the student's; NULL: none */
    struct dg_gradients gradients;
    struct dg_step_choice choice;
    int64_t images;                         /* of a slice: the batch, if it is not cut */
    int views;                              /* all crops of an image */
    const struct dg_graph_node *committing; /* whose commit rule runs */
};

/* A node of the trainer itself. It fails only by our own mistake or by a dimension too large; false: reported. */
bool dg_builder_add(struct dg_step_builder *b, const struct dg_op *op, const union dg_attr *attr, const dg_value *input,
                    int num_inputs, const struct dg_node_options *options, dg_value *output);

/* Options of such a node. */
struct dg_node_options dg_builder_options(const struct dg_step_builder *b, const char *path, const char *label,
                                          enum dg_node_role role);

/* What the teacher's side leaves for the student's and for the commit. */
struct dg_step_targets {
    dg_value target;     /* [views of the teacher * batch, out_dim], or of InfoNCE the batch of all processes */
    dg_value entropy;    /* f64 */
    dg_value scalar;     /* a control, of the shape of the loss */
    dg_value center;     /* [1, out_dim] */
    dg_value batch_mean; /* of the teacher's logits, [1, out_dim]; DG_NO_VALUE: no centre follows it */
};

/* targets.c: adds the op of the recipe's `loss.targets` on the teacher's logits, and means over slices. False: reported. */
bool dg_build_targets(struct dg_step_builder *b, dg_value logits, struct dg_step_targets *targets,
                      struct dg_train_step *step);

/* targets.c: adds the op of the recipe's `loss.kind`, which adds to *loss. False: reported. */
bool dg_build_loss(struct dg_step_builder *b, const struct dg_node_options *options, dg_value logits, dg_value target,
                   dg_value *loss, struct dg_train_step *step);

/* layer_rates.c: sets the learning rate of each parameter of the student's backbone, in its order. False: reported. */
bool dg_build_layer_rates(struct dg_step_builder *b, dg_value *rate);

/* commit.c: gradient norms, then the commit nodes. False: reported. */
bool dg_build_commit(struct dg_step_builder *b, dg_value loss, const struct dg_step_targets *targets,
                     struct dg_train_step *step);

#endif

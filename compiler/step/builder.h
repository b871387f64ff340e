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
    } network[2]; /* DG_STUDENT, DG_TEACHER */
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

/* commit.c: gradient norms, then the commit nodes. False: reported. */
bool dg_build_commit(struct dg_step_builder *b, dg_value loss, dg_value center, dg_value batch_mean,
                     struct dg_train_step *step);

#endif

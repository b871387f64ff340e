/* The graphs of training: the DINO step of a recipe, and a probe's features and step. */
#ifndef DG_COMPILER_STEP_STEP_H
#define DG_COMPILER_STEP_STEP_H

#include "compiler/language/elaborate.h"
#include "compiler/language/recipe.h"
#include "compiler/pipeline/pipeline.h"
#include "compiler/plan/entry.h"

/* What a step is made of. */
struct dg_step_request {
    struct dg_program *program;
    struct dg_diagnostics *diag;
    const struct dg_train_recipe *recipe; /* of a training step */
    const struct dg_probe_recipe *probe;  /* of a probe's graphs */
    const struct dg_pipeline *pipeline;
    int64_t ranks; /* processes that share a training step: its slices are a multiple of this; 0, 1: any number */
    bool coupled;  /* ops see the rows of all these processes (struct dg_op, joins): each has one slice */
};

/* What may be chosen about a step and does not change its result, but to rounding. */
struct dg_step_choice {
    int64_t slices;      /* of the batch, equal ones, each with its forward and backward; 0 and 1: all at once */
    bool smallest_first; /* the order of the resolutions, where they do not meet in a batch norm */
    struct dg_recompute_levels recompute;
};

/* The training step: what the plan must name of it, and what forbids to choose. */
struct dg_train_step {
    struct dg_slots slots;
    const struct dg_graph_node *coupling; /* the op of the head that needs all crops at once; NULL: none does */
    const struct dg_graph_node *uncut;    /* the op of the backbone that needs all crops of a resolution at once */
    const char *uncut_in;                 /* "backbone", "loss", "predictor": what `uncut` is a part of */
};

/* train_step.c: adds the recipe's step to an empty graph; application passes have run. False: errors are in diag. */
bool dg_build_train_step(const struct dg_step_request *from, const struct dg_step_choice *choice,
                         struct dg_graph *graph, struct dg_train_step *step);

/* probe.c: adds a probe's features [batch, F] of `images`, which it makes. DG_NO_VALUE: errors are in diag. */
dg_value dg_build_probe_features(const struct dg_step_request *from, struct dg_graph *graph, dg_value *images);

/* probe.c: adds a probe's training step on features [batch, dim] and labels i64 [batch] (-1: the row does not count):
 * linear.weight [classes, dim] from N(0, 0.01), linear.bias [classes] from 0, cross-entropy, SGD. False: errors are in diag. */
bool dg_build_probe_step(const struct dg_step_request *from, int64_t dim, struct dg_graph *graph,
                         struct dg_train_step *step);

#endif

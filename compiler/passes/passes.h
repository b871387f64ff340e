/* The passes, in the order of a compile; each is a plain function in a file of its own.
 *
 *   parse, elaborate, infer   language.h: definitions -> nodes with shapes, one application at a time
 *   train_step.c              recipe -> the whole DINO step: teacher, each resolution's forward, loss and backward, commit
 *   probe.c                   probe -> features of a frozen backbone, and the step of a linear layer on them
 *   take_early.c              of a block whose result is one token, only that token
 *   fuse.c                    a node takes over its only reader, where its op can
 *   differentiate.c           the backward nodes of one application, by the ops' own gradient rules
 *   prune.c                   drops nodes whose results nobody reads
 *   narrow.c                  in a plan in bf16: which values are
 *   recompute.c               what the forward need not keep for the backward is computed again there
 *   skip_dropped.c            a branch that drop path drops is computed for the images that are kept
 *   join.c                    a node also makes what another makes of its result, where its op can
 *   budget.c                  dinoc --memory: slices, order and recomputation, at the least extra time
 *   plan_memory.c, emit.c     order is final: lifetimes, offsets, records, file
 */
#ifndef DG_COMPILER_PASSES_PASSES_H
#define DG_COMPILER_PASSES_PASSES_H

#include "compiler/base/diag.h"
#include "compiler/graph/graph.h"

/* Gradients of parameters collected over several backward passes, by value; DG_NO_VALUE where none has arrived. */
struct dg_gradients {
    dg_value *of; /* num_values at creation and later; dg_gradients_of() */
    uint32_t size;
};
dg_value dg_gradients_of(const struct dg_gradients *gradients, dg_value value);

/* Appends the backward of nodes [first, num_nodes at call) to the graph. `loss` is the value to differentiate: a scalar
 * whose cotangent is one, which the loss op's rule knows (it gets the loss itself in that place). Gradients of trainable
 * parameters are added to what `gradients` holds, in plan order; in a loop over slices, to the sum so far. A rule that is
 * missing is an error at the node's YAML line. False: errors are in diag. */
bool dg_pass_differentiate(struct dg_graph *graph, struct dg_diagnostics *diag, uint32_t first, dg_value loss,
                           struct dg_gradients *gradients);

/* Where a sum over the slices of the batch begins: zeros shaped as `like`, made before the loop. */
dg_value dg_sum_over_slices(struct dg_graph *graph, dg_value like, const char *name);

/* Of nodes from `first` on: where one token is taken of a value, ops make that token alone as far back as they can. Nodes that
 * nobody reads go. Values in `keep` leave the graph; they may become others, of the same shape. Nodes are renumbered. Only
 * forward nodes may be there. False: an internal error is in diag. */
bool dg_pass_take_early(struct dg_graph *graph, struct dg_diagnostics *diag, uint32_t first, dg_value *keep,
                        int num_keep);

/* Fuses nodes from `first` on with their readers, as far as their ops know how. Values in `keep` leave the graph and stay
 * what they are. `constant_params`: of an evaluation entry, where weights may be folded. Nodes are renumbered; output
 * values keep their numbers. */
void dg_pass_fuse(struct dg_graph *graph, uint32_t first, bool constant_params, const dg_value *keep, int num_keep);

/* Inputs of the optimiser `op` for one parameter, as the op lists them; its state is made. `teacher`: DG_NO_VALUE where there
 * is none. Returns their number. */
enum { DG_MAX_STEP_INPUTS = 24 };
int dg_step_inputs(struct dg_graph *graph, const struct dg_op *op, dg_value param, dg_value gradient, dg_value norms,
                   dg_value teacher, bool freezes, dg_value input[DG_MAX_STEP_INPUTS]);

/* The training step of a recipe, as nodes in order of execution, and what the plan entry must name. */
struct dg_train_step {
    dg_value input[2]; /* crops.global, crops.local; of a probe: features, labels */
    int num_inputs;
    dg_value output[3]; /* loss, teacher_entropy, grad_summary; of a probe: loss, logits, grad_summary */
    int num_outputs;
    const struct dg_graph_node *coupling; /* the op of the head that needs all crops at once; NULL: none does */
    const struct dg_graph_node *uncut;    /* the op of the backbone that needs all crops of a resolution at once */
};
/* What may be chosen about a step and does not change its result, but to rounding. */
struct dg_step_form {
    int64_t slices;      /* of the batch, equal ones, each with its forward and backward; 0 and 1: all at once */
    bool smallest_first; /* the order of the resolutions, where they do not meet in a batch norm */
};
struct dg_program;
struct dg_recipe;
bool dg_pass_train_step(struct dg_program *program, struct dg_diagnostics *diag, const struct dg_recipe *recipe,
                        const struct dg_step_form *form, struct dg_graph *graph, struct dg_train_step *step);

/* A probe's features [features_batch, F] of `images`, which it makes; to be fused and pruned. DG_NO_VALUE: errors are in diag. */
dg_value dg_pass_probe_features(struct dg_program *program, struct dg_diagnostics *diag, const struct dg_recipe *probe,
                                struct dg_graph *graph, dg_value *images);
/* A probe's training step on features [batch, dim] and labels i64 [batch] (-1: the row does not count): linear.weight
 * [classes, dim] from N(0, 0.01), linear.bias [classes] from 0, cross-entropy, SGD. */
bool dg_pass_probe_step(struct dg_diagnostics *diag, const struct dg_recipe *probe, int64_t dim, struct dg_graph *graph,
                        struct dg_train_step *step);

/* Removes nodes none of whose outputs is read by a kept node or listed in `keep`; commit nodes stay. Values stay where they
 * are; nodes are renumbered. */
void dg_pass_prune(struct dg_graph *graph, const dg_value *keep, int num_keep);

/* Makes values bf16 where the ops around them can; those in `keep` leave the graph and stay what they are. The graph is
 * final by now: it cannot be differentiated or fused after this. */
void dg_pass_narrow(struct dg_graph *graph, const dg_value *keep, int num_keep);
/* How much of the forward is computed again for the backward, by the student's applications of a module ("parts", known by
 * their labels, in order of execution; at most DG_MAX_PARTS, later ones keep all). */
enum { DG_MAX_PARTS = 8 };
struct dg_remake {
    /* Of each part: 0, nothing; 1, results of ops without a matrix product, a few in a row, whose inputs are kept anyway; 2
     * and up, also the first level - 1 of so many shares of the part's repeated blocks ("blocks.3", "layer2.0"), of which
     * only what other blocks read is kept; DG_REMAKE_PAIRS: of all, and only what pairs of blocks read of each other;
     * DG_REMAKE_NORMS: of all, but batch norms' results are kept, so that products are made again one at a time. */
    int level[DG_MAX_PARTS];
};
enum { DG_REMAKE_SHARES = 6, DG_REMAKE_PAIRS = 2 + DG_REMAKE_SHARES, DG_REMAKE_NORMS, DG_MAX_REMAKE = DG_REMAKE_NORMS };

/* What every plan does, if it is not to be plain: level 1 in all parts. It costs a sweep over memory where it saves one. */
struct dg_remake dg_remake_cheap(void);

/* Number of parts; `highest` receives the level above which nothing changes, of each. */
int dg_remake_parts(const struct dg_graph *graph, int highest[DG_MAX_PARTS]);
/* Values that the backward reads and the forward need not keep are made again by copies of their nodes, right before the
 * first backward node that reads them: the same op on the same inputs, with the same random draws, so to the same bits. The
 * commit still reads the originals. Of a graph that is complete; nodes are renumbered, values keep their numbers. */
void dg_pass_recompute(struct dg_graph *graph, const struct dg_remake *remake);

/* Where drop path drops images of a residual branch, and nothing else reads what the branch makes of them, its forward and
 * backward are run for the kept images only (struct dg_run, kept). Of a graph that is complete, and whose types are chosen.
 * Values in `keep` leave the graph. Nodes are renumbered, values keep their numbers. */
void dg_pass_skip_dropped(struct dg_graph *graph, const dg_value *keep, int num_keep);

/* Nodes take over from the first reader of their result what their ops can make along with it (struct dg_op, join). The last
 * pass: of a graph that is complete, and whose types are chosen. Values in `keep` leave the graph. Nodes are renumbered, values
 * keep their numbers. */
void dg_pass_join(struct dg_graph *graph, const dg_value *keep, int num_keep);

/* These three, in order. */
void dg_pass_finish(struct dg_graph *graph, const struct dg_remake *remake, const dg_value *keep, int num_keep);

#endif

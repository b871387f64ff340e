/* A recipe's training step in one of its forms, as the entry of a plan. */
#ifndef DG_COMPILER_STEP_COMPILE_STEP_H
#define DG_COMPILER_STEP_COMPILE_STEP_H

#include "compiler/plan/entry.h"
#include "compiler/step/step.h"

/* What is chosen where no limit says otherwise: the whole batch at once, or a slice a rank; cheap activations are recomputed, unless
 * the plan is to be plain. Between ranks the larger resolution comes last: its longer backward hides more of the exchange. */
struct dg_step_choice dg_default_choice(const struct dg_step_request *from);

/* Whether the step can be shared by from->ranks processes: they divide the batch. False: the error is in from->diag. */
bool dg_step_can_be_shared(const struct dg_step_request *from);

/* Builds the step in a form as an entry on which no entry pass has run; choice->recompute is for dg_finish_entry. False: errors are
 * in from->diag. */
bool dg_build_step(const struct dg_step_request *from, const struct dg_step_choice *choice, struct dg_entry *entry,
                   struct dg_train_step *step);

/* Runs the entry passes on the graph of an entry; it is final then and can be laid out. False: errors are in from->diag. */
bool dg_finish_entry(const struct dg_step_request *from, const struct dg_recompute_levels *recompute,
                     struct dg_entry *entry);

/* Both. */
bool dg_compile_step(const struct dg_step_request *from, const struct dg_step_choice *choice, struct dg_entry *entry,
                     struct dg_train_step *step);

#endif

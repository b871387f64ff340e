/* dinoc --memory: the form of a training step that fits into a budget at the least extra time. */
#ifndef DG_COMPILER_PIPELINE_BUDGET_H
#define DG_COMPILER_PIPELINE_BUDGET_H

#include "compiler/base/text.h"
#include "compiler/plan/emit.h"
#include "compiler/passes/passes.h"

/* Builds the step in a form: nodes, fused and pruned. False: reported. */
typedef bool dg_build_step(void *context, const struct dg_step_form *form, struct dg_emit_entry *entry);

struct dg_budget {
    int64_t bytes; /* parameters, optimiser state, step and inputs must fit into it */
    int64_t batch;
    bool plain;                       /* no images are left out, and no ops joined */
    const struct dg_train_step *step; /* the ops that forbid cutting: the same in every form that is built */
    dg_build_step *build;
    void *context;
};

/* What was chosen. */
struct dg_budget_choice {
    struct dg_step_form form;
    struct dg_remake remake;
    double extra; /* estimated time of a step over that of the unconstrained one, less one */
};

/* Of all forms that fit, the one whose estimated time is least; planned bytes therefore never grow as the budget shrinks. On
 * success `entry` (that of the unconstrained step on entry) is that of the chosen one, planned. DG_ERR_INPUT: nothing fits; err
 * says how much the smallest form needs, and what takes most of it. */
enum dg_status dg_budget_fit(struct dg_arena *arena, const struct dg_budget *budget, struct dg_emit_entry *entry,
                             struct dg_budget_choice *choice, struct dg_error *err);

/* "cut into 8 slices of 4 images ...", for dinoc to print. */
void dg_budget_report(struct dg_text *text, const struct dg_budget *budget, const struct dg_budget_choice *choice);

#endif

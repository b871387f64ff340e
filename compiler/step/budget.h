/* dinoc --memory: the form of a training step that fits into a budget at the least extra time. */
#ifndef DG_COMPILER_STEP_BUDGET_H
#define DG_COMPILER_STEP_BUDGET_H

#include "compiler/base/text.h"
#include "compiler/step/step.h"

/* What the search found. */
struct dg_budget_result {
    struct dg_step_choice choice;
    double extra; /* estimated time of a step over that of the default choice, less one */
};

/* Of all choices whose plan fits into `bytes` (parameters, optimiser state, step and inputs), the one whose estimated time is
 * least; planned bytes therefore never grow as the budget shrinks. DG_ERR_INPUT: nothing fits, and err says how much the smallest
 * plan needs and what takes most of it; or errors are in from->diag. */
enum dg_status dg_budget_search(const struct dg_step_request *from, int64_t bytes, struct dg_budget_result *result,
                                struct dg_error *err);

/* "the batch in 8 slices of 4, ...", for dinoc to print; `batch` is the recipe's. */
void dg_budget_report(struct dg_text *text, const struct dg_budget_result *result, int64_t batch);

#endif

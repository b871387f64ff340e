/* Finds where a step went bad: the first operation whose result is not finite. */
#ifndef DG_RUNTIME_EXEC_FAULT_H
#define DG_RUNTIME_EXEC_FAULT_H

#include "runtime/exec/session.h"

/* Computes the step once more (its inputs are still bound, and nothing of it was committed, so it is the same step) and looks
 * at every result. Says in `text` which operation, of which node and YAML line, gave the first NaN or infinity, and what
 * the rest of that tensor is like; or that the second time all was finite, which points to the machine; or that an input was
 * bad already. */
enum dg_status dg_fault_find(struct dg_session *session, const struct dg_plan *plan, const struct dg_step_info *step,
                             char *text, size_t size, struct dg_error *err);

#endif

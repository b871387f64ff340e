/* Finds the first operation of a step whose result is not finite. */
#ifndef DG_RUNTIME_EXEC_FAULT_H
#define DG_RUNTIME_EXEC_FAULT_H

#include "runtime/exec/session.h"

/* Computes the step again: its inputs are still bound and nothing was committed, so it is the same step. `text`
 * receives the operation, node and YAML line whose result has the first NaN or infinity, with the range of the
 * tensor's other values; or an input that was bad before the step; or that all results are finite now, which points
 * to the machine. *place says where in the step that was, for the processes that share it: each looks at its own
 * results, and all have to call. */
enum dg_status dg_fault_find(struct dg_session *session, const struct dg_plan *plan, const struct dg_step_info *step,
                             int64_t *place, char *text, size_t size, struct dg_error *err);
enum { DG_FAULT_NOWHERE = -1, DG_FAULT_BEFORE }; /* places; those behind are operations, in their order */

/* True if a parameter or a state of the session is not finite: `text` receives its name and how many numbers are
 * not. */
bool dg_fault_in_stored(const struct dg_session *session, const struct dg_plan *plan, char *text, size_t size);

#endif

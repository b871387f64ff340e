/* The check that makes a plan safe to run: after it nothing is checked again. */
#ifndef DG_RUNTIME_PLAN_VERIFY_H
#define DG_RUNTIME_PLAN_VERIFY_H

#include "runtime/plan/view.h"

/* Verifies all records of a plan whose header and sections are in bounds. Fails with DG_ERR_INPUT and the record in err. */
enum dg_status dg_plan_verify(const struct dg_plan *plan, struct dg_error *err);

#endif

/* Opens a plan: it is mapped read-only and verified once, so that its users need not look again. */
#ifndef DG_RUNTIME_PLAN_OPEN_H
#define DG_RUNTIME_PLAN_OPEN_H

#include "runtime/plan/view.h"

/* Maps and verifies the file. The plan is closed by dg_plan_close, also after a failure (where it is empty). */
enum dg_status dg_plan_open(const char *path, struct dg_plan *plan, struct dg_error *err);
/* The same on bytes that the caller keeps alive (8-byte aligned). */
enum dg_status dg_plan_open_bytes(const void *bytes, uint64_t size, struct dg_plan *plan, struct dg_error *err);
void dg_plan_close(struct dg_plan *plan);

#endif

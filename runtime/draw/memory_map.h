/* Draws an entry's planned memory. */
#ifndef DG_RUNTIME_DRAW_MEMORY_MAP_H
#define DG_RUNTIME_DRAW_MEMORY_MAP_H

#include "runtime/plan/open.h"

/* Writes an SVG with a rectangle for each tensor of the step: to the right from the first to the last operation that
 * touches it, upwards over its bytes; name and size are its tooltip, its colour is that of the application.
 * DG_ERR_IO. */
enum dg_status dg_memory_map(const struct dg_plan *plan, const struct dg_plan_entry *entry, const char *path,
                             struct dg_error *err);

#endif

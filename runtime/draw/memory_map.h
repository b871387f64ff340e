/* A picture of an entry's planned memory. */
#ifndef DG_RUNTIME_DRAW_MEMORY_MAP_H
#define DG_RUNTIME_DRAW_MEMORY_MAP_H

#include "runtime/plan/open.h"

/* Writes an SVG: a rectangle a tensor of the step, from the first to the last operation that touches it (to the right) and
 * over its bytes (upwards), with name and size as its tooltip; colours by application. DG_ERR_IO. */
enum dg_status dg_memory_map(const struct dg_plan *plan, const struct dg_plan_entry *entry, const char *path,
                             struct dg_error *err);

#endif

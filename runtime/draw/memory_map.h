/* Draws an entry's planned memory. */
#ifndef DG_RUNTIME_DRAW_MEMORY_MAP_H
#define DG_RUNTIME_DRAW_MEMORY_MAP_H

#include "runtime/plan/open.h"

#include <stdio.h>

/* Draws an SVG with a rectangle for each tensor of the step: to the right from the first to the last operation that
 * touches it, upwards over its bytes; name and size are its tooltip, its colour is that of the application. Errors are the
 * stream's. */
void dg_memory_map_draw(const struct dg_plan *plan, const struct dg_plan_entry *entry, FILE *out);

/* The same to a file. DG_ERR_IO. */
enum dg_status dg_memory_map(const struct dg_plan *plan, const struct dg_plan_entry *entry, const char *path,
                             struct dg_error *err);

#endif

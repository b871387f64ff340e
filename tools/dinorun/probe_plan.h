/* The plan of a linear probe on a run's backbone: dinoc makes it of the description in the run's folder. */
#ifndef DINORUN_PROBE_PLAN_H
#define DINORUN_PROBE_PLAN_H

#include "tools/dinorun/command.h"

/* Classes of the images, or of a head's file if that is not NULL. */
enum dg_status count_classes(const struct dg_data *images, const char *head, int64_t *classes, struct dg_error *err);
/* Opens the plan of a linear probe on the backbone of the run whose folder opened->path is; dinoc makes it, with the
 * settings of opened->set. */
enum dg_status open_probe_plan(struct opened_plan *opened, int64_t classes, struct dg_error *err);

#endif

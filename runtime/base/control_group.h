/* The control groups of this process, which limit its memory and CPU time: containers, batch systems, services. */
#ifndef DG_RUNTIME_BASE_CONTROL_GROUP_H
#define DG_RUNTIME_BASE_CONTROL_GROUP_H

#include "ops/base/base.h"

#include <stdio.h>

enum dg_control_group_version { DG_CONTROL_GROUP_V1, DG_CONTROL_GROUP_V2 };

/* Receives the folder of one group. */
typedef void dg_control_group_visitor(void *context, enum dg_control_group_version version, const char *folder);

/* Calls `visit` for the group of `controller` ("memory", "cpu") that the process is in and for all groups above it, in
 * version 1 and in version 2. `root` is the folder that has proc and sys: "" but in tests. Folders that are not mounted
 * here are visited, too, and have no files. */
void dg_control_groups_visit(const char *root, const char *controller, dg_control_group_visitor *visit, void *context);

/* Opens a file of the group; NULL: it is not there. */
FILE *dg_control_group_file(const char *folder, const char *name);
/* The number in a file of the group; -1: "max", or no such file. */
int64_t dg_control_group_number(const char *folder, const char *name);

/* CPUs that the quotas of all groups leave to the process: CPU time a second, so 1.5 is possible. 0: no quota. */
double dg_control_group_cpus(const char *root);

#endif

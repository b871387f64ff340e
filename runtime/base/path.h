/* Paths in arrays of a fixed size. */
#ifndef DG_RUNTIME_BASE_PATH_H
#define DG_RUNTIME_BASE_PATH_H

#include "ops/base/base.h"

enum { DG_MAX_PATH = 4096 };

/* path = FOLDER/NAME. DG_ERR_USAGE: it is too long. */
enum dg_status dg_path_join(char path[DG_MAX_PATH], const char *folder, const char *name, struct dg_error *err);

#endif

#include "runtime/base/path.h"

#include <stdio.h>

enum dg_status dg_path_join(char path[DG_MAX_PATH], const char *folder, const char *name, struct dg_error *err)
{
    if (snprintf(path, DG_MAX_PATH, "%s/%s", folder, name) < DG_MAX_PATH) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "%s: the path is too long", folder);
}

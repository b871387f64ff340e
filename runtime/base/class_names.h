/* The classes of two data sets, compared by name. */
#ifndef DG_RUNTIME_BASE_CLASS_NAMES_H
#define DG_RUNTIME_BASE_CLASS_NAMES_H

#include "runtime/base/log.h"

struct dg_class_names {
    char *const *name; /* [count] */
    int count;
};

/* Sets number[names] to the numbers of the names in `training`. DG_ERR_INPUT: some are not there; the text names them, and
 * one that looks the same. DG_ERR_MEMORY. */
enum dg_status dg_class_names_match(const struct dg_class_names *names, const struct dg_class_names *training,
                                    int *number, struct dg_error *err);

/* Tells the log which classes have no image `purpose` (" to validate with", or ""): those that are not present[classes]. */
void dg_class_names_tell_absent(const struct dg_class_names *classes, const bool *present, const char *purpose,
                                const struct dg_log *log);

#endif

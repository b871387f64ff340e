/* Reads what `dinorun features` writes: FILE.npy, and FILE.npy.tsv with a path and a label for each row, both
 * escaped (runtime/base/name.h). */
#ifndef DG_RUNTIME_FORMATS_FEATURE_FILE_H
#define DG_RUNTIME_FORMATS_FEATURE_FILE_H

#include "runtime/base/log.h"

struct dg_feature_file {
    int64_t rows, dim;
    float *features;         /* [rows, dim]; owned */
    int *label;              /* [rows], by class_name; owned */
    char **path;             /* [rows]; owned */
    char *const *class_name; /* [classes], sorted; owned */
    int classes;
};

/* Reads both. DG_ERR_IO (cannot be read), DG_ERR_INPUT (not an array of two dimensions of little-endian f32 in C order,
 * cut off, as many lines as rows in the list, a row without a label), DG_ERR_MEMORY. The file's size bounds what is
 * allocated. */
enum dg_status dg_feature_file_read(const char *path, struct dg_feature_file *file, struct dg_error *err);
/* Renumbers the labels by the classes of `train`, and tells `log` which of those no row of `file` has. DG_ERR_INPUT:
 * `train` lacks a class, or has features of another length. */
enum dg_status dg_feature_file_match(struct dg_feature_file *file, const struct dg_feature_file *train,
                                     const struct dg_log *log, struct dg_error *err);
void dg_feature_file_free(struct dg_feature_file *file); /* a zeroed one is fine */

#endif

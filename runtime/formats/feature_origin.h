/* What the features in a file were made with: FILE.npy.json beside the array, with a text for each key. Features of two files
 * can be compared only where that is the same. */
#ifndef DG_RUNTIME_FORMATS_FEATURE_ORIGIN_H
#define DG_RUNTIME_FORMATS_FEATURE_ORIGIN_H

#include "runtime/base/atomic_file.h"
#include "runtime/base/log.h"
#include "runtime/formats/safetensors.h"

/* Writes it for the array at `path`; the caller commits or abandons the file. DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_feature_origin_write(const char *path, const struct dg_safetensors_meta *fact, int count,
                                       struct dg_atomic_file *file, struct dg_error *err);

/* Compares those of two arrays, by the keys that either has. DG_ERR_INPUT: something differs; with `accept` it is logged. Where one of
 * them is missing or cannot be read it is logged what could not be compared. */
enum dg_status dg_feature_origin_compare(const char *train, const char *val, bool accept, const struct dg_log *log,
                                         struct dg_error *err);

#endif

/* Writes NumPy arrays: .npy version 1.0, little-endian f32, C order, in pieces along the first dimension. The file is
 * complete or absent (runtime/base/atomic_file.h). */
#ifndef DG_RUNTIME_FORMATS_NPY_H
#define DG_RUNTIME_FORMATS_NPY_H

#include "runtime/base/atomic_file.h"

enum { DG_NPY_MAX_DIMS = 4 };

struct dg_npy {
    struct dg_atomic_file file;
    int64_t rows, columns, written; /* columns: numbers a row; written: rows so far */
    int ndim;
    int64_t dim[DG_NPY_MAX_DIMS]; /* but for the first */
};

/* An array of the shape (rows, columns), both >= 0. DG_ERR_USAGE, DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_npy_open(const char *path, int64_t rows, int64_t columns, struct dg_npy *npy, struct dg_error *err);
/* An array of 1 to DG_NPY_MAX_DIMS dimensions; the rows are those of the first. */
enum dg_status dg_npy_open_shape(const char *path, int ndim, const int64_t *dim, struct dg_npy *npy,
                                 struct dg_error *err);
/* Appends rows. DG_ERR_USAGE: more rows than the shape has; none of them is written. After a failure only
 * dg_npy_abandon is allowed. */
enum dg_status dg_npy_append(struct dg_npy *npy, const float *data, int64_t rows, struct dg_error *err);
/* Ends the array with the rows that were appended, which may be fewer than it was opened for: its first
 * dimension is their number. DG_ERR_IO. */
enum dg_status dg_npy_end(struct dg_npy *npy, struct dg_error *err);
/* Completes the file. DG_ERR_USAGE: fewer rows than the shape has; the file does not appear. `npy` is closed in any
 * case. */
enum dg_status dg_npy_commit(struct dg_npy *npy, struct dg_error *err);
/* Removes what was written. Does nothing on a closed one, or one that failed to open. */
void dg_npy_abandon(struct dg_npy *npy);
/* Writes an array that is in memory. Errors as above. */
enum dg_status dg_npy_write(const char *path, int ndim, const int64_t *dim, const float *data, struct dg_error *err);

#endif

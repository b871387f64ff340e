#include "runtime/formats/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie in memory");

/* Magic, version and the length of the dictionary take 10 bytes. The whole is padded with blanks to a multiple of 64,
 * so that the data can be mapped; two 19-digit sizes fit into 128. */
enum { HEADER = 128, PREFIX = 10 };

static enum dg_status write_bytes(struct dg_npy *npy, const void *bytes, size_t size, struct dg_error *err)
{
    if (fwrite(bytes, 1, size, npy->file.stream) == size) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", npy->file.path, strerror(errno));
}

/* "(3, 4)", or "(3,)" as Python writes a tuple of one. */
static void write_shape(char *text, size_t size, int ndim, const int64_t *dim)
{
    int used = snprintf(text, size, "(");
    for (int d = 0; d < ndim; d++)
        used += snprintf(text + used, size - (size_t)used, "%s%" PRId64, d ? ", " : "", dim[d]);
    snprintf(text + used, size - (size_t)used, ndim == 1 ? ",)" : ")");
}

/* Writes the header at the file's beginning. False: the shape does not fit into it. */
static bool make_header(const char *shape, char header[HEADER])
{
    memset(header, ' ', HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(HEADER - PREFIX);
    header[9] = 0;
    int length =
        snprintf(header + PREFIX, HEADER - PREFIX, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    if (length >= HEADER - PREFIX) return false;
    header[PREFIX + length] = ' '; /* instead of the terminating zero */
    header[HEADER - 1] = '\n';
    return true;
}

enum dg_status dg_npy_open_shape(const char *path, int ndim, const int64_t *dim, struct dg_npy *npy,
                                 struct dg_error *err)
{
    char shape[96], header[HEADER];
    *npy = (struct dg_npy){.rows = dim[0], .columns = 1, .ndim = ndim};
    bool possible = ndim >= 1 && ndim <= DG_NPY_MAX_DIMS && dim[0] >= 0;
    for (int d = 1; d < ndim && possible; d++) {
        npy->dim[d] = dim[d];
        possible = dg_mul_i64(npy->columns, dim[d], &npy->columns);
    }
    int64_t bytes;
    possible = possible && dg_mul_i64(npy->rows, npy->columns, &bytes) && dg_mul_i64(bytes, sizeof(float), &bytes);
    write_shape(shape, sizeof shape, ndim <= DG_NPY_MAX_DIMS ? ndim : DG_NPY_MAX_DIMS, dim);
    if (!possible || !make_header(shape, header))
        return dg_fail(err, DG_ERR_USAGE, "%s: no array has the shape %s", path, shape);
    DG_TRY(dg_atomic_open(path, &npy->file, err));
    enum dg_status status = write_bytes(npy, header, sizeof header, err);
    if (status != DG_OK) dg_npy_abandon(npy);
    return status;
}

enum dg_status dg_npy_open(const char *path, int64_t rows, int64_t columns, struct dg_npy *npy, struct dg_error *err)
{
    return dg_npy_open_shape(path, 2, (int64_t[]){rows, columns}, npy, err);
}

enum dg_status dg_npy_append(struct dg_npy *npy, const float *data, int64_t rows, struct dg_error *err)
{
    if (rows < 0 || rows > npy->rows - npy->written)
        return dg_fail(err, DG_ERR_USAGE, "%s: %" PRId64 " rows after %" PRId64 ", but it is to have %" PRId64,
                       npy->file.path, rows, npy->written, npy->rows);
    DG_TRY(write_bytes(npy, data, (size_t)(rows * npy->columns) * sizeof *data, err));
    npy->written += rows;
    return DG_OK;
}

enum dg_status dg_npy_end(struct dg_npy *npy, struct dg_error *err)
{
    char shape[96], header[HEADER];
    if (npy->written == npy->rows) return DG_OK;
    npy->rows = npy->dim[0] = npy->written;
    write_shape(shape, sizeof shape, npy->ndim, npy->dim);
    make_header(shape, header); /* a longer one has fitted */
    if (fseek(npy->file.stream, 0, SEEK_SET))
        return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", npy->file.path, strerror(errno));
    return write_bytes(npy, header, sizeof header, err);
}

enum dg_status dg_npy_commit(struct dg_npy *npy, struct dg_error *err)
{
    if (npy->written == npy->rows) return dg_atomic_commit(&npy->file, err);
    enum dg_status status = dg_fail(err, DG_ERR_USAGE, "%s: only %" PRId64 " of its %" PRId64 " rows were written",
                                    npy->file.path, npy->written, npy->rows);
    dg_npy_abandon(npy);
    return status;
}

void dg_npy_abandon(struct dg_npy *npy) { dg_atomic_abandon(&npy->file); }

enum dg_status dg_npy_write(const char *path, int ndim, const int64_t *dim, const float *data, struct dg_error *err)
{
    struct dg_npy npy;
    DG_TRY(dg_npy_open_shape(path, ndim, dim, &npy, err));
    enum dg_status status = dg_npy_append(&npy, data, dim[0], err);
    if (status == DG_OK) return dg_npy_commit(&npy, err);
    dg_npy_abandon(&npy);
    return status;
}

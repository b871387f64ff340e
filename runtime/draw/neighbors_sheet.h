/* A contact sheet of a search: a row a query, which is framed, and behind it what was found, nearest first, each with
 * its similarity. */
#ifndef DG_RUNTIME_DRAW_NEIGHBORS_SHEET_H
#define DG_RUNTIME_DRAW_NEIGHBORS_SHEET_H

#include "runtime/data/dataset.h"

struct dg_neighbors_sheet {
    const struct dg_dataset *queries, *database;
    const int64_t *query;    /* [rows], of `queries` */
    const int64_t *found;    /* [rows, cols], of `database` */
    const float *similarity; /* [rows, cols] */
    int rows, cols;
};

/* Draws it into a PNG. DG_ERR_INPUT (too large; an image that can no longer be read), DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_neighbors_sheet_write(const struct dg_neighbors_sheet *sheet, const char *path, struct dg_error *err);

#endif

/* Numbers over steps: the columns of a log or of a table of results. */
#ifndef DG_RUNTIME_REPORT_SERIES_H
#define DG_RUNTIME_REPORT_SERIES_H

#include "ops/base/base.h"

enum { DG_MAX_COLUMNS = 48, DG_COLUMN_NAME = 64, DG_SERIES_TAIL = 100 /* steps that say how a run goes */ };

/* Zero-initialise; free with dg_series_free. */
struct dg_series {
    int64_t rows, capacity;
    double *step; /* of each row, growing */
    int columns;
    struct dg_column {
        char name[DG_COLUMN_NAME];
        double *value; /* of each row; NaN: the row has none, or none that is finite */
    } column[DG_MAX_COLUMNS];
    int64_t unread;     /* lines that are no row */
    bool cut;           /* the last line has no end: it is being written, or the writer was killed */
    int64_t not_finite; /* step of the first row with a number that is none; -1: all are finite */
    char not_finite_name[DG_COLUMN_NAME];
};

/* Reads a file of one JSON object a line, with a "step" and other numbers; what is no number is passed over. Lines of one step are one row.
 * Where an earlier step comes again (a run went on from a checkpoint) the later lines count, and those behind that step before them do not. DG_ERR_IO. */
enum dg_status dg_series_read_lines(const char *path, struct dg_series *series, struct dg_error *err);

/* Reads a run's results.csv: a column for each measure ("knn20.top1"), and "most_frequent", what the most frequent class alone would get; a
 * row for each step. DG_ERR_IO. */
enum dg_status dg_series_read_results(const char *path, struct dg_series *series, struct dg_error *err);

/* NULL: there is no such column. */
const struct dg_column *dg_series_find(const struct dg_series *series, const char *name);

/* The last number of the column; NaN: there is none. */
double dg_series_last(const struct dg_series *series, const char *name);

/* The mean of the finite numbers of a column in the rows from `first` up to `end`; NaN: there are none. */
double dg_series_mean(const struct dg_series *series, const char *name, int64_t first, int64_t end);

/* Likewise in the last DG_SERIES_TAIL rows. */
double dg_series_tail_mean(const struct dg_series *series, const char *name);

void dg_series_free(struct dg_series *series);

#endif

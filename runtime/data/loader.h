/* Batches of rows, filled by threads beside the computation, in order and with back-pressure.
 *
 * The loader owns memory and threads and knows nothing of what a row is: a struct dg_batch_source says that. Sources
 * are runtime/data/train_source.h (views of images in a new order each epoch) and runtime/data/eval_source.h (one crop
 * of each image). Batches come out in order; what is in them does not depend on the number of threads or on timing. At
 * most `prefetch` finished or half-finished batches wait besides those that the caller holds: then the threads
 * sleep. */
#ifndef DG_RUNTIME_DATA_LOADER_H
#define DG_RUNTIME_DATA_LOADER_H

#include "runtime/base/log.h"

enum { DG_LOADER_MAX_THREADS = 256, DG_LOADER_MAX_PARTS = 64, DG_LOADER_MAX_PREFETCH = 1024 };

struct dg_loader_config {
    int batch; /* rows */
    int threads;
    int prefetch;             /* batches ready before they are asked for, at least 1 */
    const struct dg_log *log; /* NULL: none; called by dg_loader_next alone */
};

/* The config of a loader beside a computation of `threads` threads: as many threads, as far as a loader may have them,
 * and two batches ahead. */
struct dg_loader_config dg_loader_config_make(int64_t batch, int threads, const struct dg_log *log);

/* One batch. The loader owns it and what it points to until it is released. */
struct dg_batch {
    int64_t epoch, step; /* as the source numbers them */
    /* Filled ones: `batch` of the config, or fewer where the source has no more; then all bytes of the other rows are
     * 0. */
    int rows;
    const float *data;        /* all parts, one after another */
    const float *const *part; /* [num_parts], each [batch, row_floats[part]] */
    const int64_t *item;      /* [rows], which item of the source is in the row */
};

struct dg_loader;

/* A row that a source fills. */
struct dg_row {
    struct dg_loader *loader; /* for dg_loader_post */
    int64_t epoch, step;      /* of its batch */
    int index;                /* in the batch */
    float *const *part;       /* [num_parts]: where the row's floats of each part go, row_floats[part] of them */
    int64_t item;             /* set by the source: which item it put there */
};

/* Where rows come from. An implementation has this as its first member. */
struct dg_batch_source {
    int num_parts;
    const int64_t *row_floats; /* [num_parts] */
    int64_t batches;           /* in all; INT64_MAX: without end */
    int64_t worker_bytes;      /* that open_worker allocates for a thread */
    int64_t own_bytes;         /* that the source itself takes */
    /* A row that fails ends the loader at once if true. Otherwise it fails its batch, when that is asked for, with the
     * failure of the lowest row, so that the error is the same in every run. */
    bool fails_at_once;

    /* What a thread reuses for all its rows. */
    enum dg_status (*open_worker)(struct dg_batch_source *source, void **worker, struct dg_error *err);
    void (*close_worker)(void *worker);

    /* True if batch `number` (from 0) may begin only when no row is being filled, since `begin` will change what `fill`
     * reads. NULL: none waits. */
    bool (*waits)(const struct dg_batch_source *source, int64_t number);
    /* Sets epoch, step and rows of batch `number`; called once a batch, in order, never at the same time as itself.
     * `rows` is the whole batch's before. */
    void (*begin)(struct dg_batch_source *source, int64_t number, struct dg_batch *batch);
    /* Fills one row; called on many threads at once. A failure is in `err`, too, which is never NULL. */
    enum dg_status (*fill)(struct dg_batch_source *source, void *worker, struct dg_row *row, struct dg_error *err);
    void (*close)(struct dg_batch_source *source);
};

/* A message from within `fill` (topic load), which dg_loader_next gives to the log. */
void dg_loader_post(struct dg_loader *loader, enum dg_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* True if the log takes traces of the topic load. */
bool dg_loader_traces(const struct dg_loader *loader);

/* For sources' own checks: DG_ERR_USAGE "loader: WHAT is VALUE; it must be from LOW to HIGH". */
enum dg_status dg_loader_check_range(const char *what, int64_t value, int64_t low, int64_t high, struct dg_error *err);
/* The config's numbers in range. DG_ERR_USAGE. */
enum dg_status dg_loader_check(const struct dg_loader_config *config, struct dg_error *err);

/* Bytes that opening takes: batches, workers, and the source itself. Of the source its sizes alone are read.
 * DG_ERR_MEMORY: too many to be a number. */
enum dg_status dg_loader_bytes(const struct dg_loader_config *config, const struct dg_batch_source *source,
                               int64_t *bytes, struct dg_error *err);

/* Allocates, and starts the threads. The loader owns the source from here on, also where opening fails. DG_ERR_USAGE (a
 * value out of range), DG_ERR_MEMORY. */
enum dg_status dg_loader_open(const struct dg_loader_config *config, struct dg_batch_source *source,
                              struct dg_loader **loader, struct dg_error *err);

/* Waits for the next batch, and gives the log what the threads have posted meanwhile. *batch is NULL after the last
 * batch. Errors are the source's; after one the loader gives no more batches. One thread at a time. */
enum dg_status dg_loader_next(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err);
/* Gives a batch back; its memory will be written to. */
void dg_loader_release(struct dg_loader *loader, const struct dg_batch *batch);

/* Stops at any time, after at most one row a thread, and closes the source. NULL is fine. */
void dg_loader_close(struct dg_loader *loader);

#endif

/* Pictures to batches of network input, by threads beside the computation.
 *
 * Two readers share the machinery: training (all views of a random order, epoch after epoch, without end) and evaluation (one
 * centre crop of each picture, in the order given, once). Batches come out in order; what is in them does not depend on the
 * number of threads or on timing. At most `prefetch` finished or half-finished batches wait besides those the caller
 * holds: then the threads sleep. */
#ifndef DG_RUNTIME_DATA_LOADER_H
#define DG_RUNTIME_DATA_LOADER_H

#include "runtime/base/log.h"
#include "runtime/data/dataset.h"
#include "runtime/image/augment.h"

enum { DG_LOADER_MAX_THREADS = 256, DG_LOADER_MAX_VIEWS = 64, DG_LOADER_MAX_PREFETCH = 1024 };

/* Room that each thread keeps for a decoded picture from the start; as much is counted for the file and for resampling. What a
 * larger picture takes (3 bytes a pixel, and what libjpeg needs: for a progressive file up to 8 more) is given back after it. */
#define DG_LOADER_DECODE_BYTES (INT64_C(4) << 20)

struct dg_loader_config {
    const struct dg_dataset *dataset; /* outlives the loader */
    int batch;                        /* rows */
    int threads;
    int prefetch;             /* batches ready before they are asked for, at least 1 */
    const struct dg_log *log; /* NULL: none */
};

struct dg_train_reading {
    const struct dg_view_spec *views; /* [view_count], globals, then locals; copied */
    int view_count;
    uint64_t seed;
    int64_t epoch, step;     /* of the first batch */
    int64_t steps_per_epoch; /* at most images / batch; what is left of an epoch's order is dropped */
    bool rest;               /* at most that rounded up: a last, smaller batch takes what is left */
    int64_t batches;         /* to read in all; 0: without end */
    int64_t max_bad;         /* unreadable pictures (distinct ones) that are replaced before giving up */
};

struct dg_eval_reading {
    int height, width; /* of the crop */
    int resize;        /* dg_image_resize_center_crop's; dg_eval_resize(width) is the usual */
    enum dg_filter filter;
    double mean[3], std[3];
    const int64_t *images; /* [image_count] dataset indices; copied. NULL: all, in order */
    int64_t image_count;
};

/* 256 for 224, and in proportion. */
int dg_eval_resize(int width);
/* Sizes that can be made: DG_ERR_USAGE names the one that cannot. The images are not looked at. */
enum dg_status dg_eval_reading_check(const struct dg_eval_reading *reading, struct dg_error *err);

/* One batch, owned by the loader until it is released. */
struct dg_batch {
    int64_t epoch, step;      /* evaluation: epoch 0, and the batch's number */
    int rows;                 /* real ones: `batch`, except in the last one of an evaluation, or of an epoch with a
                                 rest, whose other rows are 0 */
    const float *data;        /* all views, one after another */
    const float *const *view; /* [view_count], each [batch, height, width, 3], normalised; consecutive views of equal
                                 size are one tensor [views * batch, height, width, 3], crop-major */
    const int64_t *image;     /* [rows] dataset index of the picture that is in the row */
};

struct dg_loader;

/* Bytes that opening takes, to be printed first: batches, room to decode and one view a thread, the order of an epoch.
 * The same checks and errors as opening. */
enum dg_status dg_loader_train_bytes(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                     int64_t *bytes, struct dg_error *err);
enum dg_status dg_loader_eval_bytes(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                    int64_t *bytes, struct dg_error *err);

/* Allocates, and starts the threads. DG_ERR_USAGE (a value out of range), DG_ERR_INPUT (fewer pictures than a batch),
 * DG_ERR_MEMORY.
 *
 * Training: epoch e's order is the Fisher-Yates permutation from purpose DG_RNG_ORDER, stream e; step s holds positions
 * s * batch and on. The draws of a row are those of its position's picture (dg_view_sample). An unreadable picture's place
 * goes to the first readable one after it in the order, wrapping around, with the draws of the place. */
enum dg_status dg_loader_open_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                    struct dg_loader **loader, struct dg_error *err);
/* Evaluation: an unreadable picture is an error of dg_loader_next, at its batch, naming the path. */
enum dg_status dg_loader_open_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                   struct dg_loader **loader, struct dg_error *err);

/* Waits for the next batch. The log receives what was found meanwhile: each unreadable picture ("path: reason") that is replaced, a
 * warning; traces of those read. *batch is NULL after the last one. More than max_bad unreadable pictures are DG_ERR_INPUT, with
 * the last of them named; after an error the loader gives no more batches. One thread at a time. */
enum dg_status dg_loader_next(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err);
/* Gives a batch back; its memory will be written to. */
void dg_loader_release(struct dg_loader *loader, const struct dg_batch *batch);

/* Stops at any time, after at most one picture a thread. NULL is fine. */
void dg_loader_close(struct dg_loader *loader);

/* The order of an epoch: order[count], count <= DG_DATASET_MAX_IMAGES. */
void dg_epoch_order(uint64_t seed, int64_t epoch, int64_t count, int32_t *order);

#endif

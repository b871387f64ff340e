/* Rows for training: all views of each image of a data set, in a new random order each epoch. */
#ifndef DG_RUNTIME_DATA_TRAIN_SOURCE_H
#define DG_RUNTIME_DATA_TRAIN_SOURCE_H

#include "runtime/data/bad_set.h"
#include "runtime/data/dataset.h"
#include "runtime/data/loader.h"
#include "runtime/image/augment.h"

struct dg_train_reading {
    const struct dg_dataset *dataset; /* outlives the loader */
    const struct dg_view_spec *views; /* [view_count], globals, then locals; copied */
    int view_count;
    uint64_t seed;
    int64_t epoch, step;     /* of the first batch */
    int64_t steps_per_epoch; /* at most images / batch; what is left of an epoch's order is dropped */
    bool rest;               /* at most that rounded up: a last, smaller batch takes what is left */
    int64_t batches;         /* to read in all; 0: without end */
    int64_t whole,
        first; /* where processes share a batch of `whole` rows: the loader's are those from `first` on. 0: alone */
    int64_t stride; /* the loader has each stride-th batch from the first on, where others have those between; 0: all */
    struct dg_bad_set *bad; /* knows of unreadable images; outlives the loader. NULL: the loader has its own */
    int64_t max_bad;        /* unreadable images (distinct ones) that are replaced before giving up */
};

/* Bytes that opening takes, known before it: batches, a thread's room to decode and one view, the order of an epoch.
 * The same checks and errors as opening. */
enum dg_status dg_loader_train_bytes(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                     int64_t *bytes, struct dg_error *err);

/* A loader of training batches. Part v is view v, [batch, height, width, 3], normalised; consecutive views of equal
 * size are one tensor [views * batch, height, width, 3], crop-major. A row's item is the index in the data set of the
 * image that is in it.
 *
 * Epoch e's order is the Fisher-Yates permutation from purpose DG_RNG_ORDER, stream e; step s holds positions s * batch
 * and on. The draws of a row are those of its position's image (dg_view_sample). An unreadable image's place goes to
 * the first readable one after it in the order, wrapping around, with the draws of the place; the log receives a
 * warning for each ("path: reason"), once.
 *
 * DG_ERR_USAGE (a value out of range), DG_ERR_INPUT (fewer images than a batch), DG_ERR_MEMORY. Of dg_loader_next
 * DG_ERR_INPUT: more than max_bad unreadable images, the last of them named. */
enum dg_status dg_loader_open_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                    struct dg_loader **loader, struct dg_error *err);

/* The order of an epoch: order[count], count <= DG_DATASET_MAX_IMAGES. */
void dg_epoch_order(uint64_t seed, int64_t epoch, int64_t count, int32_t *order);

#endif

/* Rows for evaluation: one centre crop of each image, in the order given, once. */
#ifndef DG_RUNTIME_DATA_EVAL_SOURCE_H
#define DG_RUNTIME_DATA_EVAL_SOURCE_H

#include "runtime/data/dataset.h"
#include "runtime/data/loader.h"
#include "runtime/image/resample.h"

/* How an image becomes the pixels of a row. */
struct dg_eval_crop {
    int height, width; /* of the crop */
    int resize;        /* dg_image_resize_center_crop's; dg_eval_resize(width) is the usual */
    struct dg_resampling how;
    double mean[3], std[3];
};

struct dg_eval_reading {
    const struct dg_dataset *dataset; /* outlives the loader */
    struct dg_eval_crop crop;
    const int64_t *images; /* [image_count] dataset indices; copied. NULL: all, in order */
    int64_t image_count;
    /* Receives the images that cannot be read, by index in the data set; their rows are 0 and their items -1. NULL: the
     * first is an error of dg_loader_next, at its batch, with its path. */
    struct dg_bad_images *bad;
};

/* 256 for 224, and in proportion. */
int dg_eval_resize(int width);
/* Sizes that can be made: DG_ERR_USAGE names the one that cannot. */
enum dg_status dg_eval_crop_check(const struct dg_eval_crop *crop, struct dg_error *err);

/* Bytes that opening takes, known before it: batches, a thread's room to decode and one crop. Nothing is checked.
 * DG_ERR_MEMORY: too many to be a number. */
enum dg_status dg_loader_eval_bytes(const struct dg_loader_config *config, const struct dg_eval_crop *crop,
                                    int64_t *bytes, struct dg_error *err);

/* A loader of evaluation batches: one part, [batch, height, width, 3], normalised. Epoch is 0 and step the batch's
 * number; the last batch may have fewer rows. A row's item is the index in the data set. DG_ERR_USAGE (a value out of
 * range), DG_ERR_MEMORY. */
enum dg_status dg_loader_open_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                   struct dg_loader **loader, struct dg_error *err);

#endif

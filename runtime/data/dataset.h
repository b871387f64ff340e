/* The list of images in a data directory: a flat folder, or one folder a class (the ImageNet layout).
 *
 * Images are files named *.jpg, *.jpeg or *.png in any case; names that begin with a dot are ignored. A directory is a
 * class tree if some folder in it holds images at any depth. Its classes are then all its folders, sorted by name (also
 * empty ones, so that the classes of two splits agree); images beside the folders are left out and counted. Otherwise
 * the directory is flat. The order is by class, then folder, then file name, in byte order; it does not depend on the
 * file system.
 *
 * Symbolic links are followed; a link to a folder above it is left out and counted. A folder that cannot be read is an
 * error, since it would silently change what a run sees. */
#ifndef DG_RUNTIME_DATA_DATASET_H
#define DG_RUNTIME_DATA_DATASET_H

#include "ops/base/base.h"

/* An image's index must fit into 32 bits and into the random stream of its crops (ops/base/rng.h). */
#define DG_DATASET_MAX_IMAGES INT64_C(2147483647)

struct dg_dataset;

/* How many files were left out. */
struct dg_dataset_skipped {
    int64_t other;   /* files with other names */
    int64_t stray;   /* images beside the class folders */
    int64_t special; /* sockets, pipes, devices, links to nothing */
    int64_t loops;   /* links to a folder above */
};

/* DG_ERR_IO (missing or unreadable folder, named), DG_ERR_INPUT (no images), DG_ERR_MEMORY. Owned by the caller. */
enum dg_status dg_dataset_open(const char *directory, struct dg_dataset **dataset, struct dg_error *err);
void dg_dataset_close(struct dg_dataset *dataset); /* NULL is fine */

int64_t dg_dataset_count(const struct dg_dataset *dataset);
/* Of image 0 <= i < count. Strings live as long as the dataset. */
const char *dg_dataset_path(const struct dg_dataset *dataset, int64_t i);     /* can be opened */
const char *dg_dataset_relative(const struct dg_dataset *dataset, int64_t i); /* below the directory */
int dg_dataset_label(const struct dg_dataset *dataset, int64_t i);            /* class index; -1 when flat */

int dg_dataset_classes(const struct dg_dataset *dataset); /* 0 when flat */
const char *dg_dataset_class_name(const struct dg_dataset *dataset, int label);

/* Sets number[classes of `dataset`] to the number of the class of that name in `reference`. DG_ERR_INPUT: `reference`
 * lacks a class; the text names it. */
enum dg_status dg_dataset_match_classes(const struct dg_dataset *dataset, const struct dg_dataset *reference,
                                        int *number, struct dg_error *err);

struct dg_dataset_skipped dg_dataset_skipped(const struct dg_dataset *dataset);

/* FNV-1a of the relative paths in order, each with its terminating zero: the same list, the same hash, on any
 * machine. */
uint64_t dg_dataset_hash(const struct dg_dataset *dataset);

#endif

/* The list of images of a data set: which files of folders, or of lists, are the data. runtime/data/README.md has the
 * rule in words. */
#ifndef DG_RUNTIME_DATA_DATASET_H
#define DG_RUNTIME_DATA_DATASET_H

#include "runtime/data/bad_images.h"
#include "runtime/data/data.h"
#include "runtime/image/decode.h"

struct dg_dataset;

/* Lists the images. What is passed over is counted by reason and said to `log` (may be NULL), as is what is taken where
 * that is not plain. Images of one source come by class, then by folder, then by name, in byte order, or as its list
 * has them; sources come in the order in which they are given. The order does not depend on file system or locale.
 *
 * DG_ERR_IO (missing or unreadable), DG_ERR_USAGE (no folder), DG_ERR_INPUT (no images; a reading that is doubtful, with
 * what to do about it), DG_ERR_MEMORY. Owned by the caller. */
enum dg_status dg_dataset_open(const struct dg_data *data, enum dg_labels labels, const struct dg_log *log,
                               struct dg_dataset **dataset, struct dg_error *err);
void dg_dataset_close(struct dg_dataset *dataset); /* NULL is fine */

int64_t dg_dataset_count(const struct dg_dataset *dataset);
/* Of image 0 <= i < count. Strings live as long as the dataset. */
const char *dg_dataset_path(const struct dg_dataset *dataset, int64_t i); /* a file, or ARCHIVE:MEMBER */
/* Below the folder, as the list has it, or, of several sources, the path. */
const char *dg_dataset_relative(const struct dg_dataset *dataset, int64_t i);
int dg_dataset_label(const struct dg_dataset *dataset, int64_t i); /* class index; -1: without classes */

int dg_dataset_classes(const struct dg_dataset *dataset); /* 0: without */
const char *dg_dataset_class_name(const struct dg_dataset *dataset, int label);

/* Sets number[classes of `dataset`] to the number of the class of that name in `reference`, and tells `log` which
 * classes of `reference`, which may be `dataset` itself, have no images in `dataset`. DG_ERR_INPUT: `reference` lacks classes; the text names them, and
 * those of nearly the same name. */
enum dg_status dg_dataset_match_classes(const struct dg_dataset *dataset, const struct dg_dataset *reference,
                                        int *number, const struct dg_log *log, struct dg_error *err);

/* Hash of the relative paths in order, each with its terminating zero, of their classes where the paths do not have them, and of
 * what an archive says of its members' bytes: the same list, the same hash, on any machine. */
uint64_t dg_dataset_hash(const struct dg_dataset *dataset);

/* Whether some of the images are members of archives. */
bool dg_dataset_has_archives(const struct dg_dataset *dataset);
/* Writes what is in the archives to `path` (NULL: nowhere), unless all of it was read from data.index, for the next opening, and
 * frees it. To be called once, of a data set that was opened with data.index. DG_ERR_IO. */
enum dg_status dg_dataset_save_index(struct dg_dataset *dataset, const char *path, struct dg_error *err);

/* ---- how its images are read ---- */

struct dg_image_rules dg_dataset_rules(const struct dg_dataset *dataset);

/* Makes a decoder follow the rules, and keep notes of the images for dg_dataset_say_notes. */
void dg_dataset_set_decoder(const struct dg_dataset *dataset, struct dg_image_decoder *decoder);

/* Decodes image i, from its file or archive: dg_image_decode_file. A decoder a thread. */
enum dg_status dg_dataset_decode(const struct dg_dataset *dataset, int64_t i, struct dg_image_decoder *decoder,
                                 struct dg_image *image, struct dg_error *err);

/* The same of one image that is no data set's: a file, or ARCHIVE:MEMBER, for which the archive is read through. */
enum dg_status dg_data_decode(const char *path, struct dg_image_decoder *decoder, struct dg_image *image,
                              struct dg_error *err);

/* Warns of images that were decoded and are hardly what one expects (dg_image_notes_say). */
void dg_dataset_say_notes(const struct dg_dataset *dataset, const struct dg_log *log);

/* ---- images that turn out to be unreadable ---- */

struct dg_left_out {
    char *relative, *reason;
};

/* Takes images, which are settled, off the list, which moves up. */
enum dg_status dg_dataset_leave_out(struct dg_dataset *dataset, const struct dg_bad_images *bad, struct dg_error *err);
/* Those that were, in order. */
const struct dg_left_out *dg_dataset_left_out(const struct dg_dataset *dataset, int64_t *count);

#endif

/* Where the images of a data set are, and what their classes are for. */
#ifndef DG_RUNTIME_DATA_DATA_H
#define DG_RUNTIME_DATA_DATA_H

#include "runtime/image/image.h"

/* An image's index must fit into 32 bits and into the random stream of its crops (ops/base/rng.h). */
#define DG_DATASET_MAX_IMAGES INT64_C(2147483647)

/* Where the images are. Strings outlive the call that they are given to. */
struct dg_data {
    const char *const *path; /* [paths] folders, archives, and lists of either as "@FILE" */
    int paths;
    /* A file with one class per line, or a folder with one folder per class: these are the classes, in that order. NULL: the
     * folders are the classes. */
    const char *classes_from;
    struct dg_image_rules rules; /* how the images are read */
    const char *index; /* a file with the members of archives, which is read if it is there (dg_dataset_save_index) */
};

/* One folder or archive, for the block that it stands in. */
#define DG_FOLDER(name) ((struct dg_data){.path = (const char *const[]){name}, .paths = 1})

/* Bytes of the path before the part within an archive: of "x.tar/train" 5, if x.tar is a file. Else all of it. */
size_t dg_data_file_size(const char *path);
/* The absolute path without links and slashes at its end, also of a part or a member of an archive; NULL: it is not
 * there. The caller frees it. */
char *dg_data_real_path(const char *path);
/* The same of a path of struct dg_data: "@FILE" stays one of FILE, and what is not there stays as it is. The caller frees it; NULL: out of
 * memory. */
char *dg_data_absolute_path(const char *path);

/* What the classes are for. */
enum dg_labels {
    DG_LABELS_UNUSED, /* all images below the folders, at any depth, without classes */
    DG_LABELS_IF_ANY, /* classes if the folders have them */
    DG_LABELS_NEEDED, /* DG_ERR_INPUT without classes, or where one would be empty */
};

#endif

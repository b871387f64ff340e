/* The list of a data set while it is made; for the files of this room that make it. */
#ifndef DG_RUNTIME_DATA_LISTING_H
#define DG_RUNTIME_DATA_LISTING_H

#include "runtime/data/archives.h"
#include "runtime/data/data.h"
#include "runtime/data/passed_over.h"
#include "runtime/image/notes.h"

struct dg_listed {
    char *path;           /* owned; of an archive's member ARCHIVE:MEMBER */
    uint32_t folder_size; /* bytes of `path` before its last slash, or the colon */
    uint32_t root_size;   /* bytes of `path` before the relative part */
    int32_t label;        /* class; -1: none */
    int32_t source;       /* which of the paths in struct dg_data */
    uint32_t member;      /* in `archives`, from 1; 0: a file */
};

struct dg_classes {
    char **name;  /* [count], owned */
    int *by_name; /* [count] numbers, sorted by name */
    int count, capacity;
    bool fixed; /* as dg_data.classes_from says: none is added */
};

struct dg_dataset {
    struct dg_listed *image;
    int64_t count, capacity;
    struct dg_classes classes;
    int sources;
    bool labels_apart; /* classes are those of lists or of samples, not of folders */
    struct dg_archives archives;
    struct dg_image_rules rules;
    struct dg_image_notes *notes; /* owned */
    struct dg_passed_over over;
    struct dg_left_out *left_out;
    int64_t left_out_count;
};

/* What a source is read for, and what it turns out to be. */
struct dg_source {
    struct dg_dataset *dataset;
    const struct dg_data *data;
    enum dg_labels labels;
    const struct dg_log *log;
    const char *path; /* without slashes at its end, or a list's without the @ */
    const char *real; /* of a folder: its path without links */
    int number;
};

enum dg_status dg_listing_no_memory(struct dg_error *err);

/* Appends an image of source `number`. Owns `path` from here on. DG_ERR_INPUT: too many. */
enum dg_status dg_listing_add(struct dg_dataset *dataset, const struct dg_listed *image, struct dg_error *err);

const char *dg_listing_relative(const struct dg_listed *image); /* below its folder or archive */
/* Sorts the images from `first` on by folder, then by name. */
void dg_listing_sort_from(struct dg_dataset *dataset, int64_t first);

/* Adds the images of a folder (folder.c), or those that a list names (file_list.c). */
enum dg_status dg_listing_add_folder(struct dg_source *source, struct dg_error *err);
enum dg_status dg_listing_add_file_list(struct dg_source *source, struct dg_error *err);
/* Adds the images of the archives of these names in the folder source->path, or of the archive, or folder of an archive, that is the
 * source (archive_list.c). */
enum dg_status dg_listing_add_archives(struct dg_source *source, const char *const *name, int count,
                                       struct dg_error *err);
enum dg_status dg_listing_add_archive(struct dg_source *source, struct dg_error *err);
/* The same of an archive that a list names, whose names from `root_size` on are relative. `label`: the class of all of its images;
 * -1: as it has them itself. */
enum dg_status dg_listing_add_listed_archive(struct dg_source *source, const char *path, uint32_t root_size,
                                             int32_t label, struct dg_error *err);

/* Adds the image if its path, which it owns, is ARCHIVE:MEMBER of an archive and a member that are there; else *found is false, and the
 * path the caller's. */
enum dg_status dg_listing_add_member(struct dg_source *source, struct dg_listed *image, bool *found,
                                     struct dg_error *err);

/* ---- names of archives without their endings, `stem` (shards.c) ---- */

/* Whether they are shards of one set: they have one name but for a number, and at least half of the numbers from the first to the last are
 * there. (The numbers of ImageNet's classes are far apart.) */
bool dg_are_shards(char *const *stem, int count);
/* Looks for shards of several sets: names that differ before their numbers, one of which says a split. DG_ERR_INPUT: classes are used;
 * in training the log says that all are taken. */
enum dg_status dg_check_shards(const struct dg_source *source, char *const *stem, int count, struct dg_error *err);

/* ---- the top level of a folder or an archive (top_level.c) ---- */

struct dg_top {
    int64_t first;         /* image of it */
    int64_t strays;        /* images beside the folders; they are the first */
    int64_t below;         /* images in the folders */
    const char *folder;    /* the first one with images; NULL: none */
    const char *no_images; /* the first one without */
    int64_t without;       /* how many of those there are */
    int splits;            /* folders with images and the name of a split */
};

/* Adds the images of a folder of the top level. */
typedef enum dg_status dg_top_images(struct dg_source *source, const void *context, struct dg_error *err);

/* In this order: the images beside the folders are added, then each folder, a class unless classes are not used, then it is
 * settled what they are. `name` outlives that. */
struct dg_top dg_top_make(const struct dg_source *source);
void dg_top_end_strays(const struct dg_source *source, struct dg_top *top);
enum dg_status dg_top_add(struct dg_source *source, struct dg_top *top, const char *name, dg_top_images *add,
                          const void *context, struct dg_error *err);
/* DG_ERR_INPUT: images beside folders that would be classes, classes without images. */
enum dg_status dg_top_settle(struct dg_source *source, struct dg_top *top, struct dg_error *err);

/* ---- classes (classes.c) ---- */

/* Reads data.classes_from. */
enum dg_status dg_classes_read(const char *path, struct dg_classes *classes, struct dg_error *err);
/* The number of the class, which is added if the classes are not fixed; -1: it is not one of them. */
enum dg_status dg_classes_number(struct dg_classes *classes, const char *name, int *number, struct dg_error *err);
/* Sorts the classes that are not fixed by name, and renumbers the images. */
enum dg_status dg_classes_sort(struct dg_dataset *dataset, struct dg_error *err);
/* DG_ERR_INPUT: two that look the same, one alone where several are needed, splits, classes without a readable image. */
enum dg_status dg_classes_check(const struct dg_dataset *dataset, const struct dg_data *data, enum dg_labels labels,
                                struct dg_error *err);
/* "train", "val" and the like. */
bool dg_is_split(const char *name);
void dg_classes_free(struct dg_classes *classes);

/* ---- files (folder.c) ---- */

/* Whether a folder is what training, the linear probe or dinorun attention leave; has(context, NAME) says what is in it. */
bool dg_is_own_folder(bool (*has)(const void *context, const char *name), const void *context);
/* What a file is that begins with these bytes, at least one: DG_PASS_NONE (an image of `format`), DG_PASS_OWN, DG_PASS_OTHER. */
enum dg_pass_reason dg_look_at(const void *head, size_t size, enum dg_image_format *format);

/* What a file is by its first bytes. DG_PASS_NONE: an image of `format`; DG_PASS_OWN, DG_PASS_OTHER,
 * DG_PASS_EMPTY, DG_PASS_CLOSED. */
enum dg_pass_reason dg_look_into(const char *path, enum dg_image_format *format);

/* The same of what `context` is, a file or a member of an archive. */
typedef enum dg_pass_reason dg_look(const void *context, enum dg_image_format *format);

/* Whether a file is an image: by its name, or else by its first bytes. On the top level (`top`), where people put what they have
 * drawn, a PNG is looked into, too. DG_PASS_NONE: an image of *format, which this build may not read, or with DG_FORMAT_UNKNOWN
 * one by its name alone; else as `look` says. */
enum dg_pass_reason dg_find_kind(const char *name, bool top, dg_look *look, const void *context,
                                 enum dg_image_format *format);

#endif

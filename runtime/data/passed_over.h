/* What of a folder is no data: why, how much, and how that is said. */
#ifndef DG_RUNTIME_DATA_PASSED_OVER_H
#define DG_RUNTIME_DATA_PASSED_OVER_H

#include "runtime/base/log.h"
#include "runtime/image/format.h"

enum dg_pass_reason {
    DG_PASS_NONE, /* it is not passed over */
    DG_PASS_HIDDEN,
    DG_PASS_LEFTOVER,   /* of viewers, drives and archives */
    DG_PASS_UNFINISHED, /* backups, downloads and files that are being written, by their endings */
    DG_PASS_OWN,        /* a folder that dinorun wrote */
    DG_PASS_OTHER,      /* a file that is no image */
    DG_PASS_EMPTY,
    DG_PASS_DANGLING,      /* a link to nothing */
    DG_PASS_LOOP,          /* a link to a folder above, or in a circle */
    DG_PASS_LINKED,        /* a link to a folder that is among the data by itself */
    DG_PASS_SPECIAL,       /* a pipe, a socket, a device */
    DG_PASS_CLOSED,        /* without permission to read it */
    DG_PASS_NO_IMAGES,     /* a folder without images */
    DG_PASS_NO_CLASS,      /* not among the classes that were asked for */
    DG_PASS_ARCHIVED_LINK, /* a symbolic link in an archive, or a link to no member */
    DG_PASS_SAMPLE,        /* of a sample of an archive, beside its image */
    DG_PASS_REASONS
};

struct dg_passed_over {
    int64_t count[DG_PASS_REASONS], format_count[DG_FORMAT_COUNT];    /* format: images of formats that are not read */
    char *example[DG_PASS_REASONS], *format_example[DG_FORMAT_COUNT]; /* the first of each; owned */
    enum dg_image_format known; /* of the first file of another kind that is known: an archive, a video */
    char *known_example;        /* owned */
};

/* Zero-initialise; free with dg_passed_over_free. */
void dg_passed_over_add(struct dg_passed_over *over, enum dg_pass_reason reason, const char *path);
void dg_passed_over_add_format(struct dg_passed_over *over, enum dg_image_format format, const char *path);
/* Of a file that was added as DG_PASS_OTHER. */
void dg_passed_over_add_known(struct dg_passed_over *over, enum dg_image_format format, const char *path);
void dg_passed_over_free(struct dg_passed_over *over);

/* DG_PASS_HIDDEN or DG_PASS_LEFTOVER by the name alone; else DG_PASS_NONE. */
enum dg_pass_reason dg_pass_by_name(const char *name);
/* The same of each part of a relative path, since a folder that is passed over takes all below it along. Sets *reason by the first part
 * that is passed over, and returns the bytes of the path to the end of that part; those of all of it if there is none. */
size_t dg_pass_by_path(const char *path, enum dg_pass_reason *reason);
/* True for the name of a file that is a backup, or is being written. */
bool dg_is_unfinished(const char *name);

/* "3 hidden (.DS_Store), 2 of other kinds (notes.txt), 1 HEIC (a.heic); b.zip is an archive: unpack it" into `text`; "" if there is nothing.
 * Returns `text`. */
const char *dg_passed_over_text(const struct dg_passed_over *over, char *text, size_t size);

/* One line to the log, for `data`, of what is no data, and one of images in formats that are not read, with what to do. */
void dg_passed_over_say(const struct dg_passed_over *over, const char *data, const struct dg_log *log);

#endif

/* What is to be said of images that were decoded, and how many there are of which it is. */
#ifndef DG_RUNTIME_IMAGE_NOTES_H
#define DG_RUNTIME_IMAGE_NOTES_H

#include "runtime/base/log.h"

#include <pthread.h>

/* What is right by Pillow, but hardly what one expects of the image. */
enum dg_image_note {
    DG_NOTE_CLIPPED = 1,  /* gray of more than 8 bits: what is above 255 became white */
    DG_NOTE_LOST = 2,     /* the file is damaged, and pixels are lost: gray or black */
    DG_NOTE_CHECKSUM = 4, /* a checksum is wrong or missing: pixels may be wrong */
    DG_NOTE_PALETTE = 8,  /* pixels are of colours that the palette lacks: black */
    DG_NOTE_TURNED = 16,  /* EXIF says that the image is to be shown turned, and it was not turned */
    DG_NOTE_FRAMES = 32,  /* it is the first of several pictures in the file */
    DG_NOTE_ALPHA = 64,   /* parts of it are transparent, and are not here */
};
enum { DG_IMAGE_NOTES = 7, DG_NOTE_EXAMPLES = 3, DG_NOTE_EXAMPLE_BYTES = 256 };

/* Counts images, each once for a note however often it is decoded; from many threads. */
struct dg_image_notes {
    pthread_mutex_t lock;
    uint64_t *seen; /* hashes of a note and a path, in an open table; 0 is an empty place */
    size_t seen_count, seen_capacity;
    int64_t count[DG_IMAGE_NOTES], said[DG_IMAGE_NOTES];
    char example[DG_IMAGE_NOTES][DG_NOTE_EXAMPLES][DG_NOTE_EXAMPLE_BYTES]; /* the first paths, escaped */
};

void dg_image_notes_init(struct dg_image_notes *notes);
void dg_image_notes_free(struct dg_image_notes *notes);

/* `bits` of enum dg_image_note for the image at `path`. */
void dg_image_notes_add(struct dg_image_notes *notes, const char *path, unsigned bits);

/* One warning to `log` (may be NULL) for each note that was added to images since it was said last: how many they are,
 * the first of them, and what to do. */
void dg_image_notes_say(struct dg_image_notes *notes, const struct dg_log *log);

#endif

/* What a thread that reads images reuses from image to image. */
#ifndef DG_RUNTIME_DATA_IMAGE_READER_H
#define DG_RUNTIME_DATA_IMAGE_READER_H

#include "runtime/image/decode.h"

/* Room that each thread has for a decoded image from the start; as much is counted for the file and for resampling.
 * What a larger image takes (3 bytes a pixel, and what libjpeg needs: for a progressive file up to 8 more) is given
 * back after it. */
#define DG_IMAGE_READER_BYTES (INT64_C(4) << 20)

struct dg_image_reader {
    struct dg_image_decoder decoder;
    struct dg_image image;  /* the last one decoded */
    struct dg_scratch view; /* one view of it, 8 bits */
    struct dg_scratch work;
};

/* The bytes of a reader whose largest view has `pixels` pixels. */
int64_t dg_image_reader_bytes(int64_t pixels);

/* Allocates the room for one image and one view. DG_ERR_MEMORY. On failure *reader is NULL. */
enum dg_status dg_image_reader_open(int64_t pixels, struct dg_image_reader **reader, struct dg_error *err);
void dg_image_reader_close(struct dg_image_reader *reader); /* NULL is fine */

/* Gives back what a large image took, so that the reader goes on with what was counted. */
void dg_image_reader_trim(struct dg_image_reader *reader);

#endif

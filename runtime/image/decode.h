/* Decodes JPEG and PNG files, recognised by content, to RGB, with the bytes of Pillow's
 * Image.open(path).convert("RGB").
 *
 * JPEG: baseline and progressive, gray, YCbCr, RGB, CMYK and YCCK; slow-integer IDCT, fancy upsampling. PNG: every
 * colour type and depth, interlaced or not. Alpha and transparency are dropped; of 16-bit colour the high byte is
 * taken; 16-bit gray is clipped to 0..255 (as Pillow does, which does not scale it). EXIF orientation, colour profiles
 * and gamma are ignored. */
#ifndef DG_RUNTIME_IMAGE_DECODE_H
#define DG_RUNTIME_IMAGE_DECODE_H

#include "runtime/image/image.h"

/* Larger files are refused. */
#define DG_IMAGE_MAX_FILE_BYTES (INT64_C(1) << 30)

/* One a thread. Zero-initialise; free with dg_image_decoder_free. */
struct dg_image_decoder {
    struct dg_scratch file; /* the file's bytes */
    struct dg_scratch row;  /* one row before its conversion to RGB */
};
void dg_image_decoder_free(struct dg_image_decoder *decoder);

/* Decodes the file at `path` into `image`, reusing its buffer. Errors name the path: DG_ERR_IO (cannot be read),
 * DG_ERR_INPUT (no JPEG or PNG, damaged, cut short, too large), DG_ERR_MEMORY. `image` is undefined after an error, but
 * can be used again. */
enum dg_status dg_image_decode_file(struct dg_image_decoder *decoder, const char *path, struct dg_image *image,
                                    struct dg_error *err);

/* The same from memory; `name` stands for the path in errors. */
enum dg_status dg_image_decode_memory(struct dg_image_decoder *decoder, const char *name, const void *bytes,
                                      size_t size, struct dg_image *image, struct dg_error *err);

#endif

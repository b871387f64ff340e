/* Decodes image files, recognised by content, to RGB: what Pillow's Image.open(path).convert("RGB") takes and refuses,
 * with the same pixels (Pillow 13, by whose rules torchvision's ImageFolder loads).
 *
 * JPEG: baseline and progressive, gray, YCbCr, RGB, CMYK and YCCK; slow-integer IDCT, fancy upsampling. PNG, BMP, PNM
 * (P1 to P6) and GIF: every colour type and depth that Pillow reads. WebP and TIFF where the build has libwebp and
 * libtiff; of TIFF all but L*a*b*. Of animations and files of several pictures the first is read. Alpha and
 * transparency are dropped; of 16-bit colour the high byte is taken; gray of more than 8 bits is clipped to 0..255, not
 * scaled. Colour profiles and gamma are ignored. TIFF is turned as its orientation says; of other formats Pillow
 * ignores EXIF's orientation, and struct dg_image_decoder has a switch for it. */
#ifndef DG_RUNTIME_IMAGE_DECODE_H
#define DG_RUNTIME_IMAGE_DECODE_H

#include "runtime/image/image.h"
#include "runtime/image/notes.h"

/* Larger files are refused. */
#define DG_IMAGE_MAX_FILE_BYTES (INT64_C(1) << 30)

/* One a thread. Zero-initialise; free with dg_image_decoder_free. */
struct dg_image_decoder {
    bool turns;                   /* turn images as EXIF's orientation says, like Pillow's ImageOps.exif_transpose */
    unsigned notes;               /* bits of enum dg_image_note on the last image */
    struct dg_image_notes *noted; /* NULL; or receives the notes on files, by their paths */
    struct dg_scratch file;       /* the file's bytes */
    struct dg_scratch work; /* what a decoder needs beside the image: a few rows, or a copy of an image to be turned */
};
void dg_image_decoder_free(struct dg_image_decoder *decoder);

/* Decodes the file at `path` into `image`, reusing its buffer. Errors name the path: DG_ERR_IO (cannot be read),
 * DG_ERR_INPUT (no format that is read, damaged, cut short, too large), DG_ERR_MEMORY. `image` is undefined after an
 * error, but can be used again. */
enum dg_status dg_image_decode_file(struct dg_image_decoder *decoder, const char *path, struct dg_image *image,
                                    struct dg_error *err);

/* The same from memory; `name` stands for the path in errors and notes. */
enum dg_status dg_image_decode_memory(struct dg_image_decoder *decoder, const char *name, const void *bytes,
                                      size_t size, struct dg_image *image, struct dg_error *err);

/* Makes room for the bytes of a file in decoder->file. DG_ERR_INPUT: it is too large; DG_ERR_MEMORY. */
enum dg_status dg_image_decoder_reserve(struct dg_image_decoder *decoder, const char *path, int64_t size,
                                        struct dg_error *err);

#endif

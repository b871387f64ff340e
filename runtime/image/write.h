/* Images to PNG files. */
#ifndef DG_RUNTIME_IMAGE_WRITE_H
#define DG_RUNTIME_IMAGE_WRITE_H

#include "ops/base/base.h"

/* Writes pixels [height, width, channels], 8 bits, as a gray (1 channel) or RGB (3 channels) PNG. The file is complete
 * or absent (runtime/base/atomic_file.h). DG_ERR_IO names the path. */
enum dg_status dg_image_write_png(const char *path, const uint8_t *pixels, int width, int height, int channels,
                                  struct dg_error *err);

/* The bytes of such a file, in memory: *bytes [*size], to be freed. DG_ERR_MEMORY. */
enum dg_status dg_image_encode_png(const uint8_t *pixels, int width, int height, int channels, char **bytes,
                                   size_t *size, struct dg_error *err);

/* dg_image_write_png of a picture that this program draws of others, RGB: it says so in its first bytes, so that it is
 * not taken for data where it lies among them. */
enum dg_status dg_image_write_drawing(const char *path, const uint8_t *pixels, int width, int height,
                                      struct dg_error *err);
/* True if a file that begins so is such a drawing. */
bool dg_image_is_drawing(const void *head, size_t size);

/* A file of labels [height, width], which are indices of the palette: PNG with a palette of 256 colours. */
enum dg_status dg_image_write_labels(const char *path, const uint8_t *label, int width, int height,
                                     const uint8_t palette[256][3], struct dg_error *err);

#endif

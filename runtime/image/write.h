/* Pictures to PNG files. */
#ifndef DG_RUNTIME_IMAGE_WRITE_H
#define DG_RUNTIME_IMAGE_WRITE_H

#include "ops/base/base.h"

/* Writes pixels [height, width, channels], 8 bits, as a gray (channels = 1) or RGB (3) PNG. The file is complete or not
 * there: it is written beside its place and renamed. DG_ERR_IO names the path (a full disk included). */
enum dg_status dg_image_write_png(const char *path, const uint8_t *pixels, int width, int height, int channels,
                                  struct dg_error *err);

#endif

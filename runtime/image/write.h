/* Images to PNG files. */
#ifndef DG_RUNTIME_IMAGE_WRITE_H
#define DG_RUNTIME_IMAGE_WRITE_H

#include "ops/base/base.h"

/* Writes pixels [height, width, channels], 8 bits, as a gray (1 channel) or RGB (3 channels) PNG. The file is complete
 * or absent (runtime/base/atomic_file.h). DG_ERR_IO names the path. */
enum dg_status dg_image_write_png(const char *path, const uint8_t *pixels, int width, int height, int channels,
                                  struct dg_error *err);

#endif

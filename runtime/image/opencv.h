/* Resizing with the bytes of OpenCV's resize on 8 bits with INTER_LINEAR: bilinear between the centres of pixels, not
 * antialiased, in fixed point of 11 bits a direction. */
#ifndef DG_RUNTIME_IMAGE_OPENCV_H
#define DG_RUNTIME_IMAGE_OPENCV_H

#include "runtime/image/image.h"

/* Resizes `image` to width x height, into `resized`. DG_ERR_INPUT (too large), DG_ERR_MEMORY. */
enum dg_status dg_opencv_resize(const struct dg_image *image, int width, int height, struct dg_image *resized,
                                struct dg_scratch *work, struct dg_error *err);

#endif

/* Bilinear interpolation of an image's numbers, without antialiasing: PyTorch's interpolate(scale_factor=scale,
 * mode="bilinear", align_corners=False), by which the official code makes the scales of an image. */
#ifndef DG_RUNTIME_IMAGE_INTERPOLATE_H
#define DG_RUNTIME_IMAGE_INTERPOLATE_H

#include "ops/base/base.h"

/* Pixels of a side after scaling. */
int dg_interpolated_size(int size, double scale);

/* in [height, width, 3] to out, of the two sides' dg_interpolated_size. `scale` is positive. */
void dg_interpolate(const float *in, int height, int width, double scale, float *out);

#endif

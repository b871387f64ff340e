/* Resizing with the bytes of Pillow (its Resample.c): antialiased, horizontally and vertically, each pass rounded to 8
 * bits, weights in fixed point of 22 bits; a pass whose size does not change is skipped. The horizontal pass is the
 * first; since Pillow 13 the vertical one is where the height loses more than twice the pixels that the width loses. */
#ifndef DG_RUNTIME_IMAGE_RESAMPLE_H
#define DG_RUNTIME_IMAGE_RESAMPLE_H

#include "runtime/image/image.h"

enum dg_filter {
    DG_FILTER_BICUBIC = 0, /* support 2, a = -0.5 */
    DG_FILTER_BILINEAR,    /* support 1 */
    DG_FILTER_LANCZOS,     /* support 3 */
};

/* A filter, and whose order of passes. */
struct dg_resampling {
    enum dg_filter filter;
    int pillow; /* dg_image_rules.pillow */
};

/* A rectangle of pixels. */
struct dg_box {
    int left, top, width, height;
};

/* Cuts `box` out of `image`, then resizes it to width x height: the filter never sees a pixel outside the box. `out` is
 * [height, width, 3] without gaps. `work` grows as needed. DG_ERR_USAGE when the box is empty or not inside the
 * image. */
enum dg_status dg_image_resize(const struct dg_image *image, struct dg_box box, struct dg_resampling how, int width,
                               int height, uint8_t *out, struct dg_scratch *work, struct dg_error *err);

/* The same of a whole image of which only `across` x `down` pixels, from the upper left corner, are shown: of images
 * that were reduced by a factor that does not divide them. 0 < across <= image->width, and likewise down. */
enum dg_status dg_image_resize_extent(const struct dg_image *image, float across, float down, struct dg_resampling how,
                                      int width, int height, uint8_t *out, struct dg_scratch *work,
                                      struct dg_error *err);

/* The evaluation transform (that of the official eval_knn.py): resize the image, keeping its shape, then cut width x
 * height out of its middle.
 *
 * For a square crop this is Resize(short side = `resize`) and CenterCrop, as torchvision has them: the long side is
 * truncated, the offset rounded half to even. For other shapes `resize` is what the crop's width would be resized to,
 * and the image gets the least size, in its own shape, that covers resize x round(resize * height / width); so the crop
 * keeps the same margin on its tight side. Only what the crop shows is computed. resize >= width. */
enum dg_status dg_image_resize_center_crop(const struct dg_image *image, struct dg_resampling how, int resize,
                                           int width, int height, uint8_t *out, struct dg_scratch *work,
                                           struct dg_error *err);

/* Mirrors the columns of [height, width, 3] in place. */
void dg_image_flip(uint8_t *pixels, int width, int height);

#endif

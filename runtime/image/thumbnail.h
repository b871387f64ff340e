/* Images reduced to fit into a square, with the bytes of Pillow's Image.thumbnail(LANCZOS), as the official
 * eval_image_retrieval.py shows them: first by means over blocks, as far as twice the size is left, then by Lanczos. */
#ifndef DG_RUNTIME_IMAGE_THUMBNAIL_H
#define DG_RUNTIME_IMAGE_THUMBNAIL_H

#include "runtime/image/resample.h"

/* The size of the thumbnail: the long side is `side`, the short one what keeps the shape best, at least 1. Images that
 * fit already keep theirs. */
void dg_thumbnail_size(int width, int height, int side, int *thumbnail_width, int *thumbnail_height);

/* Makes it, in `thumbnail`. DG_ERR_MEMORY. */
enum dg_status dg_image_thumbnail(const struct dg_image *image, int side, int pillow, struct dg_image *thumbnail,
                                  struct dg_scratch *work, struct dg_error *err);

#endif

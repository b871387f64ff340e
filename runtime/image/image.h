/* An image in memory and the reusable buffers of a thread that handles many images. */
#ifndef DG_RUNTIME_IMAGE_IMAGE_H
#define DG_RUNTIME_IMAGE_IMAGE_H

#include "ops/base/base.h"

/* Images of more pixels are refused before anything is allocated: Pillow's own limit against decompression bombs. */
#define DG_IMAGE_MAX_PIXELS INT64_C(178956970)

/* How images are read, where that can be chosen. */
struct dg_image_rules {
    bool exif;  /* turned as EXIF's orientation says */
    int pillow; /* 12: resized as by Pillow up to 12; otherwise as by Pillow 13 */
};
static inline int dg_image_rules_pillow(struct dg_image_rules rules) { return rules.pillow == 12 ? 12 : 13; }

/* sRGB, 8 bits a channel, rows without gaps. Zero-initialise; free with dg_image_free. */
struct dg_image {
    int width, height;
    uint8_t *pixels; /* [height, width, 3] */
    size_t capacity; /* bytes at `pixels` */
};

/* Makes room for width x height pixels and sets the size. Allocates only when the buffer is too small; the content is
 * undefined afterwards. DG_ERR_INPUT for an empty or too large size, DG_ERR_MEMORY; `image` is then unchanged. */
enum dg_status dg_image_reserve(struct dg_image *image, int64_t width, int64_t height, struct dg_error *err);
void dg_image_free(struct dg_image *image);

/* A buffer that only grows. Zero-initialise; free with dg_scratch_free. */
struct dg_scratch {
    void *bytes; /* 64-byte aligned */
    size_t capacity;
};

/* At least `size` bytes; the content is undefined afterwards. */
enum dg_status dg_scratch_reserve(struct dg_scratch *scratch, size_t size, struct dg_error *err);
void dg_scratch_free(struct dg_scratch *scratch);

#endif

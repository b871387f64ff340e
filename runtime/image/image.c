#include "runtime/image/image.h"

#include <stdlib.h>

enum dg_status dg_image_reserve(struct dg_image *image, int64_t width, int64_t height, struct dg_error *err)
{
    int64_t count;
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX || !dg_mul_i64(width, height, &count) ||
        count > DG_IMAGE_MAX_PIXELS) {
        return dg_fail(err, DG_ERR_INPUT, "an image of %lld x %lld pixels; the limit is %lld pixels", (long long)width,
                       (long long)height, (long long)DG_IMAGE_MAX_PIXELS);
    }
    size_t bytes = (size_t)count * 3;
    if (bytes > image->capacity) {
        uint8_t *pixels = malloc(bytes);
        if (!pixels) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %zu bytes", bytes);
        free(image->pixels);
        image->pixels = pixels;
        image->capacity = bytes;
    }
    image->width = (int)width;
    image->height = (int)height;
    return DG_OK;
}

void dg_image_free(struct dg_image *image)
{
    free(image->pixels);
    *image = (struct dg_image){0};
}

enum dg_status dg_scratch_reserve(struct dg_scratch *scratch, size_t size, struct dg_error *err)
{
    if (size <= scratch->capacity) return DG_OK;
    size_t rounded = (size + 63) / 64 * 64;
    void *bytes = rounded < size ? NULL : aligned_alloc(64, rounded);
    if (!bytes) return dg_fail(err, DG_ERR_MEMORY, "no memory for %zu bytes of image work space", size);
    free(scratch->bytes);
    scratch->bytes = bytes;
    scratch->capacity = rounded;
    return DG_OK;
}

void dg_scratch_free(struct dg_scratch *scratch)
{
    free(scratch->bytes);
    *scratch = (struct dg_scratch){0};
}

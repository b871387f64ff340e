#include "runtime/image/thumbnail.h"

#include <math.h>
#include <string.h>

static int preserving(double exact, double aspect, double side, bool is_width)
{
    int low = (int)floor(exact), high = (int)ceil(exact);
    double below = is_width ? fabs(aspect - low / side) : low ? fabs(aspect - side / low) : 0;
    double above = is_width ? fabs(aspect - high / side) : fabs(aspect - side / high);
    int best = above < below ? high : low;
    return best < 1 ? 1 : best;
}

void dg_thumbnail_size(int width, int height, int side, int *thumbnail_width, int *thumbnail_height)
{
    *thumbnail_width = width;
    *thumbnail_height = height;
    if (side >= width && side >= height) return;
    double aspect = (double)width / height;
    *thumbnail_width = *thumbnail_height = side;
    if (1 >= aspect)
        *thumbnail_width = preserving(side * aspect, aspect, side, true);
    else
        *thumbnail_height = preserving(side / aspect, aspect, side, false);
}

/* How many pixels become one before the rest is resampled: twice the pixels are to be left. */
static int reduction(int from, int to)
{
    int factor = (int)((double)from / to / 2.0);
    return factor > 1 ? factor : 1;
}

/* The mean of one channel of a block [height, width], as Pillow rounds it: by the reciprocal of their product. */
static uint8_t block_mean(const uint8_t *first, size_t stride, int width, int height)
{
    uint32_t count = (uint32_t)(width * height), sum = count / 2;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) sum += first[(size_t)y * stride + 3 * (size_t)x];
    return (uint8_t)(sum * ((1U << 24) / count) >> 24);
}

/* Blocks at the right and bottom have the pixels that are left. */
static enum dg_status reduce(const struct dg_image *image, int across, int down, struct dg_image *reduced,
                             struct dg_error *err)
{
    size_t stride = 3 * (size_t)image->width;
    DG_TRY(dg_image_reserve(reduced, (image->width + across - 1) / across, (image->height + down - 1) / down, err));
    uint8_t *out = reduced->pixels;
    for (int y = 0; y < reduced->height; y++)
        for (int x = 0; x < reduced->width; x++) {
            int width = (int)dg_min_i64(across, image->width - (int64_t)x * across);
            int height = (int)dg_min_i64(down, image->height - (int64_t)y * down);
            const uint8_t *first = image->pixels + (size_t)y * (size_t)down * stride + 3 * (size_t)(x * across);
            for (int c = 0; c < 3; c++) *out++ = block_mean(first + c, stride, width, height);
        }
    return DG_OK;
}

enum dg_status dg_image_thumbnail(const struct dg_image *image, int side, int pillow, struct dg_image *thumbnail,
                                  struct dg_scratch *work, struct dg_error *err)
{
    int width, height;
    dg_thumbnail_size(image->width, image->height, side, &width, &height);
    DG_TRY(dg_image_reserve(thumbnail, width, height, err));
    if (width == image->width && height == image->height) {
        memcpy(thumbnail->pixels, image->pixels, 3 * (size_t)width * (size_t)height);
        return DG_OK;
    }
    int across = reduction(image->width, width), down = reduction(image->height, height);
    struct dg_image reduced = {0};
    enum dg_status status = across > 1 || down > 1 ? reduce(image, across, down, &reduced, err) : DG_OK;
    struct dg_resampling how = {DG_FILTER_LANCZOS, pillow};
    if (status == DG_OK)
        status = dg_image_resize_extent(reduced.pixels ? &reduced : image, (float)((double)image->width / across),
                                        (float)((double)image->height / down), how, width, height, thumbnail->pixels,
                                        work, err);
    dg_image_free(&reduced);
    return status;
}

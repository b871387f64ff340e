#include "runtime/image/opencv.h"

#include <math.h>
#include <string.h>

enum { ONE = 1 << 11 };

/* Between which two pixels a pixel of the result lies, and their weights of ONE. */
struct tap {
    int first, second;
    int weight[2];
};

/* Beyond the border is the last pixel. Across, its weight is ONE then; down, it is split in two, which rounds
 * otherwise. */
static struct tap tap_of(int i, int size, int to_size, bool down)
{
    float at = (float)((i + 0.5) * ((double)size / to_size) - 0.5);
    int before = (int)floorf(at), last = size - 1;
    at -= (float)before;
    if (!down && (before < 0 || before >= last)) at = 0;
    int first = before < 0 ? 0 : before > last ? last : before;
    int second = before + 1 < 0 ? 0 : before + 1 > last ? last : before + 1;
    if (!down && before < 0) second = 0;
    return (struct tap){first, second, {(int)lrintf((1 - at) * ONE), (int)lrintf(at * ONE)}};
}

static void resize_row(const uint8_t *in, const struct tap *tap, int width, int *out)
{
    for (int x = 0; x < width; x++)
        for (int c = 0; c < 3; c++)
            *out++ = in[3 * tap[x].first + c] * tap[x].weight[0] + in[3 * tap[x].second + c] * tap[x].weight[1];
}

enum dg_status dg_opencv_resize(const struct dg_image *image, int width, int height, struct dg_image *resized,
                                struct dg_scratch *work, struct dg_error *err)
{
    size_t line = 3 * (size_t)width, pixels = (size_t)image->width * (size_t)image->height;
    DG_TRY(dg_image_reserve(resized, width, height, err));
    if (image->width == width && image->height == height) {
        memcpy(resized->pixels, image->pixels, 3 * pixels);
        return DG_OK;
    }
    DG_TRY(dg_scratch_reserve(work, sizeof(struct tap) * (size_t)width + 2 * line * sizeof(int), err));
    struct tap *tap = work->bytes;
    int *rows[2] = {(int *)(void *)(tap + width), (int *)(void *)(tap + width) + line}, held[2] = {-1, -1};
    for (int x = 0; x < width; x++) tap[x] = tap_of(x, image->width, width, false);
    for (int y = 0; y < height; y++) {
        struct tap at = tap_of(y, image->height, height, true);
        const int wanted[2] = {at.first, at.second};
        for (int r = 0; r < 2; r++) {
            int place = wanted[r] & 1; /* neighbours do not share one */
            if (held[place] != wanted[r])
                resize_row(image->pixels + 3 * (ptrdiff_t)wanted[r] * image->width, tap, width, rows[place]);
            held[place] = wanted[r];
        }
        const int *above = rows[at.first & 1], *below = rows[at.second & 1];
        uint8_t *out = resized->pixels + (size_t)y * line;
        for (size_t i = 0; i < line; i++)
            out[i] =
                (uint8_t)((((at.weight[0] * (above[i] >> 4)) >> 16) + ((at.weight[1] * (below[i] >> 4)) >> 16) + 2) >>
                          2);
    }
    return DG_OK;
}

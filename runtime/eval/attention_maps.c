#include "runtime/eval/attention_maps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum dg_status dg_attention_maps(const float *probs, int64_t heads, int64_t tokens, int64_t first, float *maps,
                                 struct dg_error *err)
{
    const int64_t count = tokens - first;
    for (int64_t h = 0; h < heads; h++) {
        const float *row = probs + h * tokens * tokens + first;
        float *map = maps + h * count;
        memcpy(map, row, sizeof(float) * (size_t)count);
        for (int64_t i = 0; i < count; i++)
            if (!isfinite(map[i]))
                return dg_fail(err, DG_ERR_NUMERIC,
                               "the attention of head %lld is not finite; are the weights those of a healthy run?",
                               (long long)h);
    }
    return DG_OK;
}

void dg_attention_mean(const float *maps, int64_t heads, int64_t count, float *mean)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t h = 0; h < heads; h++) sum += maps[h * count + i];
        mean[i] = (float)(sum / (double)heads);
    }
}

struct share {
    float value;
    int64_t patch;
};

static int compare_shares(const void *left, const void *right)
{
    const struct share *a = left, *b = right;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return a->patch < b->patch ? -1 : a->patch > b->patch;
}

enum dg_status dg_attention_mask(const float *map, int64_t count, double keep, uint8_t *mask, struct dg_error *err)
{
    struct share *share = malloc(sizeof *share * (size_t)count);
    if (!share) return dg_fail(err, DG_ERR_MEMORY, "no memory to sort %lld patches", (long long)count);
    double total = 0, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        share[i] = (struct share){map[i], i};
        total += map[i];
    }
    qsort(share, (size_t)count, sizeof *share, compare_shares);
    for (int64_t i = 0; i < count; i++) {
        sum += share[i].value / (float)total;
        mask[share[i].patch] = (float)sum > (float)(1 - keep);
    }
    free(share);
    return DG_OK;
}

static bool is_gray(const struct dg_image *image)
{
    for (int64_t i = 0; i < (int64_t)image->width * image->height; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        if (p[0] != p[1] || p[1] != p[2]) return false;
    }
    return true;
}

static uint32_t colour_at(const struct dg_image *image, int64_t i)
{
    const uint8_t *p = image->pixels + 3 * i;
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

enum { BLACK = 0, VOC_VOID = 0xe0e0c0 };

enum dg_status dg_mask_read(const struct dg_image *image, uint8_t *mask, int *objects, struct dg_error *err)
{
    uint32_t colour[DG_MASK_MAX_OBJECTS];
    bool gray = is_gray(image);
    *objects = 0;
    for (int64_t i = 0; i < (int64_t)image->width * image->height; i++) {
        uint32_t c = colour_at(image, i);
        if (gray) c = (c & 0xff) >= 128;
        int object = 0;
        while (object < *objects && colour[object] != c) object++;
        if (c == BLACK) {
            mask[i] = DG_MASK_GROUND;
        } else if (c == VOC_VOID) {
            mask[i] = DG_MASK_VOID;
        } else if (object == DG_MASK_MAX_OBJECTS) {
            return dg_fail(
                err, DG_ERR_INPUT,
                "a mask has one colour per object, and this has more than %d: is it a photograph, or resized?",
                DG_MASK_MAX_OBJECTS);
        } else {
            colour[object] = c;
            mask[i] = (uint8_t)(object + 1);
            if (object == *objects) ++*objects;
        }
    }
    return DG_OK;
}

/* The input's pixel that shows the middle of pixel `at` of an image `size` long, resized to `to`. */
static int nearest(int at, int size, int to) { return (int)(((2 * (int64_t)at + 1) * to) / (2 * (int64_t)size)); }

/* Pixels of both masks, and of either. */
struct overlap {
    int64_t both, either;
};

/* Of the pixels labelled `object`, or of every object's if that is DG_MASK_VOID, which then does not count. */
static struct overlap overlap_of(const uint8_t *mask, int height, int width, int object, const uint8_t *patch_mask,
                                 const struct dg_patches *patches)
{
    struct overlap o = {0};
    bool together = object == DG_MASK_VOID;
    for (int y = 0; y < height; y++) {
        int row = nearest(y, height, patches->height) / patches->size;
        for (int x = 0; x < width; x++) {
            uint8_t label = mask[(int64_t)y * width + x];
            if (together && label == DG_MASK_VOID) continue;
            bool is_object = together ? label != DG_MASK_GROUND : label == object;
            int col = nearest(x, width, patches->width) / patches->size;
            bool in = row < patches->rows && col < patches->cols && patch_mask[(int64_t)row * patches->cols + col];
            o.both += in && is_object;
            o.either += in || is_object;
        }
    }
    return o;
}

static double jaccard_of(struct overlap o) { return o.either ? (double)o.both / (double)o.either : 0; }

double dg_jaccard(const uint8_t *mask, int height, int width, int object, const uint8_t *patch_mask,
                  const struct dg_patches *patches)
{
    return jaccard_of(overlap_of(mask, height, width, object, patch_mask, patches));
}

double dg_jaccard_together(const uint8_t *mask, int height, int width, const uint8_t *patch_mask,
                           const struct dg_patches *patches)
{
    return jaccard_of(overlap_of(mask, height, width, DG_MASK_VOID, patch_mask, patches));
}

#include "runtime/eval/attention_maps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum dg_status dg_attention_maps(const float *probs, int64_t heads, int64_t tokens, float *maps, struct dg_error *err)
{
    for (int64_t h = 0; h < heads; h++) {
        const float *row = probs + h * tokens * tokens + 1;
        float *map = maps + h * (tokens - 1);
        memcpy(map, row, sizeof(float) * (size_t)(tokens - 1));
        for (int64_t i = 0; i < tokens - 1; i++)
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

int64_t dg_mask_read(const struct dg_image *image, uint8_t *mask)
{
    int64_t count = (int64_t)image->width * image->height, object = 0;
    bool gray = true;
    for (int64_t i = 0; i < count && gray; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        gray = p[0] == p[1] && p[1] == p[2];
    }
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        if (gray)
            mask[i] = p[0] >= 128 ? DG_MASK_OBJECT : DG_MASK_GROUND;
        else if (p[0] == 224 && p[1] == 224 && p[2] == 192)
            mask[i] = DG_MASK_VOID;
        else
            mask[i] = p[0] || p[1] || p[2] ? DG_MASK_OBJECT : DG_MASK_GROUND;
        object += mask[i] == DG_MASK_OBJECT;
    }
    return object;
}

/* The input's pixel that shows the middle of pixel `at` of an image `size` long, resized to `to`. */
static int nearest(int at, int size, int to) { return (int)(((2 * (int64_t)at + 1) * to) / (2 * (int64_t)size)); }

double dg_jaccard(const uint8_t *mask, int height, int width, const uint8_t *patch_mask,
                  const struct dg_patches *patches)
{
    int64_t both = 0, either = 0;
    for (int y = 0; y < height; y++) {
        int row = nearest(y, height, patches->height) / patches->size;
        for (int x = 0; x < width; x++) {
            uint8_t label = mask[(int64_t)y * width + x];
            if (label == DG_MASK_VOID) continue;
            int col = nearest(x, width, patches->width) / patches->size;
            bool in = row < patches->rows && col < patches->cols && patch_mask[(int64_t)row * patches->cols + col];
            both += in && label == DG_MASK_OBJECT;
            either += in || label == DG_MASK_OBJECT;
        }
    }
    return either ? (double)both / (double)either : 0;
}

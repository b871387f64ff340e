#include "runtime/eval/pooling.h"

#include <math.h>
#include <string.h>

enum dg_token_pooling dg_pooling_find(const char *name)
{
    int which = 0;
    for (const char *at = DG_POOLING_NAMES; at; which++) {
        const char *end = strchr(at, '|');
        size_t size = end ? (size_t)(end - at) : strlen(at);
        if (size == strlen(name) && !memcmp(at, name, size)) break;
        at = end ? end + 1 : NULL;
    }
    return (enum dg_token_pooling)which;
}

enum dg_entry_role dg_pooling_role(enum dg_token_pooling pooling)
{
    return pooling == DG_POOLING_CLS ? DG_ENTRY_FEATURES : DG_ENTRY_TOKENS;
}

int dg_pooling_shape(enum dg_token_pooling pooling, const struct dg_patches *patches, int64_t dim,
                     int64_t shape[DG_POOLING_MAX_DIMS])
{
    switch (pooling) {
    case DG_POOLING_TOKENS:
        shape[0] = dg_patches_tokens(patches);
        shape[1] = dim;
        return 2;
    case DG_POOLING_PATCHES:
        shape[0] = patches->rows;
        shape[1] = patches->cols;
        shape[2] = dim;
        return 3;
    case DG_POOLING_CLS_GEM:
    case DG_POOLING_CLS_PATCH_MEAN: shape[0] = 2 * dim; return 1;
    case DG_POOLING_CLS:
    case DG_POOLING_PATCH_MEAN:
    case DG_POOLING_GEM: break;
    }
    shape[0] = dim;
    return 1;
}

static void mean_of(const float *patch, int64_t count, int64_t dim, float *out)
{
    for (int64_t c = 0; c < dim; c++) {
        double sum = 0;
        for (int64_t p = 0; p < count; p++) sum += (double)patch[p * dim + c];
        out[c] = (float)(sum / (double)count);
    }
}

static void gem_of(const float *patch, int64_t count, int64_t dim, float *out)
{
    for (int64_t c = 0; c < dim; c++) {
        double sum = 0;
        for (int64_t p = 0; p < count; p++) {
            double x = fmax((double)patch[p * dim + c], 1e-6), square = x * x;
            sum += square * square;
        }
        out[c] = (float)sqrt(sqrt(sum / (double)count));
    }
}

void dg_pooling_apply(enum dg_token_pooling pooling, const struct dg_patches *patches, int64_t dim, const float *tokens,
                      float *out)
{
    if (pooling == DG_POOLING_CLS) {
        memcpy(out, tokens, sizeof *out * (size_t)dim);
        return;
    }
    int64_t count = dg_patches_count(patches);
    const float *patch = tokens + patches->first * dim;
    if (pooling == DG_POOLING_CLS_GEM || pooling == DG_POOLING_CLS_PATCH_MEAN) {
        memcpy(out, tokens, sizeof *out * (size_t)dim);
        out += dim;
    }
    switch (pooling) {
    case DG_POOLING_TOKENS: memcpy(out, tokens, sizeof *out * (size_t)(dg_patches_tokens(patches) * dim)); break;
    case DG_POOLING_PATCHES: memcpy(out, patch, sizeof *out * (size_t)(count * dim)); break;
    case DG_POOLING_PATCH_MEAN:
    case DG_POOLING_CLS_PATCH_MEAN: mean_of(patch, count, dim, out); break;
    case DG_POOLING_GEM:
    case DG_POOLING_CLS_GEM: gem_of(patch, count, dim, out); break;
    case DG_POOLING_CLS: break;
    }
}

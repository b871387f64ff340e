#include "runtime/eval/copy_detection.h"

#include <inttypes.h>
#include <string.h>

enum { PREFIX = 4 };

const char *const dg_copydays_block[DG_COPYDAYS_BLOCKS] = {
    "original",    "strong",      "jpegqual/3",  "jpegqual/5",  "jpegqual/8", "jpegqual/10", "jpegqual/15",
    "jpegqual/20", "jpegqual/30", "jpegqual/50", "jpegqual/75", "crops/10",   "crops/15",    "crops/20",
    "crops/30",    "crops/40",    "crops/50",    "crops/60",    "crops/70",   "crops/80"};

static const char *base_name(const struct dg_dataset *dataset, int64_t i)
{
    const char *path = dg_dataset_relative(dataset, i), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

struct scoring {
    const struct dg_dataset *originals, *block;
    bool strong;
};

static bool is_original(const struct scoring *s, int64_t image, int64_t of)
{
    if (!s->strong) return image == of;
    return !strncmp(base_name(s->originals, image), base_name(s->block, of), PREFIX);
}

static enum dg_status average_precision(const struct scoring *s, const struct dg_neighbor *nearest, int k, int64_t of,
                                        double *precision, struct dg_error *err)
{
    int64_t count = dg_dataset_count(s->originals), positives = 0, found = 0, rank[DG_COPYDAYS_FOUND];
    for (int64_t i = 0; i < count; i++) positives += is_original(s, i, of);
    if (!positives)
        return dg_fail(err, DG_ERR_INPUT, "%s: no original's name begins as its own", dg_dataset_path(s->block, of));
    for (int r = 0; r < k && r < DG_COPYDAYS_FOUND; r++)
        if (nearest[r].index < count && is_original(s, nearest[r].index, of)) rank[found++] = r;
    *precision = dg_average_precision(rank, found, positives);
    return DG_OK;
}

enum dg_status dg_copydays_score(const struct dg_dataset *originals, const struct dg_dataset *block, bool strong,
                                 const struct dg_ranking *ranking, double *map, struct dg_error *err)
{
    const struct scoring s = {originals, block, strong};
    int64_t images = dg_dataset_count(block);
    if (!strong && images != dg_dataset_count(originals))
        return dg_fail(err, DG_ERR_INPUT,
                       "%" PRId64 " images, and there are %" PRId64 " originals: which is whose copy?", images,
                       dg_dataset_count(originals));
    *map = 0;
    for (int64_t i = 0; i < images; i++) {
        double precision = 0;
        DG_TRY(average_precision(&s, ranking->nearest + i * ranking->k, ranking->k, i, &precision, err));
        *map += precision;
    }
    *map /= (double)images;
    return DG_OK;
}

#include "runtime/eval/image_features.h"

#include "runtime/base/memory.h"

#include <inttypes.h>
#include <stdlib.h>

static enum dg_status make_room(struct dg_image_features *f, int64_t all, struct dg_error *err)
{
    int64_t numbers, bytes, available = dg_memory_available();
    char need[32], have[32];
    if (!dg_mul_i64(all, f->dim, &numbers) || !dg_mul_i64(numbers, sizeof *f->features, &bytes) || bytes > available)
        return dg_fail(err, DG_ERR_MEMORY, "the features of %" PRId64 " images take %s, and %s are free", all,
                       dg_format_bytes(need, sizeof need, 4.0 * (double)all * (double)f->dim),
                       dg_format_bytes(have, sizeof have, (double)available));
    f->features = malloc((size_t)bytes);
    return f->features ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "no memory for the features");
}

static enum dg_status take(void *context, const struct dg_sized_output *output, int64_t index, int64_t done,
                           int64_t all, struct dg_error *err)
{
    struct dg_image_features *f = context;
    struct dg_patches patches = {0};
    int64_t token = output->dim, shape[DG_POOLING_MAX_DIMS];
    (void)index;
    if (f->pooling != DG_POOLING_CLS) {
        DG_TRY(dg_patches_init(output->plan, DG_ENTRY_TOKENS, &patches, err));
        token = output->dim / dg_patches_tokens(&patches);
    }
    dg_pooling_shape(f->pooling, &patches, token, shape);
    f->dim = shape[0];
    if (!f->features) DG_TRY(make_room(f, all, err));
    dg_pooling_apply(f->pooling, &patches, token, output->output, f->features + f->count++ * f->dim);
    if (f->progress) f->progress(done, all);
    return DG_OK;
}

enum dg_status dg_image_features_compute(struct dg_image_features *f, struct dg_sizes *sizes,
                                         const struct dg_sized_images *images, struct dg_error *err)
{
    return dg_sizes_evaluate(sizes, images, take, f, err);
}

void dg_image_features_free(struct dg_image_features *f)
{
    free(f->features);
    f->features = NULL;
    f->count = 0;
}

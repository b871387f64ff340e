#include "runtime/data/bench_crops.h"

#include "runtime/base/memory.h"
#include "runtime/data/train_source.h"
#include "runtime/data/views.h"

static enum dg_status read_batches(struct dg_loader *loader, int64_t batches, double *seconds, struct dg_error *err)
{
    double begin = 0;
    for (int64_t b = -1; b < batches; b++) { /* one to warm up */
        const struct dg_batch *batch;
        DG_TRY(dg_loader_next(loader, &batch, err));
        dg_loader_release(loader, batch);
        if (b < 0) begin = dg_seconds_now();
    }
    *seconds = dg_seconds_now() - begin;
    return DG_OK;
}

enum dg_status dg_bench_crops(const struct dg_knobs *knobs, const struct dg_dataset *dataset, int64_t images,
                              int threads, const struct dg_log *log, struct dg_bench_crops_result *result,
                              struct dg_error *err)
{
    struct dg_view_spec view[DG_MAX_VIEWS];
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(knobs->plan, DG_ENTRY_TRAIN, &entry, err));
    DG_TRY(dg_views_init(knobs->plan, knobs, view, &result->views, err));
    int64_t batch = entry->batch, batches = (images + batch - 1) / batch;
    struct dg_loader_config config = dg_loader_config_make(batch, threads, log);
    /* At the end as many batches are ready ahead as at the beginning, so the time is that of the batches counted. */
    struct dg_train_reading reading = {.dataset = dataset,
                                       .views = view,
                                       .view_count = result->views,
                                       .max_bad = dg_dataset_count(dataset),
                                       .steps_per_epoch = dg_dataset_count(dataset) / batch};
    struct dg_loader *loader;
    DG_TRY(dg_loader_open_train(&config, &reading, &loader, err));
    enum dg_status status = read_batches(loader, batches, &result->seconds, err);
    dg_loader_close(loader);
    result->images = batches * batch;
    result->threads = config.threads;
    return status;
}

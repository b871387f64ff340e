#include "runtime/data/train_source.h"

#include "ops/base/rng.h"
#include "runtime/data/image_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)DG_MAX_VIEWS <= (int)DG_LOADER_MAX_PARTS, "every view is a part");

struct train_source {
    struct dg_batch_source base;
    struct dg_train_reading reading;
    int64_t whole, first; /* rows of the whole batch, and where this loader's begin */
    int64_t images;
    int64_t largest;                  /* pixels of the largest view */
    int64_t *row_floats;              /* [view_count] */
    struct dg_view_spec *views;       /* [view_count] */
    struct dg_normalizer *normalizer; /* [view_count] */
    int32_t *order; /* [images] the permutation of epoch order_epoch; constant while rows are filled */
    int64_t order_epoch;
    struct dg_bad_set *bad, *own_bad; /* the reading's, or the source's own */
};

void dg_epoch_order(uint64_t seed, int64_t epoch, int64_t count, int32_t *order)
{
    struct dg_rng rng = dg_rng_make(seed, DG_RNG_ORDER, (uint64_t)epoch, 0);
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = 0; i + 1 < count; i++) {
        int64_t j = dg_rng_int(&rng, i, count);
        int32_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

/* ---- checks and sizes ---- */

static enum dg_status check(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                            struct dg_error *err)
{
    DG_TRY(dg_loader_check(config, err));
    DG_TRY(dg_loader_check_range("the number of views", reading->view_count, 1, DG_MAX_VIEWS, err));
    for (int v = 0; v < reading->view_count; v++) {
        char name[16];
        snprintf(name, sizeof name, "%d", v);
        DG_TRY(dg_view_spec_check(&reading->views[v], name, err));
    }
    int64_t images = dg_dataset_count(reading->dataset);
    int64_t batch = reading->whole ? reading->whole : config->batch;
    if (images < batch && !reading->rest)
        return dg_fail(err, DG_ERR_INPUT,
                       "%lld images are fewer than one batch of %lld; add images or use a smaller batch",
                       (long long)images, (long long)batch);
    int64_t most = (images + (reading->rest ? batch - 1 : 0)) / batch;
    DG_TRY(dg_loader_check_range("steps per epoch", reading->steps_per_epoch, 1, most, err));
    DG_TRY(dg_loader_check_range("the first epoch", reading->epoch, 0, (1 << 24) - 1, err));
    DG_TRY(dg_loader_check_range("the first step in its epoch", reading->step, 0, reading->steps_per_epoch - 1, err));
    DG_TRY(dg_loader_check_range("batches to read", reading->batches, 0, INT64_MAX / 2, err));
    return dg_loader_check_range("tolerated unreadable images", reading->max_bad, 0, INT64_MAX, err);
}

static int64_t view_pixels(const struct dg_view_spec *view) { return (int64_t)view->height * view->width; }

/* Fills row_floats [view_count], and the sizes and numbers of `base`. */
static int64_t size_up(const struct dg_train_reading *reading, int64_t *row_floats, struct dg_batch_source *base)
{
    int64_t images = dg_dataset_count(reading->dataset), largest = 0;
    for (int v = 0; v < reading->view_count; v++) {
        row_floats[v] = 3 * view_pixels(&reading->views[v]);
        largest = dg_max_i64(largest, view_pixels(&reading->views[v]));
    }
    base->num_parts = reading->view_count;
    base->row_floats = row_floats;
    base->worker_bytes = dg_image_reader_bytes(largest);
    base->own_bytes = images * (int64_t)sizeof(int32_t) + dg_bad_set_bytes(images);
    return largest;
}

enum dg_status dg_loader_train_bytes(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                     int64_t *bytes, struct dg_error *err)
{
    struct dg_batch_source sizes = {0};
    int64_t row_floats[DG_MAX_VIEWS];
    DG_TRY(check(config, reading, err));
    size_up(reading, row_floats, &sizes);
    return dg_loader_bytes(config, &sizes, bytes, err);
}

/* ---- unreadable images ---- */

/* Records an unreadable image; fails when it is one too many. */
static enum dg_status add_bad(struct train_source *s, struct dg_loader *loader, int64_t image,
                              const struct dg_error *reason, struct dg_error *err)
{
    int64_t count;
    if (dg_bad_set_add(s->bad, image, &count)) dg_loader_post(loader, DG_LOG_WARNING, "%s", reason->text);
    if (count <= s->reading.max_bad) return DG_OK;
    return dg_fail(
        err, DG_ERR_INPUT,
        "%lld unreadable images, more than the %lld tolerated; mend or remove them, or raise --max-bad-images. The "
        "last one: %s",
        (long long)count, (long long)s->reading.max_bad, reason->text);
}

/* ---- rows ---- */

/* Decodes the image of a place in the order, or its replacement. */
static enum dg_status decode_place(struct train_source *s, struct dg_image_reader *reader, struct dg_row *row,
                                   int64_t place, struct dg_error *err)
{
    for (int64_t i = 0; i < s->images; i++) {
        row->item = s->order[(place + i) % s->images];
        if (dg_bad_set_has(s->bad, row->item)) continue;
        struct dg_error reason = {0};
        const char *path = dg_dataset_path(s->reading.dataset, row->item);
        enum dg_status status =
            dg_dataset_decode(s->reading.dataset, row->item, &reader->decoder, &reader->image, &reason);
        if (status == DG_OK) return DG_OK;
        dg_error_escape_path(&reason, path);
        if (status == DG_ERR_MEMORY) return dg_fail(err, status, "%s", reason.text);
        DG_TRY(add_bad(s, row->loader, row->item, &reason, err));
    }
    return dg_fail(err, DG_ERR_INPUT, "none of the %lld images can be read", (long long)s->images);
}

static enum dg_status fill_views(struct train_source *s, struct dg_image_reader *reader, struct dg_row *row,
                                 struct dg_error *err)
{
    int64_t place = row->step * s->whole + s->first + row->index;
    DG_TRY(decode_place(s, reader, row, place, err));
    const struct dg_image *image = &reader->image;
    for (int v = 0; v < s->reading.view_count; v++) {
        const struct dg_view_spec *spec = &s->views[v];
        struct dg_view_draw draw =
            dg_view_sample(spec, image->width, image->height, s->reading.seed, row->epoch, s->order[place], v);
        DG_TRY(dg_view_apply(spec, &draw, image, reader->view.bytes, &reader->work, err));
        dg_normalize(&s->normalizer[v], reader->view.bytes, view_pixels(spec), row->part[v]);
    }
    return DG_OK;
}

static enum dg_status fill(struct dg_batch_source *source, void *worker, struct dg_row *row, struct dg_error *err)
{
    struct train_source *s = (struct train_source *)source;
    struct dg_image_reader *reader = worker;
    double begin = dg_loader_traces(row->loader) ? dg_seconds_now() : 0;
    enum dg_status status = fill_views(s, reader, row, err);
    if (status == DG_OK && begin > 0)
        dg_loader_post(row->loader, DG_LOG_TRACE, "image %s: %d x %d, %d views, %.3f ms",
                       dg_dataset_path(s->reading.dataset, row->item), reader->image.width, reader->image.height,
                       s->reading.view_count, 1e3 * (dg_seconds_now() - begin));
    dg_image_reader_trim(reader);
    return status;
}

/* ---- batches ---- */

static int64_t step_of(const struct train_source *s, int64_t number)
{
    return s->reading.step + number * dg_max_i64(1, s->reading.stride);
}

static int64_t epoch_of(const struct train_source *s, int64_t number)
{
    return s->reading.epoch + step_of(s, number) / s->reading.steps_per_epoch;
}

/* The order of an epoch stays until all its rows are filled. */
static bool waits(const struct dg_batch_source *source, int64_t number)
{
    const struct train_source *s = (const struct train_source *)source;
    return epoch_of(s, number) != s->order_epoch;
}

static void begin(struct dg_batch_source *source, int64_t number, struct dg_batch *batch)
{
    struct train_source *s = (struct train_source *)source;
    batch->epoch = epoch_of(s, number);
    batch->step = step_of(s, number) % s->reading.steps_per_epoch;
    batch->rows = (int)dg_min_i64(batch->rows, s->images - batch->step * s->whole - s->first);
    if (batch->epoch == s->order_epoch) return;
    dg_epoch_order(s->reading.seed, batch->epoch, s->images, s->order);
    s->order_epoch = batch->epoch;
}

/* ---- opening and closing ---- */

static enum dg_status open_worker(struct dg_batch_source *source, void **worker, struct dg_error *err)
{
    struct dg_image_reader *reader;
    const struct train_source *s = (const struct train_source *)source;
    enum dg_status status = dg_image_reader_open(s->largest, &reader, err);
    if (status == DG_OK) dg_dataset_set_decoder(s->reading.dataset, &reader->decoder);
    *worker = reader;
    return status;
}

static void close_worker(void *worker) { dg_image_reader_close(worker); }

static void close_source(struct dg_batch_source *source)
{
    struct train_source *s = (struct train_source *)source;
    free(s->row_floats);
    free(s->views);
    free(s->normalizer);
    free(s->order);
    dg_bad_set_close(s->own_bad);
    free(s);
}

static enum dg_status open_source(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                  struct dg_batch_source **source, struct dg_error *err)
{
    struct train_source *s = calloc(1, sizeof *s);
    if (!s) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    s->reading = *reading;
    s->whole = reading->whole ? reading->whole : config->batch;
    s->first = reading->first;
    s->images = dg_dataset_count(reading->dataset);
    s->order_epoch = -1;
    size_t views = (size_t)reading->view_count;
    s->row_floats = calloc(views, sizeof *s->row_floats);
    s->views = calloc(views, sizeof *s->views);
    s->normalizer = calloc(views, sizeof *s->normalizer);
    s->order = malloc((size_t)s->images * sizeof *s->order);
    s->bad = reading->bad;
    if (!s->bad && dg_bad_set_open(s->images, &s->own_bad, NULL) == DG_OK) s->bad = s->own_bad;
    if (!s->row_floats || !s->views || !s->normalizer || !s->order || !s->bad) {
        enum dg_status status =
            dg_fail(err, DG_ERR_MEMORY, "no memory for the order of %lld images", (long long)s->images);
        close_source(&s->base);
        return status;
    }
    memcpy(s->views, reading->views, views * sizeof *s->views);
    s->reading.views = s->views;
    for (size_t v = 0; v < views; v++) s->views[v].how.pillow = dg_dataset_rules(reading->dataset).pillow;
    for (size_t v = 0; v < views; v++) s->normalizer[v] = dg_normalizer_make(s->views[v].mean, s->views[v].std);
    s->base = (struct dg_batch_source){.batches = reading->batches ? reading->batches : INT64_MAX,
                                       .fails_at_once = true,
                                       .open_worker = open_worker,
                                       .close_worker = close_worker,
                                       .waits = waits,
                                       .begin = begin,
                                       .fill = fill,
                                       .close = close_source};
    s->largest = size_up(&s->reading, s->row_floats, &s->base);
    *source = &s->base;
    return DG_OK;
}

enum dg_status dg_loader_open_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                    struct dg_loader **loader, struct dg_error *err)
{
    struct dg_batch_source *source = NULL;
    *loader = NULL;
    DG_TRY(check(config, reading, err));
    DG_TRY(open_source(config, reading, &source, err));
    return dg_loader_open(config, source, loader, err);
}

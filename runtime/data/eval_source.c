#include "runtime/data/eval_source.h"

#include "runtime/data/image_reader.h"
#include "runtime/image/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct eval_source {
    struct dg_batch_source base;
    struct dg_eval_reading reading; /* its images are in `images` */
    int batch;
    int64_t *images; /* [image_count]; NULL: all, in order */
    int64_t row_floats;
    struct dg_normalizer normalizer;
};

int dg_eval_resize(int width) { return (int)lround(width * 256.0 / 224.0); }

/* ---- checks and sizes ---- */

enum dg_status dg_eval_crop_check(const struct dg_eval_crop *crop, struct dg_error *err)
{
    DG_TRY(dg_loader_check_range("the crop's height", crop->height, 1, 16384, err));
    DG_TRY(dg_loader_check_range("the crop's width", crop->width, 1, 16384, err));
    return dg_loader_check_range("the resized width", crop->resize, crop->width, 32768, err);
}

static enum dg_status check(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                            struct dg_error *err)
{
    DG_TRY(dg_loader_check(config, err));
    DG_TRY(dg_eval_crop_check(&reading->crop, err));
    if (!reading->images) return DG_OK;
    int64_t images = dg_dataset_count(reading->dataset);
    DG_TRY(dg_loader_check_range("the number of images", reading->image_count, 0, DG_DATASET_MAX_IMAGES, err));
    for (int64_t i = 0; i < reading->image_count; i++)
        DG_TRY(dg_loader_check_range("an image's index", reading->images[i], 0, images - 1, err));
    return DG_OK;
}

static int64_t crop_pixels(const struct dg_eval_crop *crop) { return (int64_t)crop->height * crop->width; }

static void size_up(const struct dg_eval_crop *crop, int64_t *row_floats, struct dg_batch_source *base)
{
    *row_floats = 3 * crop_pixels(crop);
    base->num_parts = 1;
    base->row_floats = row_floats;
    base->worker_bytes = dg_image_reader_bytes(crop_pixels(crop));
}

enum dg_status dg_loader_eval_bytes(const struct dg_loader_config *config, const struct dg_eval_crop *crop,
                                    int64_t *bytes, struct dg_error *err)
{
    struct dg_batch_source sizes = {0};
    int64_t row_floats;
    size_up(crop, &row_floats, &sizes);
    return dg_loader_bytes(config, &sizes, bytes, err);
}

/* ---- rows and batches ---- */

static enum dg_status fill_crop(struct eval_source *s, struct dg_image_reader *reader, struct dg_row *row,
                                const char *path, struct dg_error *err)
{
    const struct dg_eval_crop *crop = &s->reading.crop;
    DG_TRY(dg_dataset_decode(s->reading.dataset, row->item, &reader->decoder, &reader->image, err));
    enum dg_status status = dg_image_resize_center_crop(&reader->image, crop->how, crop->resize, crop->width,
                                                        crop->height, reader->view.bytes, &reader->work, err);
    if (status != DG_OK) {
        dg_error_prefix(err, "%s", path);
        return status;
    }
    dg_normalize(&s->normalizer, reader->view.bytes, crop_pixels(crop), row->part[0]);
    return DG_OK;
}

static enum dg_status fill(struct dg_batch_source *source, void *worker, struct dg_row *row, struct dg_error *err)
{
    struct eval_source *s = (struct eval_source *)source;
    struct dg_image_reader *reader = worker;
    double begin = dg_loader_traces(row->loader) ? dg_seconds_now() : 0;
    int64_t place = row->step * s->batch + row->index;
    row->item = s->images ? s->images[place] : place;
    const char *path = dg_dataset_path(s->reading.dataset, row->item);
    struct dg_error reason = {0};
    enum dg_status status = fill_crop(s, reader, row, path, &reason);
    if (status == DG_OK && begin > 0)
        dg_loader_post(row->loader, DG_LOG_TRACE, "image %s: %d x %d, %.3f ms", path, reader->image.width,
                       reader->image.height, 1e3 * (dg_seconds_now() - begin));
    dg_image_reader_trim(reader);
    if (status == DG_OK) return DG_OK;
    if (status == DG_ERR_MEMORY || !s->reading.bad) {
        dg_error_escape_path(&reason, path);
        return dg_fail(err, status, "%s", reason.text);
    }
    status = dg_bad_images_add(s->reading.bad, row->item, path, &reason, err);
    memset(row->part[0], 0, (size_t)s->row_floats * sizeof(float));
    row->item = -1;
    return status;
}

static void begin(struct dg_batch_source *source, int64_t number, struct dg_batch *batch)
{
    const struct eval_source *s = (const struct eval_source *)source;
    batch->epoch = 0;
    batch->step = number;
    batch->rows = (int)dg_min_i64(batch->rows, s->reading.image_count - number * s->batch);
}

/* ---- opening and closing ---- */

static enum dg_status open_worker(struct dg_batch_source *source, void **worker, struct dg_error *err)
{
    struct dg_image_reader *reader;
    enum dg_status status =
        dg_image_reader_open(crop_pixels(&((struct eval_source *)source)->reading.crop), &reader, err);
    if (status == DG_OK) dg_dataset_set_decoder(((struct eval_source *)source)->reading.dataset, &reader->decoder);
    *worker = reader;
    return status;
}

static void close_worker(void *worker) { dg_image_reader_close(worker); }

static void close_source(struct dg_batch_source *source)
{
    struct eval_source *s = (struct eval_source *)source;
    free(s->images);
    free(s);
}

static enum dg_status open_source(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                  struct dg_batch_source **source, struct dg_error *err)
{
    struct eval_source *s = calloc(1, sizeof *s);
    if (!s) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    s->reading = *reading;
    s->reading.crop.how.pillow = dg_dataset_rules(reading->dataset).pillow;
    s->batch = config->batch;
    if (!reading->images) {
        s->reading.image_count = dg_dataset_count(reading->dataset);
    } else if (reading->image_count > 0) {
        size_t bytes = (size_t)reading->image_count * sizeof *s->images;
        s->images = malloc(bytes);
        if (!s->images) {
            free(s);
            return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of images");
        }
        memcpy(s->images, reading->images, bytes);
    }
    s->normalizer = dg_normalizer_make(reading->crop.mean, reading->crop.std);
    s->base = (struct dg_batch_source){.batches = (s->reading.image_count + config->batch - 1) / config->batch,
                                       .open_worker = open_worker,
                                       .close_worker = close_worker,
                                       .begin = begin,
                                       .fill = fill,
                                       .close = close_source};
    size_up(&reading->crop, &s->row_floats, &s->base);
    *source = &s->base;
    return DG_OK;
}

enum dg_status dg_loader_open_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                   struct dg_loader **loader, struct dg_error *err)
{
    struct dg_batch_source *source = NULL;
    *loader = NULL;
    DG_TRY(check(config, reading, err));
    DG_TRY(open_source(config, reading, &source, err));
    return dg_loader_open(config, source, loader, err);
}

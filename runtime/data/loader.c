#include "runtime/data/loader.h"

#include "ops/base/rng.h"
#include "ops/kernels/kernels.h"
#include "runtime/base/memory.h"
#include "runtime/image/decode.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A thread and what it reuses from picture to picture. */
struct worker {
    struct dg_loader *loader;
    pthread_t thread;
    struct dg_image_decoder decoder;
    struct dg_image image;
    struct dg_scratch view; /* one view, 8 bits */
    struct dg_scratch work;
};

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_HELD };

/* Memory of one batch; batch number n uses slot n % slots. */
struct slot {
    struct dg_batch batch;
    enum slot_state state;
    int done; /* rows finished */
    float *data;
    const float **view;
    int64_t *image;
    /* Evaluation: the failure of the lowest row that failed, so that it is the same in every run. */
    int failed_row; /* -1: none */
    struct dg_error failure;
};

/* A message of a thread, which dg_loader_next gives to the log. */
struct message {
    struct message *next;
    enum dg_log_level level;
    char text[];
};

/* Fills row `row` of a batch. Runs without the lock; a failure becomes the batch's (evaluation) or everybody's. */
typedef enum dg_status fill_row(struct worker *worker, struct slot *slot, int row, struct dg_error *err);

struct dg_loader {
    struct dg_loader_config config;
    struct dg_train_reading train; /* its views are in `views` */
    struct dg_eval_reading eval;   /* its images are in `images` */
    int64_t *images;               /* [image_count] evaluation: NULL for all, in order */
    bool training;
    fill_row *fill;

    int view_count;
    struct dg_view_spec *views;       /* training */
    struct dg_normalizer *normalizer; /* [view_count] */
    int64_t *view_offset;             /* [view_count + 1] floats into a batch */
    int64_t batches;                  /* in all; INT64_MAX: without end */

    void *region; /* every slot's data */
    int64_t region_bytes;
    struct slot *slots;
    int slot_count;
    struct worker *workers;
    int started; /* threads to join */

    pthread_mutex_t lock;      /* guards all below */
    pthread_cond_t work_came;  /* a slot became free, an epoch was finished, or stop */
    pthread_cond_t batch_came; /* a batch became ready, or failed */
    bool stop;
    int64_t issue_batch; /* the next row to give to a thread */
    int issue_row;
    int in_flight;      /* rows being filled; the order changes only when there are none */
    int64_t take_batch; /* the next one for the caller */
    int32_t *order;     /* [images] training: the permutation of epoch order_epoch; constant while rows are in flight */
    int64_t order_epoch;
    uint8_t *bad; /* [images / 8] bits */
    int64_t bad_count;
    struct message *first_message, *last_message;
    struct dg_error failure; /* set: no more batches */
};

void dg_epoch_order(uint64_t seed, int64_t epoch, int64_t count, int32_t *order)
{
    struct dg_rng rng = dg_rng_open(seed, DG_RNG_ORDER, (uint64_t)epoch, 0);
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = 0; i + 1 < count; i++) {
        int64_t j = dg_rng_int(&rng, i, count);
        int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

int dg_eval_resize(int width) { return (int)lround(width * 256.0 / 224.0); }

/* ---- checks and sizes ---- */

static enum dg_status check_range(const char *what, int64_t value, int64_t low, int64_t high, struct dg_error *err)
{
    if (value >= low && value <= high) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "loader: %s is %lld; it must be from %lld to %lld", what, (long long)value,
                   (long long)low, (long long)high);
}

static enum dg_status check_config(const struct dg_loader_config *config, struct dg_error *err)
{
    DG_TRY(check_range("the batch", config->batch, 1, 1 << 20, err));
    DG_TRY(check_range("threads", config->threads, 1, DG_LOADER_MAX_THREADS, err));
    return check_range("prefetched batches", config->prefetch, 1, DG_LOADER_MAX_PREFETCH, err);
}

static enum dg_status check_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                  struct dg_error *err)
{
    DG_TRY(check_config(config, err));
    DG_TRY(check_range("the number of views", reading->view_count, 1, DG_LOADER_MAX_VIEWS, err));
    for (int v = 0; v < reading->view_count; v++) {
        char name[16];
        snprintf(name, sizeof name, "%d", v);
        DG_TRY(dg_view_spec_check(&reading->views[v], name, err));
    }
    int64_t images = dg_dataset_count(config->dataset);
    if (images < config->batch && !reading->rest)
        return dg_fail(err, DG_ERR_INPUT,
                       "%lld pictures are fewer than one batch of %d; add pictures or use a smaller batch",
                       (long long)images, config->batch);
    int64_t most = (images + (reading->rest ? config->batch - 1 : 0)) / config->batch;
    DG_TRY(check_range("steps per epoch", reading->steps_per_epoch, 1, most, err));
    DG_TRY(check_range("the first epoch", reading->epoch, 0, (1 << 24) - 1, err));
    DG_TRY(check_range("the first step in its epoch", reading->step, 0, reading->steps_per_epoch - 1, err));
    DG_TRY(check_range("batches to read", reading->batches, 0, INT64_MAX / 2, err));
    return check_range("tolerated unreadable pictures", reading->max_bad, 0, INT64_MAX, err);
}

enum dg_status dg_eval_reading_check(const struct dg_eval_reading *reading, struct dg_error *err)
{
    DG_TRY(check_range("the crop's height", reading->height, 1, 16384, err));
    DG_TRY(check_range("the crop's width", reading->width, 1, 16384, err));
    return check_range("the resized width", reading->resize, reading->width, 32768, err);
}

static enum dg_status check_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                 struct dg_error *err)
{
    DG_TRY(check_config(config, err));
    DG_TRY(dg_eval_reading_check(reading, err));
    int64_t images = dg_dataset_count(config->dataset);
    if (!reading->images) return DG_OK;
    DG_TRY(check_range("the number of pictures", reading->image_count, 0, DG_DATASET_MAX_IMAGES, err));
    for (int64_t i = 0; i < reading->image_count; i++)
        DG_TRY(check_range("a picture's index", reading->images[i], 0, images - 1, err));
    return DG_OK;
}

/* What a configuration needs. */
struct sizes {
    int64_t batch_floats; /* of one slot, rounded up to whole cache lines */
    int64_t region;       /* bytes of all slots */
    int64_t view;         /* bytes of the largest view, 8 bits */
    int64_t order, bad;   /* bytes */
    int64_t total;
};

static enum dg_status size_up(const struct dg_loader_config *config, int64_t pixels, int64_t largest, bool training,
                              struct sizes *sizes, struct dg_error *err)
{
    int64_t images = dg_dataset_count(config->dataset);
    *sizes = (struct sizes){.view = 3 * largest};
    sizes->batch_floats = dg_round_up(3 * pixels * config->batch, 64 / (int64_t)sizeof(float));
    if (!dg_mul_i64(sizes->batch_floats, (config->prefetch + 1) * (int64_t)sizeof(float), &sizes->region))
        return dg_fail(err, DG_ERR_MEMORY, "loader: batches of %lld floats are too large",
                       (long long)sizes->batch_floats);
    if (training) {
        sizes->order = images * (int64_t)sizeof(int32_t);
        sizes->bad = images / 8 + 1;
    }
    sizes->total =
        sizes->region + config->threads * (2 * DG_LOADER_DECODE_BYTES + sizes->view) + sizes->order + sizes->bad;
    return DG_OK;
}

static enum dg_status size_up_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                    struct sizes *sizes, struct dg_error *err)
{
    DG_TRY(check_train(config, reading, err));
    int64_t pixels = 0, largest = 0;
    for (int v = 0; v < reading->view_count; v++) {
        int64_t view = (int64_t)reading->views[v].height * reading->views[v].width;
        pixels += view;
        largest = dg_max_i64(largest, view);
    }
    return size_up(config, pixels, largest, true, sizes, err);
}

static enum dg_status size_up_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                   struct sizes *sizes, struct dg_error *err)
{
    DG_TRY(check_eval(config, reading, err));
    int64_t pixels = (int64_t)reading->height * reading->width;
    return size_up(config, pixels, pixels, false, sizes, err);
}

enum dg_status dg_loader_train_bytes(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                     int64_t *bytes, struct dg_error *err)
{
    struct sizes sizes;
    DG_TRY(size_up_train(config, reading, &sizes, err));
    *bytes = sizes.total;
    return DG_OK;
}

enum dg_status dg_loader_eval_bytes(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                    int64_t *bytes, struct dg_error *err)
{
    struct sizes sizes;
    DG_TRY(size_up_eval(config, reading, &sizes, err));
    *bytes = sizes.total;
    return DG_OK;
}

/* ---- unreadable pictures ---- */

static bool is_bad(struct dg_loader *loader, int64_t image)
{
    pthread_mutex_lock(&loader->lock);
    bool bad = loader->bad[image / 8] >> (image % 8) & 1;
    pthread_mutex_unlock(&loader->lock);
    return bad;
}

static void add_message(struct dg_loader *loader, enum dg_log_level level, const char *text)
{
    size_t size = strlen(text) + 1;
    struct message *message = malloc(sizeof *message + size);
    if (!message) return; /* the picture is still counted */
    message->next = NULL;
    message->level = level;
    memcpy(message->text, text, size);
    if (loader->last_message)
        loader->last_message->next = message;
    else
        loader->first_message = message;
    loader->last_message = message;
}

/* Records an unreadable picture; fails when it is one too many. */
static enum dg_status add_bad(struct dg_loader *loader, int64_t image, const struct dg_error *reason,
                              struct dg_error *err)
{
    enum dg_status status = DG_OK;
    pthread_mutex_lock(&loader->lock);
    if (!(loader->bad[image / 8] >> (image % 8) & 1)) {
        loader->bad[image / 8] |= (uint8_t)(1 << (image % 8));
        loader->bad_count++;
        add_message(loader, DG_LOG_WARNING, reason->text);
    }
    if (loader->bad_count > loader->train.max_bad)
        status =
            dg_fail(err, DG_ERR_INPUT,
                    "%lld unreadable pictures, more than the %lld tolerated; mend or remove them. The last one: %s",
                    (long long)loader->bad_count, (long long)loader->train.max_bad, reason->text);
    pthread_mutex_unlock(&loader->lock);
    return status;
}

/* ---- rows ---- */

static float *row_of_view(const struct dg_loader *loader, const struct slot *slot, int view, int row)
{
    int64_t floats = (loader->view_offset[view + 1] - loader->view_offset[view]) / loader->config.batch;
    return slot->data + loader->view_offset[view] + row * floats;
}

/* Decodes the picture of a place in the order, or its replacement. */
static enum dg_status decode_place(struct worker *worker, int64_t place, int64_t *image, struct dg_error *err)
{
    struct dg_loader *loader = worker->loader;
    int64_t images = dg_dataset_count(loader->config.dataset);
    for (int64_t i = 0; i < images; i++) {
        *image = loader->order[(place + i) % images];
        if (is_bad(loader, *image)) continue;
        struct dg_error reason = {0};
        enum dg_status status = dg_image_decode_file(&worker->decoder, dg_dataset_path(loader->config.dataset, *image),
                                                     &worker->image, &reason);
        if (status == DG_OK) return DG_OK;
        if (status == DG_ERR_MEMORY) return dg_fail(err, status, "%s", reason.text);
        DG_TRY(add_bad(loader, *image, &reason, err));
    }
    return dg_fail(err, DG_ERR_INPUT, "none of the %lld pictures can be read", (long long)images);
}

static enum dg_status fill_train_row(struct worker *worker, struct slot *slot, int row, struct dg_error *err)
{
    struct dg_loader *loader = worker->loader;
    int64_t place = slot->batch.step * loader->config.batch + row;
    DG_TRY(decode_place(worker, place, &slot->image[row], err));
    for (int v = 0; v < loader->view_count; v++) {
        const struct dg_view_spec *spec = &loader->views[v];
        struct dg_view_draw draw = dg_view_sample(spec, worker->image.width, worker->image.height, loader->train.seed,
                                                  slot->batch.epoch, loader->order[place], v);
        DG_TRY(dg_view_apply(spec, &draw, &worker->image, worker->view.bytes, &worker->work, err));
        dg_normalize(&loader->normalizer[v], worker->view.bytes, (int64_t)spec->height * spec->width,
                     row_of_view(loader, slot, v, row));
    }
    return DG_OK;
}

static enum dg_status fill_eval_row(struct worker *worker, struct slot *slot, int row, struct dg_error *err)
{
    struct dg_loader *loader = worker->loader;
    const struct dg_eval_reading *eval = &loader->eval;
    int64_t place = slot->batch.step * loader->config.batch + row;
    int64_t image = loader->images ? loader->images[place] : place;
    const char *path = dg_dataset_path(loader->config.dataset, image);
    slot->image[row] = image;
    DG_TRY(dg_image_decode_file(&worker->decoder, path, &worker->image, err));
    enum dg_status status = dg_image_resize_center_crop(&worker->image, eval->filter, eval->resize, eval->width,
                                                        eval->height, worker->view.bytes, &worker->work, err);
    if (status != DG_OK) {
        dg_error_prefix(err, "%s", path);
        return status;
    }
    dg_normalize(&loader->normalizer[0], worker->view.bytes, (int64_t)eval->height * eval->width,
                 row_of_view(loader, slot, 0, row));
    return DG_OK;
}

/* ---- threads ---- */

/* A batch of fewer rows, `left`, where that is all there is. */
static void shorten(const struct dg_loader *loader, struct slot *slot, int64_t left)
{
    if (left >= slot->batch.rows) return;
    slot->batch.rows = (int)left;
    memset(slot->data, 0, (size_t)loader->view_offset[loader->view_count] * sizeof(float));
}

/* Makes the slot of issue_batch ready to be filled. */
static void start_batch(struct dg_loader *loader, struct slot *slot)
{
    int64_t number = loader->issue_batch;
    slot->state = SLOT_FILLING;
    slot->done = 0;
    slot->failed_row = -1;
    slot->failure = (struct dg_error){0};
    slot->batch.rows = loader->config.batch;
    if (loader->training) {
        int64_t step = loader->train.step + number;
        slot->batch.epoch = loader->train.epoch + step / loader->train.steps_per_epoch;
        slot->batch.step = step % loader->train.steps_per_epoch;
        if (slot->batch.epoch != loader->order_epoch) {
            dg_epoch_order(loader->train.seed, slot->batch.epoch, dg_dataset_count(loader->config.dataset),
                           loader->order);
            loader->order_epoch = slot->batch.epoch;
        }
        shorten(loader, slot, dg_dataset_count(loader->config.dataset) - slot->batch.step * loader->config.batch);
        return;
    }
    slot->batch.epoch = 0;
    slot->batch.step = number;
    shorten(loader, slot, loader->eval.image_count - number * loader->config.batch);
}

/* Whether a row can be given out now. The order of an epoch stays until all its rows are done. */
static bool can_issue(const struct dg_loader *loader)
{
    if (loader->issue_row > 0) return true;
    if (loader->issue_batch >= loader->batches) return false;
    if (loader->slots[loader->issue_batch % loader->slot_count].state != SLOT_FREE) return false;
    if (!loader->training || loader->in_flight == 0) return true;
    int64_t step = loader->train.step + loader->issue_batch;
    return loader->train.epoch + step / loader->train.steps_per_epoch == loader->order_epoch;
}

/* The next row to fill, and its slot; NULL when it is time to stop. Called with the lock. */
static struct slot *issue(struct dg_loader *loader, int *row)
{
    while (!loader->stop && loader->failure.status == DG_OK && !can_issue(loader))
        pthread_cond_wait(&loader->work_came, &loader->lock);
    if (loader->stop || loader->failure.status != DG_OK) return NULL;
    struct slot *slot = &loader->slots[loader->issue_batch % loader->slot_count];
    if (loader->issue_row == 0) start_batch(loader, slot);
    *row = loader->issue_row++;
    loader->in_flight++;
    if (loader->issue_row == slot->batch.rows) {
        loader->issue_batch++;
        loader->issue_row = 0;
    }
    return slot;
}

/* Called with the lock. */
static void finish(struct dg_loader *loader, struct slot *slot, int row, const struct dg_error *failure)
{
    bool failed = failure->status != DG_OK;
    if (failed && loader->training) {
        if (loader->failure.status == DG_OK) loader->failure = *failure;
        pthread_cond_broadcast(&loader->work_came);
        pthread_cond_broadcast(&loader->batch_came);
    } else if (failed && (slot->failed_row < 0 || row < slot->failed_row)) {
        slot->failed_row = row;
        slot->failure = *failure;
    }
    loader->in_flight--;
    if (++slot->done == slot->batch.rows) {
        slot->state = SLOT_READY;
        pthread_cond_broadcast(&loader->batch_came);
    }
    if (loader->in_flight == 0) pthread_cond_broadcast(&loader->work_came);
}

/* Gives back what a large picture took, so that a thread goes on with what was counted. */
static void trim(struct worker *worker)
{
    const size_t most = DG_LOADER_DECODE_BYTES;
    struct dg_image_decoder *decoder = &worker->decoder;
    if (worker->image.capacity > most) dg_image_free(&worker->image);
    if (decoder->file.capacity + decoder->row.capacity + worker->work.capacity <= most) return;
    dg_image_decoder_free(decoder);
    dg_scratch_free(&worker->work);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct dg_loader *loader = worker->loader;
    struct slot *slot;
    int row;
    pthread_mutex_lock(&loader->lock);
    while ((slot = issue(loader, &row))) {
        pthread_mutex_unlock(&loader->lock);
        struct dg_error failure = {0};
        loader->fill(worker, slot, row, &failure);
        trim(worker);
        pthread_mutex_lock(&loader->lock);
        finish(loader, slot, row, &failure);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static enum dg_status out_of_memory(struct dg_error *err)
{
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the loader; use a smaller batch, fewer threads or less prefetch");
}

static enum dg_status allocate_slots(struct dg_loader *loader, const struct sizes *sizes, struct dg_error *err)
{
    DG_TRY(dg_region_alloc("the loader's batches", sizes->region, &loader->region, err));
    loader->region_bytes = sizes->region;
    loader->slots = calloc((size_t)loader->slot_count, sizeof *loader->slots);
    if (!loader->slots) return out_of_memory(err);
    for (int i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->data = (float *)loader->region + i * sizes->batch_floats;
        slot->view = calloc((size_t)loader->view_count, sizeof *slot->view);
        slot->image = calloc((size_t)loader->config.batch, sizeof *slot->image);
        if (!slot->view || !slot->image) return out_of_memory(err);
        for (int v = 0; v < loader->view_count; v++) slot->view[v] = slot->data + loader->view_offset[v];
        slot->batch = (struct dg_batch){.data = slot->data, .view = slot->view, .image = slot->image};
    }
    return DG_OK;
}

static enum dg_status start_threads(struct dg_loader *loader, int64_t view_bytes, struct dg_error *err)
{
    int64_t decode_side = (int64_t)sqrt(DG_LOADER_DECODE_BYTES / 3.0);
    for (int i = 0; i < loader->config.threads; i++) {
        struct worker *worker = &loader->workers[i];
        worker->loader = loader;
        DG_TRY(dg_image_reserve(&worker->image, decode_side, decode_side, err));
        DG_TRY(dg_scratch_reserve(&worker->view, (size_t)view_bytes, err));
    }
    dg_kernels(); /* chosen before there are threads to race for it */
    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = 0;
    while (!reason && loader->started < loader->config.threads) {
        struct worker *worker = &loader->workers[loader->started];
        reason = pthread_create(&worker->thread, NULL, work, worker);
        if (!reason) loader->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (reason) return dg_fail(err, DG_ERR_MEMORY, "cannot start a loader thread: %s", strerror(reason));
    return DG_OK;
}

/* The part that both readers share: `loader` has its reading, view_count and view sizes. */
static enum dg_status open_common(struct dg_loader *loader, const struct sizes *sizes, struct dg_error *err)
{
    loader->slot_count = loader->config.prefetch + 1;
    loader->workers = calloc((size_t)loader->config.threads, sizeof *loader->workers);
    if (!loader->workers) return out_of_memory(err);
    DG_TRY(allocate_slots(loader, sizes, err));
    return start_threads(loader, sizes->view, err);
}

static struct dg_loader *create(const struct dg_loader_config *config, int view_count)
{
    struct dg_loader *loader = calloc(1, sizeof *loader);
    if (!loader) return NULL;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work_came, NULL);
    pthread_cond_init(&loader->batch_came, NULL);
    loader->config = *config;
    loader->view_count = view_count;
    loader->normalizer = calloc((size_t)view_count, sizeof *loader->normalizer);
    loader->view_offset = calloc((size_t)view_count + 1, sizeof *loader->view_offset);
    if (loader->normalizer && loader->view_offset) return loader;
    dg_loader_close(loader);
    return NULL;
}

static enum dg_status set_up_train(struct dg_loader *loader, const struct dg_train_reading *reading,
                                   const struct sizes *sizes, struct dg_error *err)
{
    loader->training = true;
    loader->fill = fill_train_row;
    loader->train = *reading;
    loader->batches = reading->batches ? reading->batches : INT64_MAX;
    loader->order_epoch = -1;
    loader->order = malloc((size_t)sizes->order);
    loader->bad = calloc(1, (size_t)sizes->bad);
    loader->views = malloc((size_t)reading->view_count * sizeof *loader->views);
    if (!loader->order || !loader->bad || !loader->views) return out_of_memory(err);
    memcpy(loader->views, reading->views, (size_t)reading->view_count * sizeof *loader->views);
    for (int v = 0; v < reading->view_count; v++) {
        const struct dg_view_spec *spec = &loader->views[v];
        loader->normalizer[v] = dg_normalizer_open(spec->mean, spec->std);
        loader->view_offset[v + 1] =
            loader->view_offset[v] + (int64_t)loader->config.batch * spec->height * spec->width * 3;
    }
    return open_common(loader, sizes, err);
}

static enum dg_status set_up_eval(struct dg_loader *loader, const struct dg_eval_reading *reading,
                                  const struct sizes *sizes, struct dg_error *err)
{
    loader->fill = fill_eval_row;
    loader->eval = *reading;
    if (!reading->images) {
        loader->eval.image_count = dg_dataset_count(loader->config.dataset);
    } else if (reading->image_count > 0) {
        size_t bytes = (size_t)reading->image_count * sizeof *loader->images;
        loader->images = malloc(bytes);
        if (!loader->images) return out_of_memory(err);
        memcpy(loader->images, reading->images, bytes);
    }
    loader->batches = (loader->eval.image_count + loader->config.batch - 1) / loader->config.batch;
    loader->normalizer[0] = dg_normalizer_open(reading->mean, reading->std);
    loader->view_offset[1] = (int64_t)loader->config.batch * reading->height * reading->width * 3;
    return open_common(loader, sizes, err);
}

enum dg_status dg_loader_open_train(const struct dg_loader_config *config, const struct dg_train_reading *reading,
                                    struct dg_loader **loader, struct dg_error *err)
{
    struct sizes sizes;
    *loader = NULL;
    DG_TRY(size_up_train(config, reading, &sizes, err));
    struct dg_loader *opened = create(config, reading->view_count);
    if (!opened) return out_of_memory(err);
    enum dg_status status = set_up_train(opened, reading, &sizes, err);
    if (status == DG_OK)
        *loader = opened;
    else
        dg_loader_close(opened);
    return status;
}

enum dg_status dg_loader_open_eval(const struct dg_loader_config *config, const struct dg_eval_reading *reading,
                                   struct dg_loader **loader, struct dg_error *err)
{
    struct sizes sizes;
    *loader = NULL;
    DG_TRY(size_up_eval(config, reading, &sizes, err));
    struct dg_loader *opened = create(config, 1);
    if (!opened) return out_of_memory(err);
    enum dg_status status = set_up_eval(opened, reading, &sizes, err);
    if (status == DG_OK)
        *loader = opened;
    else
        dg_loader_close(opened);
    return status;
}

void dg_loader_close(struct dg_loader *loader)
{
    if (!loader) return;
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_broadcast(&loader->work_came);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->started; i++) pthread_join(loader->workers[i].thread, NULL);
    for (int i = 0; loader->workers && i < loader->config.threads; i++) {
        dg_image_decoder_free(&loader->workers[i].decoder);
        dg_image_free(&loader->workers[i].image);
        dg_scratch_free(&loader->workers[i].view);
        dg_scratch_free(&loader->workers[i].work);
    }
    for (int i = 0; loader->slots && i < loader->slot_count; i++) {
        free(loader->slots[i].view);
        free(loader->slots[i].image);
    }
    for (struct message *message = loader->first_message, *next; message; message = next) {
        next = message->next;
        free(message);
    }
    dg_region_free(loader->region, loader->region_bytes);
    free(loader->images);
    free(loader->slots);
    free(loader->workers);
    free(loader->views);
    free(loader->normalizer);
    free(loader->view_offset);
    free(loader->order);
    free(loader->bad);
    pthread_cond_destroy(&loader->batch_came);
    pthread_cond_destroy(&loader->work_came);
    pthread_mutex_destroy(&loader->lock);
    free(loader);
}

/* ---- the caller's side ---- */

/* Called with the lock. */
static enum dg_status take(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err)
{
    if (loader->failure.status == DG_OK && loader->take_batch >= loader->batches) return DG_OK;
    struct slot *slot = &loader->slots[loader->take_batch % loader->slot_count];
    if (slot->state == SLOT_HELD)
        return dg_fail(err, DG_ERR_USAGE, "loader: all %d batches are held by the caller; release one first",
                       loader->slot_count);
    while (slot->state != SLOT_READY && loader->failure.status == DG_OK)
        pthread_cond_wait(&loader->batch_came, &loader->lock);
    if (loader->failure.status == DG_OK && slot->failed_row >= 0) loader->failure = slot->failure;
    if (loader->failure.status != DG_OK) return dg_fail(err, loader->failure.status, "%s", loader->failure.text);
    slot->state = SLOT_HELD;
    loader->take_batch++;
    *batch = &slot->batch;
    return DG_OK;
}

static void log_messages(const struct dg_loader *loader, struct message *message)
{
    for (struct message *next; message; message = next) {
        next = message->next;
        dg_log(loader->config.log, message->level, DG_LOG_LOAD, "%s", message->text);
        free(message);
    }
}

enum dg_status dg_loader_next(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err)
{
    *batch = NULL;
    pthread_mutex_lock(&loader->lock);
    enum dg_status status = take(loader, batch, err);
    struct message *message = loader->first_message;
    loader->first_message = loader->last_message = NULL;
    pthread_mutex_unlock(&loader->lock);
    log_messages(loader, message);
    return status;
}

void dg_loader_release(struct dg_loader *loader, const struct dg_batch *batch)
{
    pthread_mutex_lock(&loader->lock);
    for (int i = 0; i < loader->slot_count; i++) {
        if (&loader->slots[i].batch == batch) loader->slots[i].state = SLOT_FREE;
    }
    pthread_cond_broadcast(&loader->work_came);
    pthread_mutex_unlock(&loader->lock);
}

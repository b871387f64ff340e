#include "runtime/data/loader.h"

#include "runtime/base/memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 1 << 20, MAX_MESSAGE = 2048, PREFETCH = 2 };

/* A thread. */
struct worker {
    struct dg_loader *loader;
    pthread_t thread;
    void *own; /* the source's */
};

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_HELD };

/* Memory of one batch; batch number n uses slot n % slots. */
struct slot {
    struct dg_batch batch;
    enum slot_state state;
    int done; /* rows finished */
    float *data;
    const float **part; /* [num_parts] */
    int64_t *item;      /* [batch] */
    int failed_row;     /* the lowest row that failed; -1: none */
    struct dg_error failure;
};

/* A message of a thread, which dg_loader_next gives to the log. */
struct message {
    struct message *next;
    enum dg_log_level level;
    char text[];
};

struct dg_loader {
    struct dg_loader_config config;
    struct dg_batch_source *source; /* owned */
    int64_t *part_offset;           /* [num_parts] floats into a batch */
    int64_t batch_floats;           /* of a batch's parts */

    void *region; /* every slot's data */
    int64_t region_bytes;
    struct slot *slots;
    int slot_count;
    struct worker *workers;
    int started; /* threads to join */

    pthread_mutex_t lock;      /* guards all below */
    pthread_cond_t work_came;  /* a slot became free, no row is being filled any more, or stop */
    pthread_cond_t batch_came; /* a batch became ready, or failed */
    bool stop;
    int64_t issue_batch; /* the next row to give to a thread */
    int issue_row;
    int in_flight;           /* rows being filled */
    int64_t take_batch;      /* the next one for the caller */
    struct dg_error failure; /* set: no more batches */

    pthread_mutex_t message_lock; /* guards the messages; taken last */
    struct message *first_message, *last_message;
};

struct dg_loader_config dg_loader_config_make(int64_t batch, int threads, const struct dg_log *log)
{
    return (struct dg_loader_config){.batch = (int)batch,
                                     .threads = (int)dg_min_i64(threads, DG_LOADER_MAX_THREADS),
                                     .prefetch = PREFETCH,
                                     .log = log};
}

/* ---- checks and sizes ---- */

enum dg_status dg_loader_check_range(const char *what, int64_t value, int64_t low, int64_t high, struct dg_error *err)
{
    if (value >= low && value <= high) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "loader: %s is %lld; it must be from %lld to %lld", what, (long long)value,
                   (long long)low, (long long)high);
}

enum dg_status dg_loader_check(const struct dg_loader_config *config, struct dg_error *err)
{
    DG_TRY(dg_loader_check_range("the batch", config->batch, 1, MAX_BATCH, err));
    DG_TRY(dg_loader_check_range("threads", config->threads, 1, DG_LOADER_MAX_THREADS, err));
    return dg_loader_check_range("prefetched batches", config->prefetch, 1, DG_LOADER_MAX_PREFETCH, err);
}

/* Floats of a batch, without and with what rounds it up to whole cache lines, and bytes of all slots. */
struct sizes {
    int64_t batch_floats, slot_floats, region;
};

static enum dg_status size_up(const struct dg_loader_config *config, const struct dg_batch_source *source,
                              struct sizes *sizes, struct dg_error *err)
{
    int64_t row_floats = 0;
    for (int p = 0; p < source->num_parts; p++) row_floats += source->row_floats[p];
    sizes->batch_floats = row_floats * config->batch;
    sizes->slot_floats = dg_round_up(sizes->batch_floats, 64 / (int64_t)sizeof(float));
    if (!dg_mul_i64(sizes->slot_floats, (config->prefetch + 1) * (int64_t)sizeof(float), &sizes->region))
        return dg_fail(err, DG_ERR_MEMORY, "loader: batches of %lld floats are too large",
                       (long long)sizes->slot_floats);
    return DG_OK;
}

enum dg_status dg_loader_bytes(const struct dg_loader_config *config, const struct dg_batch_source *source,
                               int64_t *bytes, struct dg_error *err)
{
    struct sizes sizes;
    DG_TRY(size_up(config, source, &sizes, err));
    *bytes = sizes.region + config->threads * source->worker_bytes + source->own_bytes;
    return DG_OK;
}

/* ---- messages ---- */

bool dg_loader_traces(const struct dg_loader *loader) { return dg_log_traces(loader->config.log, DG_LOG_LOAD); }

void dg_loader_post(struct dg_loader *loader, enum dg_log_level level, const char *format, ...)
{
    char text[MAX_MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t size = strlen(text) + 1;
    struct message *message = malloc(sizeof *message + size);
    if (!message) return; /* a message less */
    message->next = NULL;
    message->level = level;
    memcpy(message->text, text, size);
    pthread_mutex_lock(&loader->message_lock);
    if (loader->last_message)
        loader->last_message->next = message;
    else
        loader->first_message = message;
    loader->last_message = message;
    pthread_mutex_unlock(&loader->message_lock);
}

/* Gives the messages to `log`, which may be NULL, and frees them. */
static void take_messages(struct dg_loader *loader, const struct dg_log *log)
{
    pthread_mutex_lock(&loader->message_lock);
    struct message *message = loader->first_message;
    loader->first_message = loader->last_message = NULL;
    pthread_mutex_unlock(&loader->message_lock);
    for (struct message *next; message; message = next) {
        next = message->next;
        dg_log(log, message->level, DG_LOG_LOAD, "%s", message->text);
        free(message);
    }
}

/* ---- threads ---- */

/* Makes the slot of issue_batch ready to be filled. */
static void begin_batch(struct dg_loader *loader, struct slot *slot)
{
    slot->state = SLOT_FILLING;
    slot->done = 0;
    slot->failed_row = -1;
    slot->failure = (struct dg_error){0};
    slot->batch.rows = loader->config.batch;
    loader->source->begin(loader->source, loader->issue_batch, &slot->batch);
    if (slot->batch.rows < loader->config.batch)
        memset(slot->data, 0, (size_t)loader->batch_floats * sizeof *slot->data);
}

/* True if a row can be given to a thread now. */
static bool can_issue(const struct dg_loader *loader)
{
    const struct dg_batch_source *source = loader->source;
    if (loader->issue_row > 0) return true;
    if (loader->issue_batch >= source->batches) return false;
    if (loader->slots[loader->issue_batch % loader->slot_count].state != SLOT_FREE) return false;
    return loader->in_flight == 0 || !source->waits || !source->waits(source, loader->issue_batch);
}

/* The slot of the next row to fill, and the row's index; NULL when it is time to stop. Called with the lock. */
static struct slot *issue(struct dg_loader *loader, int *index)
{
    while (!loader->stop && loader->failure.status == DG_OK && !can_issue(loader))
        pthread_cond_wait(&loader->work_came, &loader->lock);
    if (loader->stop || loader->failure.status != DG_OK) return NULL;
    struct slot *slot = &loader->slots[loader->issue_batch % loader->slot_count];
    if (loader->issue_row == 0) begin_batch(loader, slot);
    *index = loader->issue_row++;
    loader->in_flight++;
    if (loader->issue_row == slot->batch.rows) {
        loader->issue_batch++;
        loader->issue_row = 0;
    }
    return slot;
}

/* Called with the lock. */
static void finish(struct dg_loader *loader, struct slot *slot, int index, const struct dg_error *failure)
{
    bool failed = failure->status != DG_OK;
    if (failed && loader->source->fails_at_once) {
        if (loader->failure.status == DG_OK) loader->failure = *failure;
        pthread_cond_broadcast(&loader->work_came);
        pthread_cond_broadcast(&loader->batch_came);
    } else if (failed && (slot->failed_row < 0 || index < slot->failed_row)) {
        slot->failed_row = index;
        slot->failure = *failure;
    }
    loader->in_flight--;
    if (++slot->done == slot->batch.rows) {
        slot->state = SLOT_READY;
        pthread_cond_broadcast(&loader->batch_came);
    }
    if (loader->in_flight == 0) pthread_cond_broadcast(&loader->work_came);
}

/* Fills one row, without the lock. */
static void fill(struct worker *worker, struct slot *slot, int index, struct dg_error *failure)
{
    struct dg_loader *loader = worker->loader;
    struct dg_batch_source *source = loader->source;
    float *part[DG_LOADER_MAX_PARTS];
    for (int p = 0; p < source->num_parts; p++)
        part[p] = slot->data + loader->part_offset[p] + index * source->row_floats[p];
    struct dg_row row = {
        .loader = loader, .epoch = slot->batch.epoch, .step = slot->batch.step, .index = index, .part = part};
    source->fill(source, worker->own, &row, failure); /* a failure says so by its status */
    slot->item[index] = row.item;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct dg_loader *loader = worker->loader;
    struct slot *slot;
    int index;
    pthread_mutex_lock(&loader->lock);
    while ((slot = issue(loader, &index))) {
        pthread_mutex_unlock(&loader->lock);
        struct dg_error failure = {0};
        fill(worker, slot, index, &failure);
        pthread_mutex_lock(&loader->lock);
        finish(loader, slot, index, &failure);
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
    char text[32];
    dg_log(loader->config.log, DG_LOG_TRACE, DG_LOG_MEM, "the loader's %d batches: %s", loader->slot_count,
           dg_format_bytes(text, sizeof text, (double)sizes->region));
    DG_TRY(dg_region_alloc("the loader's batches", sizes->region, &loader->region, err));
    loader->region_bytes = sizes->region;
    loader->slots = calloc((size_t)loader->slot_count, sizeof *loader->slots);
    if (!loader->slots) return out_of_memory(err);
    for (int i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->data = (float *)loader->region + i * sizes->slot_floats;
        slot->part = calloc((size_t)loader->source->num_parts, sizeof *slot->part);
        slot->item = calloc((size_t)loader->config.batch, sizeof *slot->item);
        if (!slot->part || !slot->item) return out_of_memory(err);
        for (int p = 0; p < loader->source->num_parts; p++) slot->part[p] = slot->data + loader->part_offset[p];
        slot->batch = (struct dg_batch){.data = slot->data, .part = slot->part, .item = slot->item};
    }
    return DG_OK;
}

static enum dg_status start_threads(struct dg_loader *loader, struct dg_error *err)
{
    for (int i = 0; i < loader->config.threads; i++) {
        struct worker *worker = &loader->workers[i];
        worker->loader = loader;
        DG_TRY(loader->source->open_worker(loader->source, &worker->own, err));
    }
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

static enum dg_status set_up(struct dg_loader *loader, struct dg_error *err)
{
    const struct dg_batch_source *source = loader->source;
    struct sizes sizes;
    DG_TRY(dg_loader_check(&loader->config, err));
    DG_TRY(dg_loader_check_range("the number of parts", source->num_parts, 1, DG_LOADER_MAX_PARTS, err));
    DG_TRY(size_up(&loader->config, source, &sizes, err));
    loader->batch_floats = sizes.batch_floats;
    loader->slot_count = loader->config.prefetch + 1;
    loader->part_offset = calloc((size_t)source->num_parts, sizeof *loader->part_offset);
    loader->workers = calloc((size_t)loader->config.threads, sizeof *loader->workers);
    if (!loader->part_offset || !loader->workers) return out_of_memory(err);
    for (int p = 1; p < source->num_parts; p++)
        loader->part_offset[p] = loader->part_offset[p - 1] + loader->config.batch * source->row_floats[p - 1];
    DG_TRY(allocate_slots(loader, &sizes, err));
    return start_threads(loader, err);
}

enum dg_status dg_loader_open(const struct dg_loader_config *config, struct dg_batch_source *source,
                              struct dg_loader **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        source->close(source);
        return out_of_memory(err);
    }
    pthread_mutex_init(&loader->lock, NULL);
    pthread_mutex_init(&loader->message_lock, NULL);
    pthread_cond_init(&loader->work_came, NULL);
    pthread_cond_init(&loader->batch_came, NULL);
    loader->config = *config;
    loader->source = source;
    enum dg_status status = set_up(loader, err);
    if (status == DG_OK)
        *result = loader;
    else
        dg_loader_close(loader);
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
    for (int i = 0; loader->workers && i < loader->config.threads; i++)
        loader->source->close_worker(loader->workers[i].own);
    for (int i = 0; loader->slots && i < loader->slot_count; i++) {
        free(loader->slots[i].part);
        free(loader->slots[i].item);
    }
    take_messages(loader, NULL);
    loader->source->close(loader->source);
    dg_region_free(loader->region, loader->region_bytes);
    free(loader->slots);
    free(loader->workers);
    free(loader->part_offset);
    pthread_cond_destroy(&loader->batch_came);
    pthread_cond_destroy(&loader->work_came);
    pthread_mutex_destroy(&loader->message_lock);
    pthread_mutex_destroy(&loader->lock);
    free(loader);
}

/* ---- the caller's side ---- */

/* Called with the lock. */
static enum dg_status take(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err)
{
    if (loader->failure.status == DG_OK && loader->take_batch >= loader->source->batches) return DG_OK;
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

enum dg_status dg_loader_next(struct dg_loader *loader, const struct dg_batch **batch, struct dg_error *err)
{
    *batch = NULL;
    pthread_mutex_lock(&loader->lock);
    enum dg_status status = take(loader, batch, err);
    pthread_mutex_unlock(&loader->lock);
    take_messages(loader, loader->config.log);
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

#include "runtime/eval/evaluator.h"

#include "runtime/base/finite.h"
#include "runtime/comm/agree.h"
#include "runtime/comm/gather.h"
#include "runtime/data/views.h"
#include "runtime/exec/cpus.h"
#include "runtime/exec/fault.h"
#include "runtime/image/decode.h"
#include "runtime/state/facts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct dg_evaluator {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;
    struct dg_session *session;
    struct dg_comm *comm;
    const struct dg_plan_tensor *images, *output;
    float *input; /* in the session's input region; unused while a loader's batch is bound */
    const float *result;
    int64_t dim, rows; /* numbers an image; images of a batch that are computed */
    struct dg_bad_limit max_bad;
    struct dg_image_rules rules;   /* of images that are no data set's */
    struct dg_fit_size resized;    /* likewise */
    const char *weights;           /* the file */
    struct dg_image_rules trained; /* how images were read in the training of the weights */
    bool trained_is_known, said_rules;
    struct dg_image_notes *notes; /* on them, while they are read */
};

/* Bytes that the loader of dg_evaluate will allocate, known before the session is opened. */
static enum dg_status loader_bytes(const struct dg_plan *plan, const struct dg_knobs *knobs,
                                   const struct dg_plan_entry *entry, const struct dg_evaluator_options *options,
                                   int64_t *bytes, struct dg_error *err)
{
    const struct dg_plan_tensor *images = dg_plan_slot(plan, entry, DG_SLOT_IMAGES);
    int threads = options->threads ? options->threads : dg_default_threads();
    struct dg_loader_config config = dg_loader_config_make(images->dim[0], threads, options->log);
    struct dg_eval_crop crop = dg_evaluate_crop(knobs, images);
    return dg_loader_eval_bytes(&config, &crop, bytes, err);
}

/* Says where images of the same size are resized otherwise than the recipe of the weights says, and keeps how they
 * were read in the training. */
static void check_images(struct dg_evaluator *e, const struct dg_knobs *knobs, const struct dg_plan_tensor *images,
                         const struct dg_evaluator_options *options)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(options->weights, &file, NULL) != DG_OK) return;
    const char *exif = dg_safetensors_metadata(file, "images.exif"),
               *pillow = dg_safetensors_metadata(file, "images.pillow");
    e->weights = options->weights;
    e->trained_is_known = exif && pillow;
    if (exif && pillow) e->trained = (struct dg_image_rules){!strcmp(exif, "true"), atoi(pillow)};
    const char *size = dg_safetensors_metadata(file, "recipe.entries.features.size"),
               *was = dg_safetensors_metadata(file, "set.entries.features.resize");
    int now = dg_evaluate_crop(knobs, images).resize;
    if (options->role == DG_ENTRY_FEATURES && size && was && atoi(size) == images->dim[2] && atoi(was) != now)
        dg_log(options->log, DG_LOG_WARNING, DG_LOG_PLAN,
               "images are resized to %d pixels before the crop, as the plan says; the recipe of %s resizes to %s", now,
               options->weights, was);
    dg_safetensors_close(file);
}

enum dg_status dg_evaluator_open(const struct dg_plan *plan, struct dg_knobs *knobs,
                                 const struct dg_evaluator_options *options, struct dg_evaluator **result,
                                 struct dg_error *err)
{
    *result = NULL;
    struct dg_evaluator *e = calloc(1, sizeof *e);
    if (!e) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    e->plan = plan;
    e->knobs = knobs;
    e->max_bad = options->max_bad;
    e->comm = options->comm;
    e->rules = options->rules;
    e->resized = options->resized;
    const struct dg_plan_entry *entry = NULL;
    enum dg_status status = dg_plan_find_role(plan, options->role, &entry, err);
    struct dg_session_options session = {.threads = options->threads,
                                         .ignore_memory = options->ignore_memory,
                                         .limit = options->memory,
                                         .lent = options->lent,
                                         .shared = options->shared,
                                         .log = options->log};
    if (status == DG_OK && !options->own_images)
        status = loader_bytes(plan, knobs, entry, options, &session.other_bytes, err);
    if (status == DG_OK) {
        dg_knobs_trace(knobs, options->log);
        status = dg_session_open(plan, dg_entry_name(options->role), &session, &e->session, err);
    }
    if (status == DG_OK) check_images(e, knobs, dg_plan_slot(plan, entry, DG_SLOT_IMAGES), options);
    if (status == DG_OK) dg_threads_check(dg_session_threads(e->session), options->log);
    if (status == DG_OK) status = dg_weights_load(e->session, plan, options->weights, &options->choice, err);
    if (status == DG_OK) /* now that names and shapes fit */
        status = dg_facts_check_weights(options->weights, knobs, options->accept_changes, options->log, err);
    if (status == DG_OK) status = dg_session_pack(e->session, err);
    if (status != DG_OK) {
        dg_evaluator_close(e);
        return status;
    }
    e->images = dg_plan_slot(plan, entry, DG_SLOT_IMAGES);
    e->output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    e->input = dg_session_slot(e->session, DG_SLOT_IMAGES);
    e->result = dg_session_slot(e->session, DG_SLOT_OUTPUT);
    e->rows = e->images->dim[0];
    e->dim = 1;
    for (int d = 1; d < e->output->ndim; d++) e->dim *= e->output->dim[d];
    *result = e;
    return DG_OK;
}

void dg_evaluator_close(struct dg_evaluator *evaluator)
{
    if (!evaluator) return;
    dg_session_close(evaluator->session);
    free(evaluator);
}

const struct dg_knobs *dg_evaluator_knobs(const struct dg_evaluator *evaluator) { return evaluator->knobs; }
const struct dg_session *dg_evaluator_session(const struct dg_evaluator *evaluator) { return evaluator->session; }
int64_t dg_evaluator_dim(const struct dg_evaluator *evaluator) { return evaluator->dim; }
const struct dg_plan_tensor *dg_evaluator_images(const struct dg_evaluator *evaluator) { return evaluator->images; }

struct dg_eval_crop dg_evaluate_crop(const struct dg_knobs *knobs, const struct dg_plan_tensor *images)
{
    int height = (int)images->dim[1], width = (int)images->dim[2];
    struct dg_eval_crop crop = {.height = height,
                                .width = width,
                                .resize = (int)dg_knobs_value(knobs, "entries.features.resize", dg_eval_resize(width)),
                                .how = {DG_FILTER_BICUBIC}};
    dg_views_pixels(knobs, crop.mean, crop.std);
    return crop;
}

/* Computes as many images of a batch as there are of `all`: one image costs one image. */
static enum dg_status set_rows(struct dg_evaluator *e, int64_t all, struct dg_error *err)
{
    int64_t rows = dg_min_i64(dg_max_i64(all, 1), e->images->dim[0]);
    if (rows == e->rows) return DG_OK;
    DG_TRY(dg_session_set_rows(e->session, rows, err));
    e->rows = rows;
    return dg_session_pack(e->session, err);
}

enum dg_status dg_evaluate_batch(struct dg_evaluator *e, const float *images, const float **output,
                                 struct dg_error *err)
{
    DG_TRY(set_rows(e, e->images->dim[0], err));
    dg_session_bind(e->session, e->images, (void *)(uintptr_t)images);
    *output = e->result;
    return dg_session_compute(e->session, &(struct dg_step_info){0}, err);
}

/* What is made of a batch: rows of readable images go to the sink, together as far as they follow each other. */
struct sinking {
    dg_evaluated *sink;
    void *context;
    int64_t all;                      /* images */
    bool own;                         /* of several processes, this one's rows alone */
    const struct dg_dataset *dataset; /* which has the images' names, or */
    const char *const *path;
};

/* Some images that follow each other, from `first` on, of a batch. */
struct rows {
    int64_t first, count;
    const bool *unread;  /* [count] */
    const float *output; /* [count, dim] */
};

/* Fails where row `r` of the batch, the image `name`, is not finite, with the first operation that made it so. The
 * batch is still bound. */
static enum dg_status check_row(struct dg_evaluator *e, const struct dg_step_info *info, int64_t r, const char *name,
                                struct dg_error *err)
{
    int64_t at = dg_first_not_finite(e->result + r * e->dim, e->dim), place;
    if (at < 0) return DG_OK;
    double value = e->result[r * e->dim + at]; /* the search computes the batch again */
    char first[1024];
    DG_TRY(dg_fault_find(e->session, e->plan, info, &place, first, sizeof first, err));
    return dg_fail(err, DG_ERR_NUMERIC, "%s: number %" PRId64 " of its %" PRId64 " is %g, which is none; %s", name, at,
                   e->dim, value, first);
}

static enum dg_status check_rows(struct dg_evaluator *e, const struct sinking *s, const struct dg_step_info *info,
                                 const struct rows *rows, struct dg_error *err)
{
    for (int64_t r = 0; r < rows->count; r++) {
        if (rows->unread[r]) continue;
        const char *name = s->dataset ? dg_dataset_path(s->dataset, rows->first + r) : s->path[rows->first + r];
        DG_TRY(check_row(e, info, r, name, err));
    }
    return DG_OK;
}

enum dg_status dg_evaluate_check(struct dg_evaluator *e, const char *name, struct dg_error *err)
{
    return check_row(e, &(struct dg_step_info){0}, 0, name, err);
}

static enum dg_status sink_rows(const struct dg_evaluator *e, const struct sinking *s, const struct rows *rows,
                                struct dg_error *err)
{
    for (int64_t r = 0, end; r < rows->count; r = end) {
        for (end = r; end < rows->count && !rows->unread[end];) end++;
        if (end > r) DG_TRY(s->sink(s->context, rows->output + r * e->dim, end - r, rows->first + end, s->all, err));
        while (end < rows->count && rows->unread[end]) end++;
    }
    return DG_OK;
}

/* A round: a batch of each process, which follow each other in the order of ranks. */
struct round {
    int64_t first;        /* image of the first process's batch */
    int64_t bad, all_bad; /* unreadable images so far: of this process, and of all when the last round ended */
    /* What a process says of its batch: `bad`, then a bool for each row. */
    int64_t said_bytes;
    char *mine, *said; /* [said_bytes]; [ranks, said_bytes] */
    float *output;     /* [ranks, batch, dim]; NULL: the evaluator's own is all that is wanted */
};

static enum dg_status open_round(const struct dg_evaluator *e, const struct sinking *s, struct round *round,
                                 struct dg_error *err)
{
    int64_t batch = e->images->dim[0], ranks = dg_comm_ranks(e->comm);
    *round = (struct round){.said_bytes = (int64_t)sizeof round->bad + batch};
    round->mine = calloc(1, (size_t)round->said_bytes);
    round->said = calloc((size_t)ranks, (size_t)round->said_bytes);
    bool shared = ranks > 1 && !s->own;
    if (shared) round->output = malloc(sizeof *round->output * (size_t)(ranks * batch * e->dim));
    return round->mine && round->said && (round->output || !shared) ? DG_OK
                                                                    : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

static void close_round(struct round *round)
{
    free(round->mine);
    free(round->said);
    free(round->output);
}

static int64_t rows_of(const struct dg_evaluator *e, const struct sinking *s, const struct round *round, int rank,
                       int64_t *first)
{
    *first = round->first + rank * e->images->dim[0];
    return dg_max_i64(0, dg_min_i64(e->images->dim[0], s->all - *first));
}

/* This process's batch of the round. Where too many images are unreadable nothing is computed any more. */
static enum dg_status run_batch(struct dg_evaluator *e, const struct sinking *s, struct round *round,
                                struct dg_loader *loader, struct dg_bad_images *bad, struct dg_error *err)
{
    int64_t limit = dg_bad_limit_of(e->max_bad, s->all), first, readable = 0;
    bool *unread = (bool *)(void *)(round->mine + sizeof round->bad);
    if (!rows_of(e, s, round, dg_comm_rank(e->comm), &first)) return DG_OK;
    const struct dg_batch *batch;
    DG_TRY(dg_loader_next(loader, &batch, err));
    if (!batch) return dg_fail(err, DG_ERR_INTERNAL, "the loader ended early; please report this");
    for (int64_t r = 0; r < batch->rows; r++) {
        unread[r] = batch->item[r] < 0;
        readable += !unread[r];
    }
    round->bad = dg_bad_images_count(bad);
    enum dg_status status = DG_OK;
    if (readable && round->bad <= limit && round->all_bad <= limit) {
        const struct dg_step_info info = {.step = batch->step};
        const struct rows rows = {first, batch->rows, unread, e->result};
        dg_session_bind(e->session, e->images, (void *)(uintptr_t)batch->data);
        status = dg_session_compute(e->session, &info, err);
        if (status == DG_OK) status = check_rows(e, s, &info, &rows, err);
    }
    dg_loader_release(loader, batch);
    return status;
}

/* What processes say of their batches, and where wanted their outputs. */
static enum dg_status exchange(const struct dg_evaluator *e, struct round *round, struct dg_error *err)
{
    memcpy(round->mine, &round->bad, sizeof round->bad);
    DG_TRY(dg_comm_gather_long(e->comm, round->mine, round->said_bytes, round->said, err));
    round->all_bad = 0;
    for (int r = 0; r < dg_comm_ranks(e->comm); r++) {
        int64_t bad;
        memcpy(&bad, round->said + r * round->said_bytes, sizeof bad);
        round->all_bad += bad;
    }
    if (!round->output) return DG_OK;
    return dg_comm_gather_long(e->comm, e->result, e->images->dim[0] * e->dim * (int64_t)sizeof(float), round->output,
                               err);
}

/* The rows of a round, in the order of the images. */
static enum dg_status sink_round(const struct dg_evaluator *e, const struct sinking *s, const struct round *round,
                                 struct dg_error *err)
{
    if (round->all_bad > dg_bad_limit_of(e->max_bad, s->all)) return DG_OK;
    for (int r = 0; r < dg_comm_ranks(e->comm); r++) {
        if (s->own && r != dg_comm_rank(e->comm)) continue;
        struct rows rows = {.unread =
                                (const bool *)(const void *)(round->said + r * round->said_bytes + sizeof round->bad),
                            .output = round->output ? round->output + r * e->images->dim[0] * e->dim : e->result};
        rows.count = rows_of(e, s, round, r, &rows.first);
        DG_TRY(sink_rows(e, s, &rows, err));
    }
    return DG_OK;
}

/* Runs all batches. `status` is what opening the loader has come to; what one process fails at ends all. */
static enum dg_status run_batches(struct dg_evaluator *e, const struct sinking *s, struct dg_loader *loader,
                                  struct dg_bad_images *bad, enum dg_status status, struct dg_error *err)
{
    struct round round = {0};
    if (status == DG_OK) status = open_round(e, s, &round, err);
    for (bool more = true; more; round.first += dg_comm_ranks(e->comm) * e->images->dim[0]) {
        more = round.first < s->all;
        if (status == DG_OK && more) status = run_batch(e, s, &round, loader, bad, err);
        status = dg_comm_agree(e->comm, status, err);
        if (status == DG_OK && more) status = exchange(e, &round, err);
        if (status != DG_OK) break;
        if (more) status = sink_round(e, s, &round, err);
    }
    close_round(&round);
    return status;
}

/* Says once that images are read otherwise than in the training. */
static void compare_rules(struct dg_evaluator *e, struct dg_image_rules now)
{
    int pillow = dg_image_rules_pillow(now);
    bool same = e->trained.exif == now.exif && dg_image_rules_pillow(e->trained) == pillow;
    if (!e->trained_is_known || e->said_rules || same) return;
    e->said_rules = true;
    dg_log(
        dg_session_log(e->session), DG_LOG_WARNING, DG_LOG_LOAD,
        "images are read %s --exif and with --pillow %d, and were %s --exif and with --pillow %d in the training of %s",
        now.exif ? "with" : "without", pillow, e->trained.exif ? "with" : "without", e->trained.pillow, e->weights);
}

/* The images of this process's batches, [count], to be freed. */
static enum dg_status list_own(const struct dg_evaluator *e, int64_t all, int64_t **images, int64_t *count,
                               struct dg_error *err)
{
    int64_t batch = e->images->dim[0], stride = batch * dg_comm_ranks(e->comm);
    *count = 0;
    *images = malloc(sizeof **images * (size_t)(all / dg_comm_ranks(e->comm) + batch));
    if (!*images) return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of images");
    for (int64_t first = batch * dg_comm_rank(e->comm); first < all; first += stride)
        for (int64_t i = first; i < dg_min_i64(first + batch, all); i++) (*images)[(*count)++] = i;
    return DG_OK;
}

static enum dg_status open_loader(struct dg_evaluator *e, struct dg_dataset *dataset, struct dg_bad_images *bad,
                                  struct dg_loader **loader, struct dg_error *err)
{
    const struct dg_log *log = dg_session_log(e->session);
    struct dg_loader_config config = dg_loader_config_make(e->images->dim[0], dg_session_threads(e->session), log);
    struct dg_eval_reading reading = {.dataset = dataset, .crop = dg_evaluate_crop(e->knobs, e->images), .bad = bad};
    int64_t *images = NULL;
    if (e->comm) DG_TRY(list_own(e, dg_dataset_count(dataset), &images, &reading.image_count, err));
    reading.images = images;
    enum dg_status status = DG_OK;
    if (!images || reading.image_count) status = dg_loader_open_eval(&config, &reading, loader, err);
    free(images);
    return status;
}

/* All processes come to the same: each has the list of all unreadable images. */
static enum dg_status settle(struct dg_evaluator *e, struct dg_dataset *dataset, struct dg_bad_images *bad,
                             struct dg_error *err)
{
    int64_t all = dg_dataset_count(dataset);
    DG_TRY(dg_comm_agree(e->comm, dg_bad_images_share(bad, e->comm, err), err));
    const struct dg_log *log = dg_comm_rank(e->comm) ? NULL : dg_session_log(e->session);
    DG_TRY(dg_bad_images_settle(bad, all, dg_bad_limit_of(e->max_bad, all), log, err));
    return bad->count ? dg_dataset_leave_out(dataset, bad, err) : DG_OK;
}

static enum dg_status evaluate(struct dg_evaluator *e, struct dg_dataset *dataset, struct sinking s,
                               struct dg_error *err)
{
    struct dg_bad_images bad;
    struct dg_loader *loader = NULL;
    s.dataset = dataset;
    s.all = dg_dataset_count(dataset);
    compare_rules(e, dg_dataset_rules(dataset));
    dg_bad_images_init(&bad);
    enum dg_status status = open_loader(e, dataset, &bad, &loader, err);
    if (status == DG_OK && !e->comm) status = set_rows(e, s.all, err);
    status = run_batches(e, &s, loader, &bad, status, err);
    dg_loader_close(loader);
    if (status == DG_OK) status = settle(e, dataset, &bad, err);
    dg_dataset_say_notes(dataset, dg_session_log(e->session));
    dg_bad_images_free(&bad);
    return status;
}

enum dg_status dg_evaluate(struct dg_evaluator *e, struct dg_dataset *dataset, dg_evaluated *sink, void *context,
                           struct dg_error *err)
{
    return evaluate(e, dataset, (struct sinking){.sink = sink, .context = context}, err);
}

enum dg_status dg_evaluate_own(struct dg_evaluator *e, struct dg_dataset *dataset, dg_evaluated *sink, void *context,
                               struct dg_error *err)
{
    return evaluate(e, dataset, (struct sinking){.sink = sink, .context = context, .own = true}, err);
}

/* What is read of an image that is shown whole. */
struct whole {
    int pillow;
    struct dg_fit_size resized; /* 0: to height x width */
    int height, width;          /* the part that is wanted */
};

/* Copies the upper left part. */
static void cut(const struct dg_image *image, const struct whole *w, uint8_t *pixels)
{
    for (int y = 0; y < w->height; y++)
        memcpy(pixels + 3 * (ptrdiff_t)y * w->width, image->pixels + 3 * (ptrdiff_t)y * image->width,
               3 * (size_t)w->width);
}

/* dg_read_whole, with notes on the image. */
static enum dg_status read_whole(const char *path, struct dg_image_decoder decoder, const struct whole *w,
                                 uint8_t *pixels, struct dg_error *err)
{
    struct dg_image image = {0}, resized = {0};
    struct dg_scratch work = {0};
    const struct dg_resampling how = {DG_FILTER_BILINEAR, w->pillow};
    const struct dg_fit fit = {DG_FIT_STRETCH, w->resized.height ? w->resized.height : w->height,
                               w->resized.height ? w->resized.width : w->width};
    enum dg_status status = dg_data_decode(path, &decoder, &image, err);
    if (status == DG_OK) status = dg_fit_image(&image, fit, how, &resized, &work, err);
    if (status == DG_OK) cut(&resized, w, pixels);
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
    dg_image_free(&resized);
    dg_scratch_free(&work);
    return status;
}

enum dg_status dg_read_whole(const char *path, struct dg_image_rules rules, struct dg_fit_size resized, int width,
                             int height, uint8_t *pixels, struct dg_error *err)
{
    const struct whole whole = {rules.pillow, resized, height, width};
    return read_whole(path, (struct dg_image_decoder){.turns = rules.exif}, &whole, pixels, err);
}

/* Reads one image into a row of the input. */
static enum dg_status fill_row(const struct dg_evaluator *e, const struct dg_normalizer *normalizer, const char *path,
                               int64_t row, struct dg_error *err)
{
    int height = (int)e->images->dim[1], width = (int)e->images->dim[2];
    int64_t count = (int64_t)height * width;
    uint8_t *pixels = malloc(3 * (size_t)count);
    if (!pixels) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %d x %d pixels", width, height);
    const struct dg_image_decoder decoder = {.turns = e->rules.exif, .noted = e->notes};
    const struct whole whole = {e->rules.pillow, e->resized, height, width};
    enum dg_status status = read_whole(path, decoder, &whole, pixels, err);
    if (status == DG_OK) dg_normalize(normalizer, pixels, count, e->input + row * 3 * count);
    free(pixels);
    return status;
}

/* Reads images `first` and on into the rows of the input; sets unread[rows]. */
static enum dg_status fill_rows(const struct dg_evaluator *e, const char *const *path, int64_t first, int64_t rows,
                                bool *unread, struct dg_bad_images *bad)
{
    double mean[3], std[3];
    dg_views_pixels(e->knobs, mean, std);
    struct dg_normalizer normalizer = dg_normalizer_make(mean, std);
    int worst = DG_OK;
#pragma omp parallel for schedule(dynamic) num_threads(dg_session_threads(e->session)) reduction(max : worst)
    for (int64_t row = 0; row < rows; row++) {
        struct dg_error reason = {0};
        enum dg_status status = fill_row(e, &normalizer, path[first + row], row, &reason);
        unread[row] = status != DG_OK;
        if (status != DG_OK && status != DG_ERR_MEMORY)
            status = dg_bad_images_add(bad, first + row, path[first + row], &reason, NULL);
        if (status == DG_ERR_MEMORY) worst = DG_ERR_MEMORY;
    }
    return worst;
}

static enum dg_status run_whole(struct dg_evaluator *e, const char *const *path, struct dg_bad_images *bad,
                                bool *unread, const struct sinking *s, struct dg_error *err)
{
    int64_t batch = e->images->dim[0], limit = dg_bad_limit_of(e->max_bad, s->all);
    DG_TRY(set_rows(e, s->all, err));
    dg_session_bind(e->session, e->images, e->input);
    memset(e->input, 0, e->images->bytes); /* rows that a last, partial batch leaves */
    for (int64_t first = 0; first < s->all; first += batch) {
        const struct rows rows = {first, dg_min_i64(batch, s->all - first), unread, e->result};
        if (fill_rows(e, path, first, rows.count, unread, bad) != DG_OK)
            return dg_fail(err, DG_ERR_MEMORY, "no memory for images of %d x %d pixels", (int)e->images->dim[2],
                           (int)e->images->dim[1]);
        for (int64_t row = 0; row < rows.count; row++)
            if (!unread[row])
                dg_log(dg_session_log(e->session), DG_LOG_TRACE, DG_LOG_LOAD, "image %s", path[first + row]);
        if (bad->count > limit) continue;
        const struct dg_step_info info = {.step = first / batch};
        DG_TRY(dg_session_compute(e->session, &info, err));
        DG_TRY(check_rows(e, s, &info, &rows, err));
        DG_TRY(sink_rows(e, s, &rows, err));
    }
    return DG_OK;
}

enum dg_status dg_evaluate_whole(struct dg_evaluator *e, const char *const *path, int64_t count, dg_evaluated *sink,
                                 void *context, struct dg_error *err)
{
    const struct sinking s = {.sink = sink, .context = context, .all = count, .path = path};
    struct dg_bad_images bad;
    struct dg_image_notes notes;
    bool *unread = calloc((size_t)e->images->dim[0], sizeof *unread);
    compare_rules(e, e->rules);
    dg_bad_images_init(&bad);
    dg_image_notes_init(&notes);
    e->notes = &notes;
    enum dg_status status =
        unread ? run_whole(e, path, &bad, unread, &s, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK)
        status = dg_bad_images_settle(&bad, count, dg_bad_limit_of(e->max_bad, count), dg_session_log(e->session), err);
    dg_image_notes_say(&notes, dg_session_log(e->session));
    e->notes = NULL;
    dg_image_notes_free(&notes);
    dg_bad_images_free(&bad);
    free(unread);
    return status;
}

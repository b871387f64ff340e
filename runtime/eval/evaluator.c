#include "runtime/eval/evaluator.h"

#include "runtime/data/views.h"
#include "runtime/exec/cpus.h"
#include "runtime/image/decode.h"
#include "runtime/state/weights.h"

#include <stdlib.h>
#include <string.h>

struct dg_evaluator {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;
    struct dg_session *session;
    const struct dg_plan_tensor *images, *output;
    float *input; /* in the session's input region; unused while a loader's batch is bound */
    const float *result;
    int64_t dim;
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

enum dg_status dg_evaluator_open(const struct dg_plan *plan, const struct dg_knobs *knobs,
                                 const struct dg_evaluator_options *options, struct dg_evaluator **result,
                                 struct dg_error *err)
{
    *result = NULL;
    struct dg_evaluator *e = calloc(1, sizeof *e);
    if (!e) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    e->plan = plan;
    e->knobs = knobs;
    const struct dg_plan_entry *entry = NULL;
    enum dg_status status = dg_plan_find_role(plan, options->role, &entry, err);
    struct dg_session_options session = {
        .threads = options->threads, .ignore_memory = options->ignore_memory, .log = options->log};
    if (status == DG_OK) status = loader_bytes(plan, knobs, entry, options, &session.other_bytes, err);
    if (status == DG_OK) {
        dg_knobs_trace(knobs, options->log);
        status = dg_session_open(plan, dg_entry_name(options->role), &session, &e->session, err);
    }
    if (status == DG_OK) dg_threads_check(dg_session_threads(e->session), options->log);
    if (status == DG_OK)
        status = dg_weights_load(e->session, plan, options->weights, options->from, options->partial, err);
    if (status == DG_OK) status = dg_session_pack(e->session, err);
    if (status != DG_OK) {
        dg_evaluator_close(e);
        return status;
    }
    e->images = dg_plan_slot(plan, entry, DG_SLOT_IMAGES);
    e->output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    e->input = dg_session_slot(e->session, DG_SLOT_IMAGES);
    e->result = dg_session_slot(e->session, DG_SLOT_OUTPUT);
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

const struct dg_session *dg_evaluator_session(const struct dg_evaluator *evaluator) { return evaluator->session; }
int64_t dg_evaluator_dim(const struct dg_evaluator *evaluator) { return evaluator->dim; }
const struct dg_plan_tensor *dg_evaluator_images(const struct dg_evaluator *evaluator) { return evaluator->images; }

struct dg_eval_crop dg_evaluate_crop(const struct dg_knobs *knobs, const struct dg_plan_tensor *images)
{
    int height = (int)images->dim[1], width = (int)images->dim[2];
    struct dg_eval_crop crop = {.height = height,
                                .width = width,
                                .resize = (int)dg_knobs_value(knobs, "entries.features.resize", dg_eval_resize(width)),
                                .filter = DG_FILTER_BICUBIC};
    dg_views_pixels(knobs, crop.mean, crop.std);
    return crop;
}

enum dg_status dg_evaluate_batch(struct dg_evaluator *e, const float *images, const float **output,
                                 struct dg_error *err)
{
    dg_session_bind(e->session, e->images, (void *)(uintptr_t)images);
    *output = e->result;
    return dg_session_compute(e->session, &(struct dg_step_info){0}, err);
}

enum dg_status dg_evaluate(struct dg_evaluator *e, const struct dg_dataset *dataset, dg_evaluated *sink, void *context,
                           struct dg_error *err)
{
    struct dg_loader_config config =
        dg_loader_config_make(e->images->dim[0], dg_session_threads(e->session), dg_session_log(e->session));
    struct dg_eval_reading reading = {.dataset = dataset, .crop = dg_evaluate_crop(e->knobs, e->images)};
    struct dg_loader *loader;
    DG_TRY(dg_loader_open_eval(&config, &reading, &loader, err));
    enum dg_status status = DG_OK;
    int64_t done = 0, all = dg_dataset_count(dataset);
    while (status == DG_OK) {
        const struct dg_batch *batch;
        status = dg_loader_next(loader, &batch, err);
        if (status != DG_OK || !batch) break;
        dg_session_bind(e->session, e->images, (void *)(uintptr_t)batch->data);
        struct dg_step_info info = {.step = batch->step};
        status = dg_session_compute(e->session, &info, err);
        int64_t rows = batch->rows;
        dg_loader_release(loader, batch);
        done += rows;
        if (status == DG_OK) status = sink(context, e->result, rows, done, all, err);
    }
    dg_loader_close(loader);
    return status;
}

enum dg_status dg_read_whole(const char *path, int width, int height, uint8_t *pixels, struct dg_error *err)
{
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_scratch work = {0};
    enum dg_status status = dg_image_decode_file(&decoder, path, &image, err);
    if (status == DG_OK)
        status = dg_image_resize(&image, (struct dg_box){0, 0, image.width, image.height}, DG_FILTER_BILINEAR, width,
                                 height, pixels, &work, err);
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
    dg_scratch_free(&work);
    return status;
}

/* Reads one image into a row of the input. */
static enum dg_status fill_row(const struct dg_evaluator *e, const struct dg_normalizer *normalizer, const char *path,
                               int64_t row, struct dg_error *err)
{
    int height = (int)e->images->dim[1], width = (int)e->images->dim[2];
    int64_t count = (int64_t)height * width;
    uint8_t *pixels = malloc(3 * (size_t)count);
    if (!pixels) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %d x %d pixels", width, height);
    enum dg_status status = dg_read_whole(path, width, height, pixels, err);
    if (status == DG_OK) dg_normalize(normalizer, pixels, count, e->input + row * 3 * count);
    free(pixels);
    return status;
}

enum dg_status dg_evaluate_whole(struct dg_evaluator *e, const char *const *path, int64_t count, dg_evaluated *sink,
                                 void *context, struct dg_error *err)
{
    int64_t batch = e->images->dim[0];
    double mean[3], std[3];
    dg_views_pixels(e->knobs, mean, std);
    struct dg_normalizer normalizer = dg_normalizer_make(mean, std);
    dg_session_bind(e->session, e->images, e->input);
    memset(e->input, 0, e->images->bytes); /* rows that a last, partial batch leaves */
    for (int64_t first = 0; first < count; first += batch) {
        int64_t rows = dg_min_i64(batch, count - first), bad = rows;
#pragma omp parallel for schedule(dynamic) num_threads(dg_session_threads(e->session)) reduction(min : bad)
        for (int64_t row = 0; row < rows; row++)
            if (fill_row(e, &normalizer, path[first + row], row, NULL) != DG_OK) bad = dg_min_i64(bad, row);
        if (bad < rows) DG_TRY(fill_row(e, &normalizer, path[first + bad], bad, err)); /* the first one's reason */
        for (int64_t row = 0; row < rows; row++)
            dg_log(dg_session_log(e->session), DG_LOG_TRACE, DG_LOG_LOAD, "image %s", path[first + row]);
        DG_TRY(dg_session_compute(e->session, &(struct dg_step_info){.step = first / batch}, err));
        DG_TRY(sink(context, e->result, rows, first + rows, count, err));
    }
    return DG_OK;
}

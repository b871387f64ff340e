#include "runtime/eval/sizes.h"

#include "runtime/base/memory.h"
#include "runtime/data/views.h"
#include "runtime/image/interpolate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPEN = 64 };

/* A size, with its plan and session. */
struct sized {
    int height, width;
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_evaluator *evaluator;
    struct dg_normalizer normalizer;
    int64_t bytes; /* of the session, without the program's and what it shares */
    int64_t used;  /* the count of uses at its last one */
};

struct dg_sizes {
    const struct dg_plan *plan;
    struct dg_sizes_options options;
    int patch;
    struct sized *open[MAX_OPEN];
    int count;
    int64_t program; /* bytes of program and libraries, which sessions share */
    struct dg_shared_weights *shared;
    int64_t uses; /* of sessions */
    struct dg_sizes_use use;
    struct dg_scratch normalized, scaled, sum; /* of an image at several scales */
    uint64_t *met;                             /* [use.sizes]: height << 32 | width */
};

enum dg_status dg_sizes_open(const struct dg_plan *plan, const struct dg_sizes_options *options,
                             struct dg_sizes **result, struct dg_error *err)
{
    struct dg_patches patches;
    struct dg_sizes *s = *result = calloc(1, sizeof *s);
    if (!s) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    s->plan = plan;
    s->options = *options;
    s->patch = dg_patches_init(plan, DG_ENTRY_TOKENS, &patches, NULL) == DG_OK ? patches.size : 1;
    s->use.memory = options->evaluator.memory ? options->evaluator.memory : dg_memory_available() / 2;
    enum dg_status status = dg_shared_weights_open(&s->shared, err);
    if (status == DG_OK) return DG_OK;
    free(s);
    *result = NULL;
    return status;
}

static void close_size(struct sized *size)
{
    if (!size) return;
    dg_evaluator_close(size->evaluator);
    dg_knobs_close(&size->knobs);
    dg_plan_close(&size->plan);
    free(size);
}

void dg_sizes_close(struct dg_sizes *s)
{
    if (!s) return;
    for (int i = 0; i < s->count; i++) close_size(s->open[i]);
    dg_shared_weights_close(s->shared);
    dg_scratch_free(&s->normalized);
    dg_scratch_free(&s->scaled);
    dg_scratch_free(&s->sum);
    free(s->met);
    free(s);
}

struct dg_sizes_use dg_sizes_use(const struct dg_sizes *s) { return s->use; }

static int64_t open_bytes(const struct dg_sizes *s)
{
    int64_t bytes = s->program + dg_shared_weights_bytes(s->shared);
    for (int i = 0; i < s->count; i++) bytes += s->open[i]->bytes;
    return bytes;
}

static void close_oldest(struct dg_sizes *s)
{
    int oldest = 0;
    for (int i = 1; i < s->count; i++)
        if (s->open[i]->used < s->open[oldest]->used) oldest = i;
    close_size(s->open[oldest]);
    s->open[oldest] = s->open[--s->count];
}

/* Opens the session, if need be in the place of others. */
static enum dg_status open_evaluator(struct dg_sizes *s, struct sized *size, struct dg_error *err)
{
    struct dg_evaluator_options options = s->options.evaluator;
    int64_t before;
    options.shared = s->shared;
    if (s->use.openings) options.log = NULL; /* which weights were taken has been said */
    for (;;) {
        struct dg_error reason = {0};
        before = dg_shared_weights_bytes(s->shared);
        options.memory = dg_max_i64(s->use.memory - open_bytes(s) + s->program, 1);
        enum dg_status status = dg_evaluator_open(&size->plan, &size->knobs, &options, &size->evaluator, &reason);
        if (status == DG_OK) break;
        if (status != DG_ERR_MEMORY || !s->count) {
            if (status == DG_ERR_MEMORY) dg_error_prefix(&reason, "images of %dx%d pixels", size->height, size->width);
            return dg_fail(err, status, "%s", reason.text);
        }
        close_oldest(s);
    }
    const struct dg_session *session = dg_evaluator_session(size->evaluator);
    struct dg_session_memory memory = dg_session_memory(session);
    s->program = memory.allowance;
    size->bytes = memory.total - memory.allowance - (dg_shared_weights_bytes(s->shared) - before);
    s->use.own = dg_max_i64(s->use.own, size->bytes);
    s->use.threads = dg_session_threads(session);
    if (!s->use.openings) s->use.weights = dg_weights_hash(session, DG_FNV_BASIS);
    return DG_OK;
}

static enum dg_status count_size(struct dg_sizes *s, const struct sized *size, struct dg_error *err)
{
    uint64_t key = (uint64_t)size->height << 32 | (uint32_t)size->width, *grown;
    s->use.openings++;
    s->use.most = dg_max_i64(s->use.most, open_bytes(s));
    for (int64_t i = 0; i < s->use.sizes; i++)
        if (s->met[i] == key) return DG_OK;
    grown = realloc(s->met, (size_t)(s->use.sizes + 1) * sizeof *grown);
    if (!grown) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    s->met = grown;
    s->met[s->use.sizes++] = key;
    return DG_OK;
}

static enum dg_status open_size(struct dg_sizes *s, struct sized *size, struct dg_error *err)
{
    double mean[3], std[3];
    DG_TRY(s->options.make(s->options.context, s->plan, size->height, size->width, &size->plan, err));
    DG_TRY(dg_knobs_open(&size->plan, &size->knobs, err));
    DG_TRY(open_evaluator(s, size, err));
    if (dg_evaluator_images(size->evaluator)->dim[0] != 1)
        return dg_fail(err, DG_ERR_INTERNAL, "a plan for images of many sizes has a batch; please report this");
    dg_views_pixels(&size->knobs, mean, std);
    size->normalizer = dg_normalizer_make(mean, s->options.std ? s->options.std : std);
    return DG_OK;
}

/* Finds the session of that size, or opens it. */
static enum dg_status find_size(struct dg_sizes *s, int height, int width, struct sized **found, struct dg_error *err)
{
    for (int i = 0; i < s->count; i++)
        if (s->open[i]->height == height && s->open[i]->width == width) {
            *found = s->open[i];
            (*found)->used = s->uses++;
            return DG_OK;
        }
    struct sized *size = *found = calloc(1, sizeof *size);
    if (!size) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (s->count == MAX_OPEN) close_oldest(s);
    size->height = height;
    size->width = width;
    size->used = s->uses++;
    enum dg_status status = open_size(s, size, err);
    if (status != DG_OK) {
        close_size(size);
        return status;
    }
    s->open[s->count++] = size;
    return count_size(s, size, err);
}

/* The part of an image that patches cover. */
static enum dg_status cover(const struct dg_sizes *s, int *height, int *width, const char *name, struct dg_error *err)
{
    if (*height < s->patch || *width < s->patch)
        return dg_fail(err, DG_ERR_INPUT, "%s: an image of %dx%d pixels (height x width) has no room for a patch of %d",
                       name, *height, *width, s->patch);
    *height -= *height % s->patch;
    *width -= *width % s->patch;
    return DG_OK;
}

/* Cuts the sides of an image to what patches cover, and finds the session of that size. */
static enum dg_status find_covered(struct dg_sizes *s, int *height, int *width, const char *name, struct sized **size,
                                   struct dg_error *err)
{
    DG_TRY(cover(s, height, width, name, err));
    return find_size(s, *height, *width, size, err);
}

static struct dg_sized_output output_of(const struct sized *size)
{
    return (struct dg_sized_output){
        .dim = dg_evaluator_dim(size->evaluator), .plan = &size->plan, .height = size->height, .width = size->width};
}

enum dg_status dg_sizes_prepare(struct dg_sizes *s, int height, int width, struct dg_sized_output *output,
                                struct dg_error *err)
{
    struct sized *size;
    DG_TRY(find_covered(s, &height, &width, "images", &size, err));
    if (output) *output = output_of(size);
    return DG_OK;
}

/* Runs the session of that size on the image in its input. */
static enum dg_status compute(struct sized *size, const float *input, const char *name, struct dg_sized_output *output,
                              struct dg_error *err)
{
    *output = output_of(size);
    DG_TRY(dg_evaluate_batch(size->evaluator, input, &output->output, err));
    return dg_evaluate_check(size->evaluator, name, err);
}

static float *input_of(const struct sized *size)
{
    return dg_session_slot(dg_evaluator_session(size->evaluator), DG_SLOT_IMAGES);
}

static enum dg_status run_once(struct dg_sizes *s, const uint8_t *pixels, int height, int width, const char *name,
                               struct dg_sized_output *output, struct dg_error *err)
{
    struct sized *size;
    int line = width;
    DG_TRY(find_covered(s, &height, &width, name, &size, err));
    float *input = input_of(size);
    for (int y = 0; y < height; y++)
        dg_normalize(&size->normalizer, pixels + 3 * (int64_t)y * line, width, input + 3 * (int64_t)y * width);
    return compute(size, input, name, output, err);
}

/* ---- scales ---- */

/* The same of numbers that are normalised. */
static enum dg_status run_normalized(struct dg_sizes *s, const float *pixels, int height, int width, const char *name,
                                     struct dg_sized_output *output, struct dg_error *err)
{
    struct sized *size;
    int line = width;
    DG_TRY(find_covered(s, &height, &width, name, &size, err));
    float *input = input_of(size);
    for (int y = 0; y < height; y++)
        memcpy(input + 3 * (int64_t)y * width, pixels + 3 * (int64_t)y * line, 3 * (size_t)width * sizeof *input);
    return compute(size, input, name, output, err);
}

/* Adds the output for the image at a scale to s->sum. */
static enum dg_status add_scale(struct dg_sizes *s, int height, int width, double scale, const char *name,
                                struct dg_sized_output *output, struct dg_error *err)
{
    const float *pixels = s->normalized.bytes;
    int rows = dg_interpolated_size(height, scale), cols = dg_interpolated_size(width, scale);
    if (scale < 1) {
        DG_TRY(dg_scratch_reserve(&s->scaled, 3 * (size_t)rows * (size_t)cols * sizeof *pixels, err));
        dg_interpolate(pixels, height, width, scale, s->scaled.bytes);
        pixels = s->scaled.bytes;
    }
    DG_TRY(run_normalized(s, pixels, rows, cols, name, output, err));
    DG_TRY(dg_scratch_reserve(&s->sum, (size_t)output->dim * sizeof *pixels, err));
    float *sum = s->sum.bytes;
    for (int64_t i = 0; i < output->dim; i++) sum[i] = scale < 1 ? sum[i] + output->output[i] : output->output[i];
    return DG_OK;
}

static enum dg_status run_scales(struct dg_sizes *s, const uint8_t *pixels, int height, int width, const char *name,
                                 struct dg_sized_output *output, struct dg_error *err)
{
    const double scale[] = {1, 1 / sqrt(2.0), 0.5};
    struct sized *size;
    int rows = height, cols = width;                         /* that patches cover */
    DG_TRY(find_covered(s, &rows, &cols, name, &size, err)); /* which has the normalisation, of the weights */
    DG_TRY(dg_scratch_reserve(&s->normalized, 3 * (size_t)height * (size_t)width * sizeof(float), err));
    dg_normalize(&size->normalizer, pixels, (int64_t)height * width, s->normalized.bytes);
    for (int i = 0; i < 3; i++) DG_TRY(add_scale(s, height, width, scale[i], name, output, err));
    float *sum = s->sum.bytes;
    double square = 0;
    for (int64_t i = 0; i < output->dim; i++) {
        sum[i] /= 3;
        square += (double)sum[i] * (double)sum[i];
    }
    for (int64_t i = 0; i < output->dim; i++) sum[i] /= (float)sqrt(square);
    *output = (struct dg_sized_output){sum, output->dim, NULL, rows, cols};
    return DG_OK;
}

enum dg_status dg_sizes_run(struct dg_sizes *s, const uint8_t *pixels, int height, int width, const char *name,
                            struct dg_sized_output *output, struct dg_error *err)
{
    return (s->options.multiscale ? run_scales : run_once)(s, pixels, height, width, name, output, err);
}

/* ---- data sets ---- */

struct reading {
    struct dg_image_decoder decoder;
    struct dg_image image, fitted;
    struct dg_scratch work;
};

static enum dg_status read_fitted(const struct dg_sized_images *images, int64_t i, struct reading *r,
                                  struct dg_error *err)
{
    const struct dg_resampling how = {images->filter, dg_dataset_rules(images->dataset).pillow};
    DG_TRY(dg_dataset_decode(images->dataset, i, &r->decoder, &r->image, err));
    enum dg_status status = dg_fit_image(&r->image, images->fit, how, &r->fitted, &r->work, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", dg_dataset_path(images->dataset, i));
    return status;
}

enum dg_status dg_sizes_evaluate(struct dg_sizes *s, const struct dg_sized_images *images, dg_sized_sink *sink,
                                 void *context, struct dg_error *err)
{
    struct dg_dataset *dataset = images->dataset;
    int64_t all = images->index ? images->count : dg_dataset_count(dataset);
    int64_t limit = images->index ? 0 : dg_bad_limit_of(s->options.evaluator.max_bad, all);
    const struct dg_log *log = s->options.evaluator.log;
    struct dg_bad_images bad;
    struct reading reading = {0};
    enum dg_status status = DG_OK;
    dg_bad_images_init(&bad);
    dg_dataset_set_decoder(dataset, &reading.decoder);
    for (int64_t n = 0; n < all && status == DG_OK; n++) {
        int64_t i = images->index ? images->index[n] : n;
        struct dg_error reason = {0};
        struct dg_sized_output output = {0};
        status = read_fitted(images, i, &reading, &reason);
        if (status == DG_ERR_MEMORY) {
            dg_fail(err, status, "%s", reason.text);
        } else if (status != DG_OK) {
            status = dg_bad_images_add(&bad, i, dg_dataset_path(dataset, i), &reason, err);
        } else if (bad.count <= limit) {
            status = dg_sizes_run(s, reading.fitted.pixels, reading.fitted.height, reading.fitted.width,
                                  dg_dataset_path(dataset, i), &output, err);
            if (status == DG_OK) status = sink(context, &output, i, n + 1, all, err);
        }
    }
    if (status == DG_OK) status = dg_bad_images_settle(&bad, all, limit, log, err);
    if (status == DG_OK && bad.count) status = dg_dataset_leave_out(dataset, &bad, err);
    dg_dataset_say_notes(dataset, log);
    dg_bad_images_free(&bad);
    dg_image_decoder_free(&reading.decoder);
    dg_image_free(&reading.image);
    dg_image_free(&reading.fitted);
    dg_scratch_free(&reading.work);
    return status;
}

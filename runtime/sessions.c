/* dinograph.h, but for models. */
#include "runtime/sessions.h"

#include "runtime/base/about.h"
#include "runtime/draw/patches.h"
#include "runtime/state/facts.h"
#include "runtime/state/weights.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME(name) _Static_assert((int)DINOGRAPH_##name == (int)DG_##name, "the public numbers are the internal ones")
SAME(OK);
SAME(ERR_USAGE);
SAME(ERR_INPUT);
SAME(ERR_IO);
SAME(ERR_MEMORY);
SAME(ERR_UNSUPPORTED);
SAME(ERR_NUMERIC);
SAME(ERR_INTERNAL);
SAME(F32);
SAME(F64);
SAME(I64);
SAME(U8);
#undef SAME
_Static_assert(sizeof((dinograph_tensor){0}.dim) / sizeof(int64_t) >= DG_MAX_DIMS, "every shape fits");

static _Thread_local char last_error[sizeof((struct dg_error){0}.text)];

const char *dinograph_error(void) { return last_error; }

const char *dinograph_version(void) { return dg_version(); }

dinograph_status dg_told(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) memcpy(last_error, err->text, sizeof last_error);
    return (dinograph_status)status;
}

/* The caller's OpenMP settings, while a session has its own. */
struct openmp {
    int threads, dynamic;
};

static struct openmp take_openmp(int threads)
{
    struct openmp before = {omp_get_max_threads(), omp_get_dynamic()};
    omp_set_dynamic(0);
    if (threads) omp_set_num_threads(threads);
    return before;
}

static void give_back_openmp(struct openmp before)
{
    omp_set_dynamic(before.dynamic);
    omp_set_num_threads(before.threads);
}

/* ---- plans ---- */

enum dg_status dg_library_plan_begin(struct dinograph_plan *plan, struct dg_error *err)
{
    *plan = (struct dinograph_plan){.log.write = dg_log_trace_to_stderr};
    return dg_log_read_environment(&plan->log.trace, err);
}

enum dg_status dg_library_plan_complete(struct dinograph_plan *plan, struct dg_error *err)
{
    DG_TRY(dg_knobs_open(&plan->plan, &plan->knobs, err));
    dg_knobs_trace(&plan->knobs, &plan->log);
    return DG_OK;
}

void dg_library_plan_clear(struct dinograph_plan *plan)
{
    dg_knobs_close(&plan->knobs);
    dg_plan_close(&plan->plan);
}

dinograph_status dinograph_plan_open(const char *path, dinograph_plan **result)
{
    *result = NULL;
    struct dg_error err = {0};
    struct dinograph_plan *plan = calloc(1, sizeof *plan);
    if (!plan) FAIL(DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_library_plan_begin(plan, &err);
    if (status == DG_OK) status = dg_plan_open(path, &plan->plan, &err);
    if (status == DG_OK) status = dg_library_plan_complete(plan, &err);
    if (status == DG_OK)
        *result = plan;
    else
        dinograph_plan_close(plan);
    return dg_told(status, &err);
}

void dinograph_plan_close(dinograph_plan *plan)
{
    if (!plan) return;
    dg_library_plan_clear(plan);
    free(plan);
}

int dinograph_plan_entries(const dinograph_plan *plan) { return (int)plan->plan.num_entries; }

const char *dinograph_plan_entry(const dinograph_plan *plan, int index)
{
    if (index < 0 || (uint32_t)index >= plan->plan.num_entries) return NULL;
    return dg_plan_string(&plan->plan, plan->plan.entry[index].name);
}

/* ---- sessions ---- */

static const struct dg_plan_entry *entry_of(const struct dinograph_session *session)
{
    return dg_session_entry(session->session);
}

static const struct dg_plan_tensor *input_at(const struct dinograph_session *session, uint32_t index)
{
    const struct dg_plan *plan = &session->plan->plan;
    return &plan->tensor[plan->operand[entry_of(session)->first_input + index]];
}

/* The input of that name and its number, or NULL. */
static const struct dg_plan_tensor *find_input(const struct dinograph_session *session, const char *name,
                                               uint32_t *index)
{
    for (*index = 0; *index < entry_of(session)->num_inputs; ++*index) {
        const struct dg_plan_tensor *tensor = input_at(session, *index);
        if (!strcmp(dg_plan_string(&session->plan->plan, tensor->name), name)) return tensor;
    }
    return NULL;
}

/* Images are prepared as the knobs say, and read as the model does. */
static enum dg_status set_crop(struct dinograph_session *session, const struct dg_knobs *knobs, struct dg_error *err)
{
    struct dg_eval_crop crop = dg_evaluate_crop(knobs, session->images);
    if (session->model) crop.how.pillow = session->model->rules.pillow;
    DG_TRY(dg_eval_crop_check(&crop, err));
    session->crop = crop;
    session->normalizer = dg_normalizer_make(crop.mean, crop.std);
    return DG_OK;
}

static enum dg_status prepare_inputs(struct dinograph_session *session, struct dg_error *err)
{
    const struct dg_plan *plan = &session->plan->plan;
    uint32_t count = entry_of(session)->num_inputs, index;
    session->own = calloc(count + 1, sizeof *session->own);
    session->bound = calloc(count + 1, sizeof *session->bound);
    if (!session->own || !session->bound) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        session->own[i] = dg_session_data(session->session, plan->operand[entry_of(session)->first_input + i]);
    const struct dg_plan_tensor *images = find_input(session, "images", &index);
    if (!images || images->dtype != DG_F32 || images->ndim != 4 || images->dim[3] != 3) return DG_OK;
    session->images = images;
    session->decoder.turns = session->model && session->model->rules.exif;
    return set_crop(session, &session->plan->knobs, err);
}

static enum dg_status prepare_classifier(struct dinograph_session *session, struct dg_error *err)
{
    if (!session->classifier) return DG_OK;
    size_t bytes = (size_t)(entry_of(session)->batch * session->classifier->classes) * sizeof(float);
    session->logits = calloc(1, bytes);
    session->probabilities = calloc(1, bytes);
    return session->logits && session->probabilities ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

dinograph_status dg_library_session_open(const struct dg_library_purpose *purpose, const dinograph_options *options,
                                         dinograph_session **result)
{
    *result = NULL;
    const struct dinograph_plan *plan = purpose->plan;
    const char *entry_name = purpose->entry;
    static const dinograph_options usual;
    struct dg_error err = {0};
    const struct dg_plan_entry *entry;
    if (!options) options = &usual;
    if (memcmp(options->reserved, usual.reserved, sizeof usual.reserved))
        FAIL(DG_ERR_USAGE, "dinograph_options: what is reserved must be zero");
    if (options->threads < 0 || options->threads > 1024)
        FAIL(DG_ERR_USAGE, "dinograph_options: threads is %d; it must be from 0 to 1024", options->threads);
    enum dg_status status = dg_plan_find_entry(&plan->plan, entry_name, &entry, &err);
    if (status != DG_OK) return dg_told(status, &err);
    if (entry->first_commit != entry->num_ops)
        FAIL(DG_ERR_USAGE, "entry %s changes weights: that is dinorun train's", entry_name);

    struct dinograph_session *session = calloc(1, sizeof *session);
    if (!session) FAIL(DG_ERR_MEMORY, "out of memory");
    session->plan = plan;
    session->model = purpose->model;
    session->classifier = purpose->classifier;
    struct openmp before = take_openmp(0); /* opening sets the number itself */
    status =
        dg_session_open(&plan->plan, entry_name,
                        &(struct dg_session_options){
                            .threads = options->threads, .ignore_memory = options->ignore_memory, .log = &plan->log},
                        &session->session, &err);
    give_back_openmp(before);
    if (status == DG_OK) status = prepare_inputs(session, &err);
    if (status == DG_OK) status = prepare_classifier(session, &err);
    session->rows = entry->batch;
    if (status == DG_OK)
        *result = session;
    else
        dinograph_session_close(session);
    return dg_told(status, &err);
}

dinograph_status dinograph_session_open(const dinograph_plan *plan, const char *entry, const dinograph_options *options,
                                        dinograph_session **session)
{
    return dg_library_session_open(&(struct dg_library_purpose){.plan = plan, .entry = entry}, options, session);
}

void dinograph_session_close(dinograph_session *session)
{
    if (!session) return;
    dg_session_close(session->session);
    dinograph_model_close(session->own_model);
    free(session->logits);
    free(session->probabilities);
    dg_image_decoder_free(&session->decoder);
    dg_image_free(&session->image);
    dg_scratch_free(&session->view);
    dg_scratch_free(&session->work);
    free(session->own);
    free(session->bound);
    free(session);
}

int dinograph_session_threads(const dinograph_session *session) { return dg_session_threads(session->session); }

/* Finds the patches of the plan's images; all zero if they are not known, as those of a ResNet. */
static struct dg_patches find_patches(const struct dg_plan *plan)
{
    static const enum dg_entry_role roles[] = {DG_ENTRY_TOKENS, DG_ENTRY_ATTENTION};
    struct dg_patches patches;
    struct dg_error none = {0};
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++)
        if (dg_patches_init(plan, roles[r], &patches, &none) == DG_OK) return patches;
    return (struct dg_patches){0};
}

dinograph_status dinograph_session_info(const dinograph_session *session, dinograph_info *info)
{
    const struct dg_plan_entry *entry = entry_of(session);
    const struct dg_plan_tensor *output = dg_plan_slot(&session->plan->plan, entry, DG_SLOT_OUTPUT);
    *info = (dinograph_info){.batch = entry->batch, .classes = dinograph_classes(session)};
    bool attention = !strcmp(dg_plan_string(&session->plan->plan, entry->name), dg_entry_name(DG_ENTRY_ATTENTION));
    if (output && output->ndim > 1 && !attention) info->dim = output->dim[output->ndim - 1];
    if (!session->images) return DINOGRAPH_OK;
    const struct dg_eval_crop *crop = &session->crop;
    info->height = crop->height;
    info->width = crop->width;
    info->resize = crop->resize;
    memcpy(info->mean, crop->mean, sizeof info->mean);
    memcpy(info->std, crop->std, sizeof info->std);
    struct dg_patches patches = find_patches(&session->plan->plan);
    if (patches.height != crop->height || patches.width != crop->width) return DINOGRAPH_OK;
    info->patch_size = patches.size;
    info->patch_rows = patches.rows;
    info->patch_cols = patches.cols;
    info->first_patch = (int)patches.first;
    return DINOGRAPH_OK;
}

/* Compares the network of the file with the plan's, and the classifier with its features; sees images as in its
 * training. */
static enum dg_status take_facts(struct dinograph_session *session, const char *path, struct dg_error *err)
{
    struct dg_knobs knobs;
    const struct dg_log *log = &session->plan->log;
    const struct dinograph_model *model = session->model;
    DG_TRY(dg_knobs_open(&session->plan->plan, &knobs, err));
    enum dg_status status = dg_facts_check_weights(path, &knobs, false, log, err);
    if (model && model->source.kind != DG_MODEL_PLAN) dg_model_take_resize(path, &knobs);
    if (session->classifier) dg_classifier_take_resize(session->classifier, &knobs);
    if (status == DG_OK && session->classifier && model->head_file)
        status = dg_classifier_check(model->head_file, session->session, &knobs, model->rules, log, err);
    if (status == DG_OK && session->images) status = set_crop(session, &knobs, err);
    dg_knobs_close(&knobs);
    return status;
}

dinograph_status dinograph_load_weights(dinograph_session *session, const char *path, const char *from)
{
    struct dg_error err = {0};
    if (!from) from = "teacher";
    if (strcmp(from, "teacher") && strcmp(from, "student"))
        FAIL(DG_ERR_USAGE, "weights from %s: expected teacher or student", from);
    if (session->classifier && strcmp(path, session->model->weights))
        FAIL(DG_ERR_USAGE, "a classifier's session has its model's weights, %s, and takes no others",
             session->model->weights);
    session->loaded = session->ran = false;
    struct openmp before = take_openmp(dg_session_threads(session->session));
    enum dg_status status =
        dg_weights_load(session->session, &session->plan->plan, path, &(struct dg_weights_options){.from = from}, &err);
    if (status == DG_OK) status = take_facts(session, path, &err); /* now that names and shapes fit */
    if (status == DG_OK) status = dg_session_pack(session->session, &err);
    give_back_openmp(before);
    session->loaded = status == DG_OK;
    return dg_told(status, &err);
}

/* ---- inputs and outputs ---- */

/* The outputs of a classifier, behind those of its features. */
static const char *const classified[] = {"logits", "probabilities"};
enum { CLASSIFIED = sizeof classified / sizeof *classified };

static dinograph_status describe(const struct dinograph_session *session, const char *what, uint32_t first,
                                 uint32_t count, int index, dinograph_tensor *result)
{
    const struct dg_plan *plan = &session->plan->plan;
    if (index < 0 || (uint32_t)index >= count)
        FAIL(DG_ERR_USAGE, "entry %s has no %s %d; it has %u", dg_plan_string(plan, entry_of(session)->name), what,
             index, count);
    const struct dg_plan_tensor *tensor = &plan->tensor[plan->operand[first + (uint32_t)index]];
    *result = (dinograph_tensor){.name = dg_plan_string(plan, tensor->name),
                                 .type = (dinograph_type)tensor->dtype,
                                 .ndim = tensor->ndim,
                                 .bytes = tensor->bytes};
    memcpy(result->dim, tensor->dim, sizeof tensor->dim);
    return DINOGRAPH_OK;
}

int dinograph_inputs(const dinograph_session *session) { return (int)entry_of(session)->num_inputs; }

dinograph_status dinograph_input(const dinograph_session *session, int index, dinograph_tensor *tensor)
{
    const struct dg_plan_entry *entry = entry_of(session);
    return describe(session, "input", entry->first_input, entry->num_inputs, index, tensor);
}

int dinograph_outputs(const dinograph_session *session)
{
    return (int)entry_of(session)->num_outputs + (session->classifier ? CLASSIFIED : 0);
}

dinograph_status dinograph_output(const dinograph_session *session, int index, dinograph_tensor *tensor)
{
    const struct dg_plan_entry *entry = entry_of(session);
    int more = index - (int)entry->num_outputs;
    if (session->classifier && more >= 0 && more < CLASSIFIED) {
        int64_t classes = session->classifier->classes;
        *tensor = (dinograph_tensor){.name = classified[more],
                                     .type = DINOGRAPH_F32,
                                     .ndim = 2,
                                     .dim = {entry->batch, classes},
                                     .bytes = (size_t)(entry->batch * classes) * sizeof(float)};
        return DINOGRAPH_OK;
    }
    return describe(session, "output", entry->first_output, entry->num_outputs, index, tensor);
}

/* Checks name and size of an input, and sets its number. */
static enum dg_status check_input(const struct dinograph_session *session, const char *name, size_t bytes,
                                  uint32_t *index, struct dg_error *err)
{
    const struct dg_plan *plan = &session->plan->plan;
    const char *entry = dg_plan_string(plan, entry_of(session)->name);
    const struct dg_plan_tensor *tensor = find_input(session, name, index);
    if (!tensor) {
        char list[256] = "";
        for (uint32_t i = 0; i < entry_of(session)->num_inputs; i++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                     dg_plan_string(plan, input_at(session, i)->name));
        }
        return dg_fail(err, DG_ERR_USAGE, "entry %s has no input %s; it has: %s", entry, name, list);
    }
    if (bytes == tensor->bytes) return DG_OK;
    char shape[96];
    struct dg_desc desc = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
    return dg_fail(err, DG_ERR_USAGE, "input %s of entry %s is %s, %llu bytes, and %zu were given", name, entry,
                   dg_desc_text(shape, sizeof shape, &desc), (unsigned long long)tensor->bytes, bytes);
}

/* Rows that the next run computes: those that were chosen, or no more than were ever set, so that one image costs one
 * image. */
static int64_t wanted_rows(const struct dinograph_session *session)
{
    if (session->chosen) return session->chosen;
    return session->set ? session->set : entry_of(session)->batch;
}

/* Prepares the operations for so many rows. After a failure they are not prepared, and the next run tries again. */
static enum dg_status prepare_rows(struct dinograph_session *session, int64_t rows, struct dg_error *err)
{
    if (rows == session->rows) return DG_OK;
    struct openmp before = take_openmp(dg_session_threads(session->session));
    session->rows = 0;
    enum dg_status status = dg_session_set_rows(session->session, rows, err);
    if (status == DG_OK && session->loaded) status = dg_session_pack(session->session, err);
    if (status == DG_OK) session->rows = rows;
    for (uint32_t i = 0; i < entry_of(session)->num_inputs; i++)
        if (session->bound[i]) dg_session_bind(session->session, input_at(session, i), session->bound[i]);
    give_back_openmp(before);
    return status;
}

int64_t dinograph_rows(const dinograph_session *session) { return wanted_rows(session); }

dinograph_status dinograph_set_rows(dinograph_session *session, int64_t rows)
{
    struct dg_error err = {0};
    int64_t batch = entry_of(session)->batch, before = session->chosen;
    if (rows < 0 || rows > batch)
        FAIL(DG_ERR_USAGE, "%lld rows: the batch has %lld; 0 stands for those that are set", (long long)rows,
             (long long)batch);
    session->chosen = rows;
    enum dg_status status = prepare_rows(session, wanted_rows(session), &err);
    if (status != DG_OK) session->chosen = before;
    return dg_told(status, &err);
}

/* The input is that of the session's memory, or of the caller's, from now on. */
static void place_input(struct dinograph_session *session, uint32_t index, void *bound)
{
    session->bound[index] = bound;
    dg_session_bind(session->session, input_at(session, index), bound ? bound : session->own[index]);
    session->set = entry_of(session)->batch;
}

dinograph_status dinograph_set_input(dinograph_session *session, const char *name, const void *data, size_t bytes)
{
    struct dg_error err = {0};
    uint32_t index;
    enum dg_status status = check_input(session, name, bytes, &index, &err);
    if (status != DG_OK) return dg_told(status, &err);
    memcpy(session->own[index], data, bytes);
    place_input(session, index, NULL);
    return DINOGRAPH_OK;
}

dinograph_status dinograph_bind_input(dinograph_session *session, const char *name, const void *data, size_t bytes)
{
    struct dg_error err = {0};
    uint32_t index;
    enum dg_status status = check_input(session, name, bytes, &index, &err);
    if (status != DG_OK) return dg_told(status, &err);
    if ((uintptr_t)data % DG_PLAN_ALIGN)
        FAIL(DG_ERR_USAGE, "input %s: memory to bind must be aligned to %d bytes; dinograph_set_input takes any", name,
             DG_PLAN_ALIGN);
    place_input(session, index, (void *)(uintptr_t)data); /* ops write no input */
    return DINOGRAPH_OK;
}

/* Sets *out to row `row` of "images". */
static enum dg_status image_row(struct dinograph_session *session, int64_t row, float **out, struct dg_error *err)
{
    const struct dg_plan *plan = &session->plan->plan;
    uint32_t index;
    if (!session->images)
        return dg_fail(err, DG_ERR_USAGE, "entry %s does not take images",
                       dg_plan_string(plan, entry_of(session)->name));
    if (row < 0 || row >= session->images->dim[0])
        return dg_fail(err, DG_ERR_USAGE, "row %lld: the batch has rows 0 to %lld", (long long)row,
                       (long long)session->images->dim[0] - 1);
    if (session->chosen && row >= session->chosen)
        return dg_fail(err, DG_ERR_USAGE, "row %lld: dinograph_set_rows has chosen the first %lld", (long long)row,
                       (long long)session->chosen);
    find_input(session, "images", &index);
    if (session->bound[index]) return dg_fail(err, DG_ERR_USAGE, "the input images is bound to memory of the caller's");
    *out = (float *)session->own[index] + row * session->images->dim[1] * session->images->dim[2] * 3;
    return DG_OK;
}

/* Row `row` receives the image. */
static enum dg_status put_image(struct dinograph_session *session, const struct dg_image *image, int64_t row,
                                float *out, struct dg_error *err)
{
    const struct dg_eval_crop *crop = &session->crop;
    int64_t pixels = (int64_t)crop->height * crop->width;
    DG_TRY(dg_scratch_reserve(&session->view, (size_t)pixels * 3, err));
    DG_TRY(dg_image_resize_center_crop(image, crop->how, crop->resize, crop->width, crop->height, session->view.bytes,
                                       &session->work, err));
    dg_normalize(&session->normalizer, session->view.bytes, pixels, out);
    session->set = dg_max_i64(session->set, row + 1);
    return DG_OK;
}

dinograph_status dinograph_set_image(dinograph_session *session, int64_t row, const uint8_t *pixels, int width,
                                     int height)
{
    struct dg_error err = {0};
    float *out;
    enum dg_status status = image_row(session, row, &out, &err);
    if (status != DG_OK) return dg_told(status, &err);
    if (width < 1 || height < 1 || (int64_t)width * height > DG_IMAGE_MAX_PIXELS)
        FAIL(DG_ERR_INPUT, "an image of %d x %d pixels; from 1 to %lld are possible", width, height,
             (long long)DG_IMAGE_MAX_PIXELS);
    struct dg_image image = {.width = width, .height = height, .pixels = (uint8_t *)(uintptr_t)pixels}; /* only read */
    return dg_told(put_image(session, &image, row, out, &err), &err);
}

/* An encoded image: a file, or `size` bytes in memory that `name` stands for in errors. */
struct encoded {
    const char *name;
    const void *bytes; /* NULL: `name` is the path of the file */
    size_t size;
};

static dinograph_status set_encoded(struct dinograph_session *session, int64_t row, const struct encoded *from)
{
    struct dg_error err = {0};
    struct dg_image *image = &session->image;
    float *out;
    enum dg_status status = image_row(session, row, &out, &err);
    if (status == DG_OK)
        status = from->bytes
                     ? dg_image_decode_memory(&session->decoder, from->name, from->bytes, from->size, image, &err)
                     : dg_image_decode_file(&session->decoder, from->name, image, &err);
    if (status == DG_OK) {
        dg_log(dg_session_log(session->session), DG_LOG_TRACE, DG_LOG_LOAD, "image %s: %d x %d", from->name,
               image->width, image->height);
        status = put_image(session, image, row, out, &err);
        if (status != DG_OK) dg_error_prefix(&err, "%s", from->name);
    }
    return dg_told(status, &err);
}

dinograph_status dinograph_set_image_file(dinograph_session *session, int64_t row, const char *path)
{
    return set_encoded(session, row, &(struct encoded){.name = path});
}

dinograph_status dinograph_set_image_memory(dinograph_session *session, int64_t row, const void *bytes, size_t size)
{
    if (size > DG_IMAGE_MAX_FILE_BYTES)
        FAIL(DG_ERR_INPUT, "the image in memory: %zu bytes; the limit is %lld", size,
             (long long)DG_IMAGE_MAX_FILE_BYTES);
    const struct encoded image = {.name = "the image in memory", .bytes = size ? bytes : "", .size = size};
    return set_encoded(session, row, &image);
}

const void *dinograph_input_data(const dinograph_session *session, const char *name)
{
    return dg_session_input(session->session, name, NULL);
}

dinograph_status dinograph_run(dinograph_session *session)
{
    struct dg_error err = {0};
    session->ran = false;
    if (!session->loaded)
        FAIL(DG_ERR_USAGE, "there are no weights yet: call dinograph_load_weights before the first run");
    enum dg_status ready = prepare_rows(session, wanted_rows(session), &err);
    if (ready != DG_OK) return dg_told(ready, &err);
    struct openmp before = take_openmp(dg_session_threads(session->session));
    enum dg_status status = dg_session_compute(session->session, &(struct dg_step_info){0}, &err);
    give_back_openmp(before);
    session->ran = status == DG_OK;
    if (session->ran && session->classifier)
        dg_classifier_run(session->classifier, dg_session_slot(session->session, DG_SLOT_OUTPUT), wanted_rows(session),
                          dg_session_threads(session->session), session->logits, session->probabilities);
    return dg_told(status, &err);
}

const void *dinograph_output_data(const dinograph_session *session, const char *name)
{
    if (!session->ran) return NULL;
    if (session->classifier && !strcmp(name, "logits")) return session->logits;
    if (session->classifier && !strcmp(name, "probabilities")) return session->probabilities;
    return dg_session_output(session->session, name, NULL);
}

int dinograph_classes(const dinograph_session *session)
{
    return session->classifier ? (int)session->classifier->classes : 0;
}

const char *dinograph_class(const dinograph_session *session, int index)
{
    const struct dg_classifier *c = session->classifier;
    return c && c->name && index >= 0 && index < c->classes ? c->name[index] : NULL;
}

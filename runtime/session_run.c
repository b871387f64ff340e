/* Inputs, runs and outputs of dinograph.h's sessions. */
#include "runtime/sessions.h"

#include <stdio.h>
#include <string.h>

/* The outputs of a classifier, behind those of its features. */
static const char *const classified[] = {"logits", "probabilities"};
enum { CLASSIFIED = sizeof classified / sizeof *classified };

static dinograph_status describe(const struct dinograph_session *session, const char *what, uint32_t first,
                                 uint32_t count, int index, dinograph_tensor *result)
{
    const struct dg_plan *plan = &session->plan->plan;
    if (index < 0 || (uint32_t)index >= count)
        FAIL(DG_ERR_USAGE, "entry %s has no %s %d; it has %u", dg_plan_string(plan, dg_library_entry(session)->name),
             what, index, count);
    const struct dg_plan_tensor *tensor = &plan->tensor[plan->operand[first + (uint32_t)index]];
    *result = (dinograph_tensor){.name = dg_plan_string(plan, tensor->name),
                                 .type = (dinograph_type)tensor->dtype,
                                 .ndim = tensor->ndim,
                                 .bytes = tensor->bytes};
    memcpy(result->dim, tensor->dim, sizeof tensor->dim);
    return DINOGRAPH_OK;
}

int dinograph_inputs(const dinograph_session *session) { return (int)dg_library_entry(session)->num_inputs; }

dinograph_status dinograph_input(const dinograph_session *session, int index, dinograph_tensor *tensor)
{
    const struct dg_plan_entry *entry = dg_library_entry(session);
    return describe(session, "input", entry->first_input, entry->num_inputs, index, tensor);
}

int dinograph_outputs(const dinograph_session *session)
{
    return (int)dg_library_entry(session)->num_outputs + (session->classifier ? CLASSIFIED : 0);
}

dinograph_status dinograph_output(const dinograph_session *session, int index, dinograph_tensor *tensor)
{
    const struct dg_plan_entry *entry = dg_library_entry(session);
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
    const char *entry = dg_plan_string(plan, dg_library_entry(session)->name);
    const struct dg_plan_tensor *tensor = dg_library_find_input(session, name, index);
    if (!tensor) {
        char list[256] = "";
        for (uint32_t i = 0; i < dg_library_entry(session)->num_inputs; i++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                     dg_plan_string(plan, dg_library_input(session, i)->name));
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
    return session->set ? session->set : dg_library_entry(session)->batch;
}

/* Prepares the operations for so many rows. After a failure they are not prepared, and the next run tries again. */
static enum dg_status prepare_rows(struct dinograph_session *session, int64_t rows, struct dg_error *err)
{
    if (rows == session->rows) return DG_OK;
    struct dg_library_openmp before = dg_library_set_openmp(dg_session_threads(session->session));
    session->rows = 0;
    enum dg_status status = dg_session_set_rows(session->session, rows, err);
    if (status == DG_OK && session->loaded) status = dg_session_pack(session->session, err);
    if (status == DG_OK) session->rows = rows;
    for (uint32_t i = 0; i < dg_library_entry(session)->num_inputs; i++)
        if (session->bound[i]) dg_session_bind(session->session, dg_library_input(session, i), session->bound[i]);
    dg_library_restore_openmp(before);
    return status;
}

int64_t dinograph_rows(const dinograph_session *session) { return wanted_rows(session); }

dinograph_status dinograph_set_rows(dinograph_session *session, int64_t rows)
{
    struct dg_error err = {0};
    int64_t batch = dg_library_entry(session)->batch, before = session->chosen;
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
    dg_session_bind(session->session, dg_library_input(session, index), bound ? bound : session->own[index]);
    session->set = dg_library_entry(session)->batch;
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
                       dg_plan_string(plan, dg_library_entry(session)->name));
    if (row < 0 || row >= session->images->dim[0])
        return dg_fail(err, DG_ERR_USAGE, "row %lld: the batch has rows 0 to %lld", (long long)row,
                       (long long)session->images->dim[0] - 1);
    if (session->chosen && row >= session->chosen)
        return dg_fail(err, DG_ERR_USAGE, "row %lld: dinograph_set_rows has chosen the first %lld", (long long)row,
                       (long long)session->chosen);
    dg_library_find_input(session, "images", &index);
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
    float *out = NULL;
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
    float *out = NULL;
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
    struct dg_library_openmp before = dg_library_set_openmp(dg_session_threads(session->session));
    enum dg_status status = dg_session_compute(session->session, &(struct dg_step_info){0}, &err);
    dg_library_restore_openmp(before);
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

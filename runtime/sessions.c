/* Errors, plans and sessions of dinograph.h. */
#include "runtime/sessions.h"

#include "runtime/base/about.h"
#include "runtime/draw/patches.h"
#include "runtime/state/facts.h"
#include "runtime/state/weights.h"

#include <omp.h>
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

struct dg_library_openmp dg_library_set_openmp(int threads)
{
    struct dg_library_openmp before = {omp_get_max_threads(), omp_get_dynamic()};
    omp_set_dynamic(0);
    if (threads) omp_set_num_threads(threads);
    return before;
}

void dg_library_restore_openmp(struct dg_library_openmp before)
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

const struct dg_plan_entry *dg_library_entry(const struct dinograph_session *session)
{
    return dg_session_entry(session->session);
}

const struct dg_plan_tensor *dg_library_input(const struct dinograph_session *session, uint32_t index)
{
    const struct dg_plan *plan = &session->plan->plan;
    return &plan->tensor[plan->operand[dg_library_entry(session)->first_input + index]];
}

const struct dg_plan_tensor *dg_library_find_input(const struct dinograph_session *session, const char *name,
                                                   uint32_t *index)
{
    for (*index = 0; *index < dg_library_entry(session)->num_inputs; ++*index) {
        const struct dg_plan_tensor *tensor = dg_library_input(session, *index);
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
    uint32_t count = dg_library_entry(session)->num_inputs, index;
    session->own = calloc(count + 1, sizeof *session->own);
    session->bound = calloc(count + 1, sizeof *session->bound);
    if (!session->own || !session->bound) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        session->own[i] = dg_session_data(session->session, plan->operand[dg_library_entry(session)->first_input + i]);
    const struct dg_plan_tensor *images = dg_library_find_input(session, "images", &index);
    if (!images || images->dtype != DG_F32 || images->ndim != 4 || images->dim[3] != 3) return DG_OK;
    session->images = images;
    session->decoder.turns = session->model && session->model->rules.exif;
    return set_crop(session, &session->plan->knobs, err);
}

static enum dg_status prepare_classifier(struct dinograph_session *session, struct dg_error *err)
{
    if (!session->classifier) return DG_OK;
    size_t bytes = (size_t)(dg_library_entry(session)->batch * session->classifier->classes) * sizeof(float);
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
    struct dg_library_openmp before = dg_library_set_openmp(0); /* opening sets the number itself */
    status =
        dg_session_open(&plan->plan, entry_name,
                        &(struct dg_session_options){
                            .threads = options->threads, .ignore_memory = options->ignore_memory, .log = &plan->log},
                        &session->session, &err);
    dg_library_restore_openmp(before);
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
    const struct dg_plan_entry *entry = dg_library_entry(session);
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

enum dg_status dg_library_check_from(const char *from, struct dg_error *err)
{
    if (!from || !strcmp(from, "teacher") || !strcmp(from, "student")) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "weights from %s: expected teacher or student", from);
}

dinograph_status dinograph_load_weights(dinograph_session *session, const char *path, const char *from)
{
    struct dg_error err = {0};
    enum dg_status status = dg_library_check_from(from, &err);
    if (status != DG_OK) return dg_told(status, &err);
    if (!from) from = "teacher";
    if (session->classifier && strcmp(path, session->model->weights))
        FAIL(DG_ERR_USAGE, "a classifier's session has its model's weights, %s, and takes no others",
             session->model->weights);
    session->loaded = session->ran = false;
    struct dg_library_openmp before = dg_library_set_openmp(dg_session_threads(session->session));
    status =
        dg_weights_load(session->session, &session->plan->plan, path, &(struct dg_weights_options){.from = from}, &err);
    if (status == DG_OK) status = take_facts(session, path, &err); /* now that names and shapes fit */
    if (status == DG_OK) status = dg_session_pack(session->session, &err);
    dg_library_restore_openmp(before);
    session->loaded = status == DG_OK;
    return dg_told(status, &err);
}

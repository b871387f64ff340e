#include "runtime/state/weights.h"

#include "ops/token/position.h"
#include "runtime/base/name.h"
#include "runtime/exec/fault.h"
#include "runtime/state/weights_fit.h"
#include "runtime/state/weights_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIFFERENCES = 4096 };

enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err)
{
    const struct dg_plan_tensor *tensor = &plan->tensor[index];
    if (!dg_weights_same_shape(tensor, source)) {
        char text[DG_WEIGHTS_LINE];
        return dg_fail(err, DG_ERR_INPUT, "%s: %s; compile a description that fits the weights", path,
                       dg_weights_shapes(text, sizeof text, tensor, source));
    }
    void *data = dg_session_data(session, index);
    if (tensor->dtype == DG_I64 && source->dtype == DG_SAFETENSORS_I64) {
        memcpy(data, source->data, source->bytes);
        return DG_OK;
    }
    if (tensor->dtype != DG_F32 || dg_safetensors_read_f32(source, data) != DG_OK)
        return dg_fail(err, DG_ERR_INPUT, "%s: %s is of type %s, the plan wants %s", path, source->name,
                       dg_safetensors_dtype_name(source->dtype), dg_dtype_name((enum dg_dtype)tensor->dtype));
    return DG_OK;
}

static enum dg_status read_f32(const struct dg_weights_fit *fit, int index, float **data, struct dg_error *err)
{
    struct dg_safetensors_tensor source;
    DG_TRY(dg_weight_file_read(fit->file, index, &source, err));
    *data = malloc((size_t)dg_safetensors_elements(&source) * sizeof **data + 1);
    if (!*data) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (dg_safetensors_read_f32(&source, *data) == DG_OK) return DG_OK;
    free(*data);
    return dg_fail(err, DG_ERR_INPUT, "%s: %s is of type %s, the plan wants f32", fit->path, source.name,
                   dg_safetensors_dtype_name(source.dtype));
}

static enum dg_status resize(struct dg_session *session, const struct dg_weights_fit *fit,
                             const struct dg_weights_taken *taken, struct dg_error *err)
{
    float *table;
    DG_TRY(read_f32(fit, taken->source, &table, err));
    dg_position_resize(table, taken->from, dg_session_data(session, taken->tensor), taken->to,
                       fit->plan->tensor[taken->tensor].dim[2]);
    free(table);
    return DG_OK;
}

/* Multiplies the rows of a parameter by LayerScale's factors. */
static enum dg_status multiply(struct dg_session *session, const struct dg_weights_fit *fit,
                               const struct dg_weights_taken *taken, struct dg_error *err)
{
    const struct dg_plan_tensor *tensor = &fit->plan->tensor[taken->tensor];
    float *gamma, *data = dg_session_data(session, taken->tensor);
    DG_TRY(read_f32(fit, taken->scale, &gamma, err));
    int64_t width = (int64_t)(tensor->bytes / sizeof *data) / dg_max_i64(tensor->dim[0], 1);
    for (int64_t row = 0; row < tensor->dim[0]; row++)
        for (int64_t i = 0; i < width; i++) data[row * width + i] *= gamma[row];
    free(gamma);
    return DG_OK;
}

/* Copies what was taken under the plan's prefix `ours`. */
static enum dg_status copy(struct dg_session *session, const struct dg_weights_fit *fit, const char *ours,
                           struct dg_error *err)
{
    for (int64_t i = 0; i < fit->count; i++) {
        const struct dg_weights_taken *taken = &fit->taken[i];
        struct dg_safetensors_tensor source;
        if (!dg_name_after(dg_weights_fit_param(fit, taken->tensor), ours) || dg_session_found(session, taken->tensor))
            continue;
        if (taken->from[0]) {
            DG_TRY(resize(session, fit, taken, err));
            continue;
        }
        DG_TRY(dg_weight_file_read(fit->file, taken->source, &source, err));
        DG_TRY(dg_weights_copy(session, fit->plan, taken->tensor, &source, fit->path, err));
        if (taken->scale != DG_WEIGHTS_NONE) DG_TRY(multiply(session, fit, taken, err));
    }
    return DG_OK;
}

/* --- evaluation --- */

static enum dg_status check_finite(const struct dg_session *session, const struct dg_weights_fit *fit,
                                   struct dg_error *err)
{
    char text[512];
    if (!dg_fault_in_stored(session, fit->plan, text, sizeof text)) return DG_OK;
    return dg_fail(err, DG_ERR_NUMERIC, "%s: %s, and gives no features: are its weights sound?", fit->path, text);
}

static enum dg_status load(struct dg_session *session, struct dg_weights_fit *fit,
                           const struct dg_weights_options *options, struct dg_error *err)
{
    const char *from = options->from ? options->from : "teacher";
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.backbone.", from);
    if (!dg_weights_fit_has(fit, prefix)) *prefix = 0;
    int64_t count = dg_weights_fit_network(fit, "", prefix);
    if (!count && !fit->shape.count) return dg_weights_no_backbone(fit, from, err);
    dg_weights_fit_extra(fit, "", prefix);
    dg_weights_fit_others(fit, prefix);
    DG_TRY(dg_weights_check(fit, options->partial, false, err));
    if (fit->absent) DG_TRY(dg_session_initialize(session, 0, err));
    DG_TRY(copy(session, fit, "", err));
    dg_weights_say_what(session, fit);
    char what[32] = "a backbone", differences[MAX_DIFFERENCES], others[MAX_DIFFERENCES];
    if (*prefix) snprintf(what, sizeof what, "the %s's backbone", from);
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD, "%s: %" PRId64 " tensors, %s; %s%s", fit->path,
           fit->count, what, dg_weights_not_needed(fit, others, sizeof others),
           dg_weights_taken_differently(fit, differences, sizeof differences));
    dg_weights_compare_eps(session, fit);
    return check_finite(session, fit, err);
}

enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err)
{
    struct dg_weights_fit fit = {.plan = plan, .path = path, .options = options};
    enum dg_status status = dg_weights_fit_open(&fit, session, "", options, err);
    if (status == DG_OK) status = load(session, &fit, options, err);
    dg_weights_fit_close(&fit);
    return status;
}

/* --- training --- */

/* Compares a network that the file may lack. Returns how many of its tensors are taken. */
static int64_t fit_optional(struct dg_weights_fit *fit, const char *ours, const char *theirs)
{
    if (!dg_weights_fit_has(fit, theirs)) return 0;
    int64_t taken = dg_weights_fit_network(fit, ours, theirs);
    dg_weights_fit_extra(fit, ours, theirs);
    return taken;
}

/* What was taken beside the student's backbone. */
struct also {
    int64_t head, predictor, teacher_backbone, teacher_head, center;
};

/* Is there a predictor, which few recipes have? */
static bool has_predictor(const struct dg_weights_fit *fit)
{
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = dg_weights_fit_param(fit, t);
        if (name && dg_name_after(name, "student.predictor.")) return true;
    }
    return false;
}

/* Compares all networks of the file. False: it has no backbone. */
static bool fit_all(struct dg_weights_fit *fit, struct also *also)
{
    const char *prefix = dg_weights_fit_has(fit, "student.backbone.")   ? "student.backbone."
                         : dg_weights_fit_has(fit, "teacher.backbone.") ? "teacher.backbone."
                                                                        : "";
    int64_t backbone = dg_weights_fit_network(fit, "student.backbone.", prefix);
    if (!backbone && !fit->shape.count) return false;
    dg_weights_fit_extra(fit, "student.backbone.", prefix);
    /* True if head.* beside a bare backbone is a DINO head, which has a last layer. Otherwise head.weight and head.bias
     * are a classifier. */
    bool beside =
        !dg_weights_fit_has(fit, "student.head.") && dg_weight_file_find(fit->file, "head.last_layer.weight_v") >= 0;
    also->head = fit_optional(fit, "student.head.", beside ? "head." : "student.head.");
    also->predictor = has_predictor(fit) ? fit_optional(fit, "student.predictor.", "student.predictor.") : 0;
    also->teacher_backbone = fit_optional(fit, "teacher.backbone.", "teacher.backbone.");
    also->teacher_head = fit_optional(fit, "teacher.head.", "teacher.head.");
    also->center = dg_weight_file_find(fit->file, "center") >= 0 ? dg_weights_fit_network(fit, "center", "center") : 0;
    return true;
}

static enum dg_status init(struct dg_session *session, struct dg_weights_fit *fit, bool partial, struct dg_error *err)
{
    struct also also;
    if (!fit_all(fit, &also)) return dg_weights_no_backbone(fit, "student", err);
    DG_TRY(dg_weights_check(fit, partial, true, err));
    DG_TRY(copy(session, fit, "student.", err));
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++)
        dg_session_copy_initial(session, t); /* now that the student is set */
    DG_TRY(copy(session, fit, "teacher.", err));
    DG_TRY(copy(session, fit, "center", err));
    dg_weights_say_what(session, fit);
    char differences[MAX_DIFFERENCES], others[MAX_DIFFERENCES];
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: student's backbone%s%s%s%s%s; the rest is new (%" PRId64 " tensors taken; %s)%s", fit->path,
           also.head ? ", student's head" : "", also.predictor ? ", its predictor" : "",
           also.teacher_backbone ? ", teacher's backbone" : "", also.teacher_head ? ", teacher's head" : "",
           also.center ? ", centre" : "", fit->count, dg_weights_not_needed(fit, others, sizeof others),
           dg_weights_taken_differently(fit, differences, sizeof differences));
    dg_weights_say_anew(session, fit);
    if (fit->on_path)
        dg_log(
            dg_session_log(session), DG_LOG_WARNING, DG_LOG_LOAD,
            "the backbone is another network than that of %s: the run begins with its tensors as far as they fit, but "
            "not with its features",
            fit->path);
    dg_weights_compare_eps(session, fit);
    return check_finite(session, fit, err);
}

enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err)
{
    struct dg_weights_fit fit = {.plan = plan, .path = path, .options = options};
    enum dg_status status = dg_weights_fit_open(&fit, session, "student.backbone.", options, err);
    if (status == DG_OK) status = init(session, &fit, options->partial, err);
    dg_weights_fit_close(&fit);
    return status;
}

uint64_t dg_weights_hash(const struct dg_session *session, uint64_t hash)
{
    const struct dg_plan *plan = dg_session_plan(session);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (plan->tensor[t].region == DG_REGION_PARAM)
            hash = dg_fnv1a(hash, dg_session_data(session, t), plan->tensor[t].bytes);
    return hash;
}

#include "runtime/weights.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 512 };

/* "a, b, c and 12 more" as it grows. */
struct name_list {
    char text[400];
    int64_t count;
};

static void add_name(struct name_list *list, const char *name)
{
    size_t length = strlen(list->text);
    if (list->count++ < 4) snprintf(list->text + length, sizeof list->text - length, "%s%s", length ? ", " : "", name);
}

static const char *list_text(struct name_list *list)
{
    size_t length = strlen(list->text);
    if (list->count > 4)
        snprintf(list->text + length, sizeof list->text - length, " and %lld more", (long long)list->count - 4);
    return list->text;
}

static const char *shape_text(char *text, size_t size, int ndim, const int64_t *dim)
{
    size_t length = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < ndim && length < size; d++)
        length += (size_t)snprintf(text + length, size - length, "%s%lld", d ? ", " : "", (long long)dim[d]);
    if (length < size) snprintf(text + length, size - length, "]");
    return text;
}

enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err)
{
    const struct dg_plan_tensor *tensor = &plan->tensor[index];
    bool same = source->ndim == tensor->ndim;
    for (int d = 0; same && d < source->ndim; d++) same = source->dim[d] == tensor->dim[d];
    if (!same) {
        char found[128], want[128];
        return dg_fail(err, DG_ERR_INPUT, "%s: %s is %s, the plan has %s; compile a description that fits the weights",
                       path, source->name, shape_text(found, sizeof found, source->ndim, source->dim),
                       shape_text(want, sizeof want, tensor->ndim, tensor->dim));
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

/* --- evaluation --- */

/* The file's tensor for a backbone parameter: under the network's prefix, or bare. */
static const struct dg_safetensors_tensor *find_backbone(const struct dg_safetensors *file, const char *network,
                                                         const char *name)
{
    static const char *const prefixes[] = {"%s.backbone.%s", "%.0s%s", "%.0sbackbone.%s", "%.0smodule.backbone.%s"};
    char full[MAX_NAME];
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
        snprintf(full, sizeof full, prefixes[p], network, name);
        const struct dg_safetensors_tensor *found = dg_safetensors_find(file, full);
        if (found) return found;
    }
    return NULL;
}

enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const char *from, char *note, size_t note_size, struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    const struct dg_plan_entry *entry = dg_session_entry(session);
    struct name_list missing = {{0}, 0};
    enum dg_status status = DG_OK;
    int64_t taken = 0;
    const char *nearest = NULL;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors && status == DG_OK; t++) {
        if (plan->tensor[t].region != DG_REGION_PARAM) continue;
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        const struct dg_safetensors_tensor *source = find_backbone(file, from, name);
        if (!source) {
            if (!missing.count) nearest = dg_safetensors_nearest(file, name);
            add_name(&missing, name);
            continue;
        }
        status = dg_weights_copy(session, plan, t, source, path, err);
        taken++;
    }
    if (status == DG_OK && missing.count)
        status = dg_fail(err, DG_ERR_INPUT, "%s has no %s of the %s's backbone%s%s", path, list_text(&missing), from,
                         nearest ? "; the nearest name in it is " : "", nearest ? nearest : "");
    if (status == DG_OK)
        snprintf(note, note_size, "%s: %lld tensors, the %s's backbone; %lld others in the file were not needed", path,
                 (long long)taken, from, (long long)dg_safetensors_count(file) - (long long)taken);
    dg_safetensors_close(file);
    return status;
}

/* --- training --- */

/* One network of the plan ("student.backbone.", ...) from the file. `bare`: names without the prefix. */
static enum dg_status init_network(struct dg_session *session, const struct dg_plan *plan,
                                   const struct dg_safetensors *file, const char *path, const char *network, bool bare,
                                   int64_t *taken, struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    struct name_list missing = {{0}, 0};
    size_t length = strlen(network);
    *taken = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        if (plan->tensor[t].region != DG_REGION_PARAM || strncmp(name, network, length)) continue;
        const struct dg_safetensors_tensor *source =
            bare ? find_backbone(file, "student", name + length) : dg_safetensors_find(file, name);
        if (!source) {
            add_name(&missing, name);
            continue;
        }
        DG_TRY(dg_weights_copy(session, plan, t, source, path, err));
        ++*taken;
    }
    if (*taken && missing.count)
        return dg_fail(err, DG_ERR_INPUT, "%s has only a part of %s: missing are %s", path, network,
                       list_text(&missing));
    return DG_OK;
}

enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path, char *note,
                               size_t note_size, struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    const struct dg_plan_entry *entry = dg_session_entry(session);
    int64_t backbone = 0, head = 0, teacher_backbone = 0, teacher_head = 0, center = 0;
    enum dg_status status = init_network(session, plan, file, path, "student.backbone.", true, &backbone, err);
    if (status == DG_OK && !backbone)
        status = dg_fail(err, DG_ERR_INPUT,
                         "%s holds no backbone: neither student.backbone.* nor bare names such as "
                         "cls_token",
                         path);
    if (status == DG_OK) status = init_network(session, plan, file, path, "student.head.", false, &head, err);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors;
         t++) /* now the student is set */
        dg_session_copy_initial(session, t);
    if (status == DG_OK)
        status = init_network(session, plan, file, path, "teacher.backbone.", false, &teacher_backbone, err);
    if (status == DG_OK) status = init_network(session, plan, file, path, "teacher.head.", false, &teacher_head, err);
    const struct dg_safetensors_tensor *source = dg_safetensors_find(file, "center");
    for (uint32_t t = entry->first_tensor; source && t < entry->first_tensor + entry->num_tensors && status == DG_OK;
         t++)
        if (plan->tensor[t].region == DG_REGION_PARAM &&
            !strcmp(dg_plan_string(plan, plan->tensor[t].name), "center")) {
            status = dg_weights_copy(session, plan, t, source, path, err);
            center = 1;
        }
    int64_t taken = backbone + head + teacher_backbone + teacher_head + center;
    snprintf(note, note_size, "%s: student's backbone%s%s%s%s; the rest is new (%lld tensors taken, %lld not needed)",
             path, head ? ", student's head" : "", teacher_backbone ? ", teacher's backbone" : "",
             teacher_head ? ", teacher's head" : "", center ? ", centre" : "", (long long)taken,
             (long long)dg_safetensors_count(file) - (long long)taken);
    dg_safetensors_close(file);
    return status;
}

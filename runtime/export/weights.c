#include "runtime/export/weights.h"

#include "ops/token/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for numbers that live as long as the list. */
static enum dg_status make(struct dg_export_weights *weights, int64_t numbers, float **data, struct dg_error *err)
{
    *data = calloc((size_t)numbers + 1, sizeof **data);
    if (!*data) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    weights->made[weights->num_made++] = *data;
    return DG_OK;
}

static enum dg_status resize_position(const struct dg_export_source *source, uint32_t table,
                                      struct dg_export_weights *weights, struct dg_safetensors_item *item,
                                      struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(source->session);
    int64_t from[2], to[2];
    if (!dg_plan_position_grid(source->plan, entry, table, from) ||
        !dg_plan_token_grid(source->plan, entry, table, to) || (from[0] == to[0] && from[1] == to[1]))
        return DG_OK;
    float *resized;
    item->dim[1] = 1 + to[0] * to[1];
    DG_TRY(make(weights, item->dim[1] * item->dim[2], &resized, err));
    dg_position_resize(item->data, from, resized, to, item->dim[2]);
    item->data = resized;
    dg_log(source->log, DG_LOG_INFO, DG_LOG_LOAD,
           "%s is resized from %" PRId64 "x%" PRId64 " to the %" PRId64 "x%" PRId64 " patches of the plan's images",
           item->name, from[0], from[1], to[0], to[1]);
    return DG_OK;
}

/* Tensor `t` of the plan is listed. */
static bool is_listed(const struct dg_plan *plan, uint32_t t) { return plan->tensor[t].region == DG_REGION_PARAM; }

enum dg_status dg_export_weights_list(const struct dg_session *session, struct dg_export_weights *weights,
                                      struct dg_error *err)
{
    const struct dg_plan *plan = dg_session_plan(session);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    *weights = (struct dg_export_weights){.item = calloc(entry->num_tensors + 1, sizeof *weights->item)};
    if (!weights->item) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (!is_listed(plan, t)) continue;
        struct dg_safetensors_item *item = &weights->item[weights->count++];
        *item = (struct dg_safetensors_item){.name = dg_plan_string(plan, tensor->name),
                                             .dtype = tensor->dtype == DG_I64 ? DG_SAFETENSORS_I64 : DG_SAFETENSORS_F32,
                                             .ndim = tensor->ndim,
                                             .data = dg_session_data(session, t)};
        memcpy(item->dim, tensor->dim, sizeof tensor->dim);
    }
    return DG_OK;
}

enum dg_status dg_export_weights_init(const struct dg_export_source *source, struct dg_export_weights *weights,
                                      struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(source->session);
    DG_TRY(dg_export_weights_list(source->session, weights, err));
    struct dg_safetensors_item *item = weights->item;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (is_listed(source->plan, t)) DG_TRY(resize_position(source, t, weights, item++, err));
    return DG_OK;
}

/* ---- under another library's names ---- */

static int64_t numbers_of(const struct dg_safetensors_item *item)
{
    int64_t numbers = 1;
    for (int d = 0; d < item->ndim; d++) numbers *= item->dim[d];
    return numbers;
}

static bool is_zero(const float *data, int64_t numbers)
{
    for (int64_t i = 0; i < numbers; i++)
        if (data[i] != 0) return false;
    return true;
}

/* A list of tensors that grows into the one with the other names. */
struct renamed {
    const struct dg_name_layout *layout;
    struct dg_safetensors_item *item;
    char (*name)[DG_LAYOUT_NAME];
    int count;
};

/* Adds `ours`, or rows of it, if the layout has a name for that part. */
static struct dg_safetensors_item *add_renamed(struct renamed *r, const struct dg_safetensors_item *ours, int part)
{
    if (!dg_layout_translate_back(r->layout, ours->name, part, r->name[r->count])) return NULL;
    struct dg_safetensors_item *item = &r->item[r->count];
    *item = *ours;
    item->name = r->name[r->count++];
    return item;
}

static enum dg_status rename_one(struct renamed *r, const struct dg_safetensors_item *ours, struct dg_error *err)
{
    if (add_renamed(r, ours, 0)) return DG_OK;
    struct dg_safetensors_item *item = add_renamed(r, ours, DG_LAYOUT_PATCHES);
    if (item) {
        item->dim[1]--;
        item->data = (const float *)ours->data + item->dim[2];
        return DG_OK;
    }
    int64_t numbers = numbers_of(ours) / DG_LAYOUT_PARTS;
    for (int part = 1; part <= DG_LAYOUT_PARTS; part++) {
        const float *rows = (const float *)ours->data + (part - 1) * numbers;
        bool keys = part == 2 && ours->ndim == 1 && r->layout->keys_without_bias;
        item = add_renamed(r, ours, part);
        if (!item && keys && is_zero(rows, numbers)) continue;
        if (!item && keys)
            return dg_fail(err, DG_ERR_UNSUPPORTED,
                           "%s has a bias of keys, which the other library has not: here it was trained; "
                           "--transformers and --onnx write it",
                           ours->name);
        if (!item) return dg_fail(err, DG_ERR_INTERNAL, "the layout has no name for %s", ours->name);
        item->dim[0] /= DG_LAYOUT_PARTS;
        item->data = rows;
    }
    return DG_OK;
}

static struct dg_safetensors_item *find(const struct dg_export_weights *weights, const char *name)
{
    for (int i = 0; i < weights->count; i++)
        if (!strcmp(weights->item[i].name, name)) return &weights->item[i];
    return NULL;
}

/* Adds the class token's position to it, if the layout's table has the patches' alone. */
static enum dg_status add_class_position(struct dg_export_weights *weights, const struct dg_name_layout *layout,
                                         struct dg_error *err)
{
    char name[DG_LAYOUT_NAME];
    struct dg_safetensors_item *token = find(weights, "cls_token"), *table = find(weights, "pos_embed");
    if (!token || !table || !dg_layout_translate_back(layout, table->name, DG_LAYOUT_PATCHES, name)) return DG_OK;
    const float *from = token->data, *position = table->data;
    float *both;
    DG_TRY(make(weights, token->dim[2], &both, err));
    for (int64_t i = 0; i < token->dim[2]; i++) both[i] = from[i] + position[i];
    token->data = both;
    return DG_OK;
}

enum dg_status dg_export_weights_rename(struct dg_export_weights *weights, const struct dg_name_layout *layout,
                                        struct dg_error *err)
{
    DG_TRY(add_class_position(weights, layout, err));
    size_t most = (size_t)weights->count * DG_LAYOUT_PARTS + 1;
    struct renamed r = {.layout = layout, .item = calloc(most, sizeof *r.item), .name = calloc(most, sizeof *r.name)};
    enum dg_status status = r.item && r.name ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < weights->count && status == DG_OK; i++) status = rename_one(&r, &weights->item[i], err);
    free(weights->item);
    weights->item = r.item;
    weights->name = r.name;
    weights->count = r.count;
    return status;
}

enum dg_status dg_export_weights_add_zeros(struct dg_export_weights *weights, const char *name, int ndim,
                                           const int64_t *dim, struct dg_error *err)
{
    struct dg_safetensors_item *item = realloc(weights->item, ((size_t)weights->count + 1) * sizeof *weights->item);
    if (!item) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    weights->item = item;
    item += weights->count++;
    *item = (struct dg_safetensors_item){.name = name, .dtype = DG_SAFETENSORS_F32, .ndim = ndim};
    memcpy(item->dim, dim, (size_t)ndim * sizeof *dim);
    float *zeros;
    DG_TRY(make(weights, numbers_of(item), &zeros, err));
    item->data = zeros;
    return DG_OK;
}

void dg_export_weights_free(struct dg_export_weights *weights)
{
    free(weights->item);
    free(weights->name);
    for (int i = 0; i < weights->num_made; i++) free(weights->made[i]);
    *weights = (struct dg_export_weights){0};
}

#include "runtime/export/weights.h"

#include "ops/token/position.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static enum dg_status resize_position(const struct dg_export_source *source, uint32_t table,
                                      struct dg_export_weights *weights, struct dg_safetensors_item *item,
                                      struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(source->session);
    int64_t from[2], to[2];
    if (!dg_plan_position_grid(source->plan, entry, table, from) ||
        !dg_plan_token_grid(source->plan, entry, table, to) || (from[0] == to[0] && from[1] == to[1]))
        return DG_OK;
    item->dim[1] = 1 + to[0] * to[1];
    weights->position = malloc((size_t)(item->dim[1] * item->dim[2]) * sizeof *weights->position);
    if (!weights->position) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    dg_position_resize(item->data, from, weights->position, to, item->dim[2]);
    item->data = weights->position;
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

void dg_export_weights_free(struct dg_export_weights *weights)
{
    free(weights->item);
    free(weights->position);
    *weights = (struct dg_export_weights){0};
}

#include "runtime/draw/patches.h"

#include <string.h>

static const struct dg_plan_tensor *operand(const struct dg_plan *plan, const struct dg_plan_op *op, uint32_t i)
{
    return &plan->tensor[plan->operand[op->first_operand + i]];
}

/* An int attribute of an op; `otherwise` if the op has none of that name. */
static int64_t attribute(const struct dg_plan *plan, const struct dg_plan_op *record, const char *name,
                         int64_t otherwise)
{
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    for (int a = 0; a < dg_op_num_attrs(op); a++)
        if (!strcmp(op->attrs[a].name, name)) return plan->attr[record->first_attr + (uint32_t)a].i;
    return otherwise;
}

enum dg_status dg_patches_init(const struct dg_plan *plan, enum dg_entry_role role, struct dg_patches *patches,
                               struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    const char *name = dg_entry_name(role);
    if (dg_plan_find_role(plan, role, &entry, err) != DG_OK) {
        dg_error_prefix(err, "%s has no %s (only Vision Transformers have patches to look at)",
                        dg_plan_string(plan, plan->header->recipe), name);
        return DG_ERR_USAGE;
    }
    /* The grid is the input of to_tokens. The size of a patch is the product of the strides before it that make the grid smaller: a
     * shortcut beside a convolution does so no more, nor does an op that skips channels. */
    int64_t stride = 1, height = dg_plan_slot(plan, entry, DG_SLOT_IMAGES)->dim[1];
    *patches = (struct dg_patches){0};
    for (uint32_t n = 0; n < entry->num_ops && !patches->rows; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        if (!strcmp(dg_plan_string(plan, op->op), "to_tokens")) {
            patches->rows = (int)operand(plan, op, 0)->dim[1];
            patches->cols = (int)operand(plan, op, 0)->dim[2];
        }
        if (!op->num_outputs || plan->operand[op->first_operand + op->num_inputs] == DG_PLAN_NONE) continue;
        const struct dg_plan_tensor *made = operand(plan, op, op->num_inputs);
        if (made->ndim != 4 || made->dim[1] >= height) continue;
        height = made->dim[1];
        if (!dg_mul_i64(stride, dg_max_i64(attribute(plan, op, "stride", 1), 1), &stride)) stride = INT32_MAX;
    }
    bool known = patches->rows > 0;
    if (known) {
        const struct dg_plan_tensor *images = dg_plan_slot(plan, entry, DG_SLOT_IMAGES);
        const struct dg_plan_tensor *output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
        patches->height = (int)images->dim[1];
        patches->width = (int)images->dim[2];
        patches->size = (int)dg_min_i64(stride, INT32_MAX);
        int64_t tokens = output->ndim > 2 ? output->dim[output->ndim - 2] : 0; /* of both kinds of entries */
        patches->first = tokens - dg_patches_count(patches);
        known = patches->height / patches->size == patches->rows && patches->width / patches->size == patches->cols &&
                patches->first > 0 &&
                (role == DG_ENTRY_ATTENTION ? output->ndim == 4 && output->dim[3] == tokens : output->ndim == 3);
    }
    if (known) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "entry %s of %s: expected a class token followed by a grid of square patches (to_tokens, then "
                   "prepend_token), as in graphs/vit.yaml",
                   name, dg_plan_string(plan, plan->header->recipe));
}

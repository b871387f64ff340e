/* Questions to a plan that is open. */
#include "runtime/plan/view.h"

#include "ops/op.h"

#include <stdio.h>
#include <string.h>

const char *dg_entry_name(enum dg_entry_role role)
{
    static const char *const name[DG_ENTRY_ROLES] = {[DG_ENTRY_TRAIN] = "train",
                                                     [DG_ENTRY_FEATURES] = "features",
                                                     [DG_ENTRY_ATTENTION] = "attention",
                                                     [DG_ENTRY_TOKENS] = "tokens"};
    return name[role];
}

static enum dg_status no_entry(const struct dg_plan *plan, const char *name, struct dg_error *err)
{
    char list[256] = "";
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", dg_plan_string(plan, plan->entry[e].name));
    }
    return dg_fail(err, DG_ERR_USAGE, "the plan has no entry %s; it has: %s", name, list);
}

enum dg_status dg_plan_find_entry(const struct dg_plan *plan, const char *name, const struct dg_plan_entry **entry,
                                  struct dg_error *err)
{
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        *entry = &plan->entry[e];
        if (!strcmp(dg_plan_string(plan, (*entry)->name), name)) return DG_OK;
    }
    return no_entry(plan, name, err);
}

enum dg_status dg_plan_find_role(const struct dg_plan *plan, enum dg_entry_role role,
                                 const struct dg_plan_entry **entry, struct dg_error *err)
{
    if (plan->header->entry[role] == DG_PLAN_NONE) return no_entry(plan, dg_entry_name(role), err);
    *entry = &plan->entry[plan->header->entry[role]];
    return DG_OK;
}

double dg_plan_layer_norm_eps(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++) {
        const char *name = dg_plan_string(plan, plan->op[n].op);
        const struct dg_op *op = strstr(name, "layer_norm") ? dg_op_find(name) : NULL;
        for (uint32_t a = 0; op && a < plan->op[n].num_attrs; a++)
            if (!strcmp(op->attrs[a].name, "eps")) return plan->attr[plan->op[n].first_attr + a].f;
    }
    return 0;
}

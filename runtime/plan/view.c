/* Questions to a plan that is open. */
#include "runtime/plan/view.h"

#include <stdio.h>
#include <string.h>

enum dg_status dg_plan_find_entry(const struct dg_plan *plan, const char *name, const struct dg_plan_entry **entry,
                                  struct dg_error *err)
{
    char list[256] = "";
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        const char *other = dg_plan_string(plan, plan->entry[e].name);
        if (!strcmp(other, name)) {
            *entry = &plan->entry[e];
            return DG_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", other);
    }
    return dg_fail(err, DG_ERR_USAGE, "the plan has no entry %s; it has: %s", name, list);
}

bool dg_plan_is_probe(const struct dg_plan *plan)
{
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        const struct dg_plan_entry *entry = &plan->entry[e];
        if (strcmp(dg_plan_string(plan, entry->name), "train")) continue;
        for (uint32_t i = 0; i < entry->num_inputs; i++)
            if (!strcmp(dg_plan_string(plan, plan->tensor[plan->operand[entry->first_input + i]].name), "labels"))
                return true;
    }
    return false;
}

/* Questions to a plan that is open. */
#include "runtime/plan/view.h"

#include "ops/op.h"

#include <math.h>
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

const char *dg_plan_next_fact(const char *text, struct dg_plan_fact *fact)
{
    while (*text) {
        const char *line = text, *end = strchrnul(line, '\n'), *equals = memchr(line, '=', (size_t)(end - line));
        text = *end ? end + 1 : end;
        if (!equals) continue;
        *fact = (struct dg_plan_fact){line, equals + 1, (int)(equals - line), (int)(end - equals - 1)};
        return text;
    }
    return NULL;
}

/* The attribute of that name; NULL: the op has none. */
static const union dg_attr *find_attr(const struct dg_plan *plan, const struct dg_plan_op *record,
                                      const struct dg_op *op, const char *name)
{
    int index = dg_op_attr(op, name);
    return index < 0 ? NULL : &plan->attr[record->first_attr + (uint32_t)index];
}

/* The op of the entry that adds the table; NULL: there is none. */
static const struct dg_plan_op *find_position_op(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                                 const struct dg_op *op, uint32_t table)
{
    uint32_t input = (uint32_t)dg_op_input_index(op, "table");
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++) {
        const struct dg_plan_op *record = &plan->op[n];
        if (!strcmp(dg_plan_string(plan, record->op), op->name) &&
            plan->operand[record->first_operand + input] == table)
            return record;
    }
    return NULL;
}

bool dg_plan_position_grid(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t table,
                           int64_t grid[2])
{
    const struct dg_op *op = dg_op_find("add_position");
    const struct dg_plan_op *record = find_position_op(plan, entry, op, table);
    if (!record) return false;
    int64_t patches = plan->tensor[table].dim[1] - 1, side = llround(sqrt((double)patches));
    bool same = find_attr(plan, record, op, "same_grid")->i;
    int64_t rows = same ? find_attr(plan, record, op, "grid_h")->i : side,
            columns = same ? find_attr(plan, record, op, "grid_w")->i : side;
    if (rows < 1 || rows * columns != patches) return false;
    grid[0] = rows;
    grid[1] = columns;
    return true;
}

bool dg_plan_token_grid(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t table, int64_t grid[2])
{
    const struct dg_op *op = dg_op_find("add_position");
    const struct dg_plan_op *record = find_position_op(plan, entry, op, table);
    if (!record) return false;
    grid[0] = find_attr(plan, record, op, "grid_h")->i;
    grid[1] = find_attr(plan, record, op, "grid_w")->i;
    return grid[0] && grid[1];
}

double dg_plan_layer_norm_eps(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++) {
        const char *name = dg_plan_string(plan, plan->op[n].op);
        const struct dg_op *op = strstr(name, "layer_norm") ? dg_op_find(name) : NULL;
        const union dg_attr *eps = op ? find_attr(plan, &plan->op[n], op, "eps") : NULL;
        if (eps) return eps->f;
    }
    return 0;
}

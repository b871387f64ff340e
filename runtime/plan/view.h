/* A plan that is open: its records, and questions to them. */
#ifndef DG_RUNTIME_PLAN_VIEW_H
#define DG_RUNTIME_PLAN_VIEW_H

#include "runtime/plan/format.h"

struct dg_plan {
    const struct dg_plan_header *header;
    const char *strings;
    const struct dg_plan_entry *entry;
    const struct dg_plan_tensor *tensor;
    const struct dg_plan_op *op;
    const uint32_t *operand;
    const union dg_attr *attr;
    const struct dg_plan_knob *knob;
    const struct dg_plan_schedule *schedule;
    uint32_t num_entries, num_tensors, num_ops, num_operands, num_attrs, num_knobs, num_schedules;
    uint64_t num_string_bytes;
    size_t mapped; /* bytes; 0 when the caller owns them */
};

static inline const char *dg_plan_string(const struct dg_plan *plan, uint32_t offset) { return plan->strings + offset; }

/* A line of the plan's facts, "key=value"; neither is ended by a zero. */
struct dg_plan_fact {
    const char *key, *value;
    int key_size, value_size;
};

/* Reads the first fact of `text`: of all facts, or of what follows one; lines without = are skipped. Returns what follows the fact; NULL:
 * there is none. */
const char *dg_plan_next_fact(const char *text, struct dg_plan_fact *fact);

/* How often op `n` of the entry runs in a step, each time on another slice of the batch. */
static inline int64_t dg_plan_slices(const struct dg_plan_entry *entry, uint32_t n)
{
    return n - entry->loop_first < entry->loop_ops ? entry->slices : 1; /* before the loop the difference is huge */
}

/* The processes of which an op sees the rows together; 1: only one's. */
static inline int64_t dg_plan_op_ranks(const struct dg_plan_entry *entry, const struct dg_plan_op *op)
{
    return op->flags & DG_PLAN_OP_JOINED ? entry->ranks : 1;
}

/* Whether any op of the entry does, so that no other number of processes can share the step. */
static inline bool dg_plan_is_coupled(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    for (uint32_t n = 0; n < entry->num_ops; n++)
        if (dg_plan_op_ranks(entry, &plan->op[entry->first_op + n]) > 1) return true;
    return false;
}

/* What the entry computes in, for people: "f32", "bf16", "f32 by bf16x3", "f32 by bf16x6". */
static inline const char *dg_plan_type(const struct dg_plan_entry *entry)
{
    static const char *const by_math[] = {"f32", "f32 by bf16x3", "f32 by bf16x6"};
    return entry->dtype == DG_BF16 ? "bf16" : by_math[entry->math];
}

/* The entry of that name, or an error that lists the ones there are. */
enum dg_status dg_plan_find_entry(const struct dg_plan *plan, const char *name, const struct dg_plan_entry **entry,
                                  struct dg_error *err);

/* The entry of that role, likewise. */
enum dg_status dg_plan_find_role(const struct dg_plan *plan, enum dg_entry_role role,
                                 const struct dg_plan_entry **entry, struct dg_error *err);
const char *dg_entry_name(enum dg_entry_role role);

/* The grid of a position table, tensor `table` of the plan: rows and columns of patches. False: the entry adds no such
 * table, or it has no row for a class token. */
bool dg_plan_position_grid(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t table,
                           int64_t grid[2]);

/* The grid of the tokens to which the entry adds that table. False: it adds none, or its op does not say the grid. */
bool dg_plan_token_grid(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t table, int64_t grid[2]);

/* The epsilon of the entry's first layer norm; 0 if it has none. */
double dg_plan_layer_norm_eps(const struct dg_plan *plan, const struct dg_plan_entry *entry);

/* The tensor in a slot of the entry; NULL: it has none. Opening the plan has checked that the slots of the entry's role are there
 * and have the types and ranks that enum dg_slot says. */
static inline const struct dg_plan_tensor *dg_plan_slot(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                                        enum dg_slot slot)
{
    return entry->slot[slot] == DG_PLAN_NONE ? NULL : &plan->tensor[entry->slot[slot]];
}

#endif

/* One entry of a plan: a graph that is final, and what the plan must say about it. */
#ifndef DG_COMPILER_PLAN_ENTRY_H
#define DG_COMPILER_PLAN_ENTRY_H

#include "compiler/graph/graph.h"

/* The graph's values that have a role in the plan; DG_NO_VALUE: none. */
struct dg_slots {
    dg_value of[DG_SLOTS];
};
struct dg_slots dg_no_slots(void);

/* Those of the slots [first, end) that are there, in order; returns their number. */
int dg_slots_list(const struct dg_slots *slots, int first, int end, dg_value list[DG_SLOTS]);

struct dg_entry {
    enum dg_entry_role role;
    const char *bind; /* what is put before its parameters' names to find them in a checkpoint: "teacher.backbone." */
    struct dg_graph *graph;
    int64_t batch;        /* images */
    int64_t ranks;        /* processes that can share the step's slices; 0: made for one */
    bool constant_params; /* evaluation: weights may be packed once */
    bool bf16;
    enum dg_math math;
    struct dg_slots slots;
};

/* Its inputs, and its outputs, in the order of the slots. */
static inline int dg_entry_inputs(const struct dg_entry *entry, dg_value list[DG_SLOTS])
{
    return dg_slots_list(&entry->slots, 0, DG_FIRST_OUTPUT, list);
}
static inline int dg_entry_outputs(const struct dg_entry *entry, dg_value list[DG_SLOTS])
{
    return dg_slots_list(&entry->slots, DG_FIRST_OUTPUT, DG_FIRST_PARAM, list);
}

#endif

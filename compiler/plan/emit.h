/* Graphs to a plan file: lifetimes, aliases, offsets, records, bytes. */
#ifndef DG_COMPILER_PLAN_EMIT_H
#define DG_COMPILER_PLAN_EMIT_H

#include "compiler/graph/graph.h"
#include "compiler/plan/pack.h"

struct dg_emit_entry {
    const char *name, *bind;
    struct dg_graph *graph;
    int64_t batch;
    bool constant_params; /* evaluation: weights may be packed once */
    bool bf16;
    const dg_value *input, *output;
    int num_inputs, num_outputs;
    /* out */
    uint64_t region_bytes[DG_REGIONS];
    struct dg_memory_plan step;
};

struct dg_emit_input {
    struct dg_emit_entry *entry;
    int num_entries;
    const struct dg_plan_knob *knob;
    const char *const *knob_key;
    int num_knobs;
    const struct dg_plan_schedule *schedule;
    const char *const *schedule_key;
    int num_schedules;
    const char *recipe, *source;
    const char *settings; /* behind the source's name: what makes the like of the plan; NULL: nothing */
};

/* Plans the memory of every entry, checks it, and writes the file (whole or not at all). The same input gives the same
 * bytes. Fills the out fields of the entries, and the size of the file. path NULL: nothing is written. */
enum dg_status dg_plan_emit(struct dg_arena *arena, struct dg_emit_input *in, const char *path, uint64_t *size,
                            struct dg_error *err);

#endif

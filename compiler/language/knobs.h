/* The knobs and schedules of a plan, as they are collected from a description: the numbers that `dinorun --set` may still
 * change, and the curves over a run that read them. */
#ifndef DG_COMPILER_LANGUAGE_KNOBS_H
#define DG_COMPILER_LANGUAGE_KNOBS_H

#include "compiler/base/arena.h"
#include "compiler/base/origin.h"
#include "runtime/plan/format.h"

struct dg_knob_list {          /* zero-initialise; all memory is the arena's */
    struct dg_plan_knob *knob; /* `key` is not set yet: */
    const char **knob_key;     /* of each knob, "lr.peak" */
    int num_knobs;
    struct dg_plan_schedule *schedule;
    const char **schedule_key;
    int num_schedules;
    size_t knob_capacity, knob_key_capacity, schedule_capacity, schedule_key_capacity;
};

/* Add one; `at` is the place of its value, with line 0 for a default. Keys are not copied. */
void dg_knob_list_add(struct dg_arena *arena, struct dg_knob_list *knobs, const char *key, struct dg_plan_knob knob,
                      const struct dg_origin *at);
void dg_knob_list_add_schedule(struct dg_arena *arena, struct dg_knob_list *knobs, const char *key, enum dg_curve curve,
                               bool per_epoch, const struct dg_origin *at);

#endif

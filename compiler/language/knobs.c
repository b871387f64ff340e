#include "compiler/language/knobs.h"

#include <string.h>

void dg_knob_list_add(struct dg_arena *arena, struct dg_knob_list *knobs, const char *key, struct dg_plan_knob knob,
                      const struct dg_origin *at)
{
    size_t count = (size_t)knobs->num_knobs;
    if (at->line > 0 && at->file && strcmp(at->file, "--set")) knob.line = (uint32_t)at->line;
    knobs->knob = dg_arena_grow(arena, knobs->knob, count, &knobs->knob_capacity, sizeof *knobs->knob);
    knobs->knob_key = dg_arena_grow(arena, knobs->knob_key, count, &knobs->knob_key_capacity, sizeof *knobs->knob_key);
    knobs->knob[count] = knob;
    knobs->knob_key[count] = key;
    knobs->num_knobs++;
}

void dg_knob_list_add_schedule(struct dg_arena *arena, struct dg_knob_list *knobs, const char *key, enum dg_curve curve,
                               bool per_epoch, const struct dg_origin *at)
{
    size_t count = (size_t)knobs->num_schedules;
    knobs->schedule = dg_arena_grow(arena, knobs->schedule, count, &knobs->schedule_capacity, sizeof *knobs->schedule);
    knobs->schedule_key =
        dg_arena_grow(arena, knobs->schedule_key, count, &knobs->schedule_key_capacity, sizeof *knobs->schedule_key);
    knobs->schedule[count] = (struct dg_plan_schedule){
        .curve = curve, .per_epoch = per_epoch, .line = at->line > 0 ? (uint32_t)at->line : 0};
    knobs->schedule_key[count] = key;
    knobs->num_schedules++;
}

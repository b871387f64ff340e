/* Entries and their layouts to a plan file. */
#ifndef DG_COMPILER_PLAN_EMIT_H
#define DG_COMPILER_PLAN_EMIT_H

#include "compiler/plan/layout.h"

struct dg_emit_input {
    enum dg_plan_kind kind;
    const struct dg_entry *entry;
    const struct dg_layout *layout; /* of each entry */
    int num_entries;
    const struct dg_plan_knob *knob;
    const char *const *knob_key;
    int num_knobs;
    const struct dg_plan_schedule *schedule;
    const char *const *schedule_key;
    int num_schedules;
    const char *recipe, *source;
    const char *facts;       /* lines "key=value", see struct dg_plan_header */
    const char *description; /* with every default filled in, which compiles again */
    const char *settings;    /* of the command line: `dinoc SOURCE SETTINGS` compiles the plan again; NULL: none */
};

/* Writes the plan file, all of it or nothing; `size` receives its bytes. The same input gives the same bytes. path NULL: only
 * the size is found. */
enum dg_status dg_plan_emit(struct dg_arena *arena, const struct dg_emit_input *in, const char *path, uint64_t *size,
                            struct dg_error *err);

#endif

/* The knobs and schedules of one run: the plan's values, changed by --set, and the formulas of the schedules, which are
 * those of the official code (utils.cosine_scheduler; the teacher temperature of DINOLoss). */
#ifndef DG_RUNTIME_EXEC_KNOBS_H
#define DG_RUNTIME_EXEC_KNOBS_H

#include "runtime/base/log.h"
#include "runtime/plan/open.h"

struct dg_knobs {
    const struct dg_plan *plan;
    struct dg_plan_knob *knob; /* the plan's, with this run's values; owned */
    bool *given;               /* of each: dg_knobs_set has set it; owned */
};

enum dg_status dg_knobs_open(const struct dg_plan *plan, struct dg_knobs *knobs, struct dg_error *err);
void dg_knobs_close(struct dg_knobs *knobs);

/* Applies one --set key=value. A value is a number ("0.3"), a number with its unit ("5 epochs"; the knob's own unit may
 * be left out), a pair ("[0.4, 1]"), or a list for the knobs key.0, key.1, ... DG_ERR_USAGE changes nothing; for a key
 * that shapes the graph its text has the dinoc command to use instead. */
enum dg_status dg_knobs_set(struct dg_knobs *knobs, const char *assignment, struct dg_error *err);

/* Sets knob `index` from the text of dg_knob_text, as if the plan said so. False: it cannot have this value, and stays. */
bool dg_knobs_restore(struct dg_knobs *knobs, uint32_t index, const char *text);
/* The same by its key, unless there is no such knob, or dg_knobs_set has set it. */
void dg_knobs_restore_key(struct dg_knobs *knobs, const char *key, const char *text);

/* Formats the knob's value as --set takes it: "0.3", "[0.4, 1]"; `with_unit` adds the unit of a length ("10 epochs"). No
 * number has more than `digits` digits, nor more than it takes to read the same number; with 17 no bit is lost. Returns
 * `text`. */
const char *dg_knob_text(char *text, size_t size, const struct dg_plan_knob *knob, int digits, bool with_unit);

/* Are two such texts the same but for how numbers are written? "0.05" and "5e-2" are. */
bool dg_same_value(const char *a, const char *b);

/* Writes a trace record (topic plan) for each knob. */
void dg_knobs_trace(const struct dg_knobs *knobs, const struct dg_log *log);

/* NULL if there is no such knob. */
const struct dg_plan_knob *dg_knobs_find(const struct dg_knobs *knobs, const char *key);
/* Its value (the first of a pair), or `otherwise` if there is no such knob. */
double dg_knobs_value(const struct dg_knobs *knobs, const char *key, double otherwise);

/* The length of a run; a plan does not know it. */
struct dg_run_length {
    int64_t steps_per_epoch;
    int64_t epochs;
};

/* The value of control `key` (a schedule or a plain knob) at `step`, counted from 0; the epoch is step /
 * steps_per_epoch. The key must exist (dg_knobs_check). */
double dg_control_value(const struct dg_knobs *knobs, const char *key, int64_t step, struct dg_run_length length);

/* To be called before the first step: every warm-up and span fits the run (DG_ERR_USAGE), every control of `entry` has
 * a value (DG_ERR_INPUT). */
enum dg_status dg_knobs_check(const struct dg_knobs *knobs, const struct dg_plan_entry *entry,
                              struct dg_run_length length, struct dg_error *err);

#endif

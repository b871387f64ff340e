/* A run's state as a file: parameters, teacher, centre, optimiser state, and the position. */
#ifndef DG_RUNTIME_STATE_CHECKPOINT_H
#define DG_RUNTIME_STATE_CHECKPOINT_H

#include "runtime/exec/session.h"
#include "runtime/state/facts.h"

/* The position of a run, and what its numbers depend on. */
struct dg_progress {
    int64_t step;    /* steps done, including those left out */
    int64_t skipped; /* left out because they were not finite */
    int64_t steps_per_epoch, epochs;
    uint64_t seed, data_hash;
    int threads;
    int64_t step_before; /* after loading: the step as the file counts, where its batch was another one; else -1 */
    const struct dg_facts *facts; /* besides the plan's: images, classes, ...; NULL: none */
};

/* Upper bound of the size of a checkpoint of the entry, in bytes. */
int64_t dg_checkpoint_bytes(const struct dg_plan *plan, const struct dg_plan_entry *entry);

/* Writes all parameters and state of the session, the position, and the run's facts.
 * The file is complete or absent. DG_ERR_NUMERIC: a parameter or state is not finite, and nothing is written. DG_ERR_IO,
 * DG_ERR_MEMORY. */
enum dg_status dg_checkpoint_save(const struct dg_session *session, const struct dg_knobs *knobs,
                                  const struct dg_progress *position, const char *path, struct dg_error *err);

/* What the user has asked for. */
struct dg_resume_rules {
    bool seed_given; /* true: another seed in the file than the position's is an error; false: the file's is taken */
    bool new_data;   /* go on, although these are not the images that the run began with */
    bool accept_changes; /* go on, although the recipe is another one */
};

/* Restores parameters, state and position. `position` has what this run would use; step, skipped and seed are set from
 * the file. DG_ERR_USAGE: the file is of another recipe (dg_facts_compare), has another seed than was given, or other
 * data. DG_ERR_INPUT: it is damaged, holds numbers that are not finite, or has no position (weights only). `log` (may be
 * NULL) receives a warning for each other difference: knobs, run length, threads, memory plan. A batch that was accepted
 * as another one changes the step: the epoch and the place in it stay.
 *
 * A full checkpoint of the published code, as dinorun import leaves it, says no more than how many epochs are done: the run
 * goes on behind them, with a warning. */
enum dg_status dg_checkpoint_load(struct dg_session *session, const struct dg_knobs *knobs,
                                  struct dg_progress *position, struct dg_resume_rules rules, const char *path,
                                  const struct dg_log *log, struct dg_error *err);

#endif

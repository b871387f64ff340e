/* A run's position as a file: parameters, teacher, centre, optimiser state, and where the run stands. */
#ifndef DG_RUNTIME_STATE_CHECKPOINT_H
#define DG_RUNTIME_STATE_CHECKPOINT_H

#include "runtime/exec/session.h"

/* Where a run stands, and what its numbers depend on. */
struct dg_run_position {
    int64_t step;    /* steps done, with those left out */
    int64_t skipped; /* left out because they were not finite */
    int64_t steps_per_epoch, epochs;
    uint64_t seed, data_hash;
    int threads;
};

/* At most how large such a file is. */
int64_t dg_checkpoint_bytes(const struct dg_plan *plan, const struct dg_plan_entry *entry);

/* Writes all parameters and state of the session, the position, and the knobs' values ("set.<key>" in the metadata). The
 * file is complete or not there. */
enum dg_status dg_checkpoint_save(const struct dg_session *session, const struct dg_knobs *knobs,
                                  const struct dg_run_position *position, const char *path, struct dg_error *err);

/* What the caller has asked for expressly. */
struct dg_resume_rules {
    bool
        seed_given; /* the seed is the position's: another one in the file is an error; otherwise the file's is taken */
    bool new_data;  /* go on, although the data are not those the run began with */
};

/* Restores them. `position` holds what this run would use; its step, skipped and seed are set from the file. A file of another model
 * (parameters, recipe, batch), another seed and other data are DG_ERR_USAGE, one without a position (weights only) and a damaged
 * one DG_ERR_INPUT; `log` receives other knobs, run length, threads or memory plan, a warning each. */
enum dg_status dg_checkpoint_load(struct dg_session *session, const struct dg_knobs *knobs,
                                  struct dg_run_position *position, struct dg_resume_rules rules, const char *path,
                                  const struct dg_log *log, struct dg_error *err);

#endif

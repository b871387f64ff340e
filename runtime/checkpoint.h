/* A run's position as a file: parameters, teacher, centre, optimiser state, and where the run stands. */
#ifndef DG_RUNTIME_CHECKPOINT_H
#define DG_RUNTIME_CHECKPOINT_H

#include "runtime/session.h"

/* Where a run stands, and what its numbers depend on. */
struct dg_run_position {
    int64_t step; /* steps done */
    int64_t steps_per_epoch, epochs;
    uint64_t seed, data_hash;
    int threads;
};

/* Called with every difference between the run so far and the run to come that a resume allows. */
typedef void dg_notice(void *context, const char *text);

/* Writes all parameters and state of the session, the position, and the knobs' values ("set.<key>" in the metadata). The
 * file is complete or not there. */
enum dg_status dg_checkpoint_save(const struct dg_session *session, const struct dg_plan *plan,
                                  const struct dg_knobs *knobs, const struct dg_run_position *position,
                                  const char *path, struct dg_error *err);

/* Restores them. `position` holds what this run would use; its step and, unless `seed_given`, its seed are set from the file.
 * A file of another model (parameters, recipe, batch), one without a position (weights only) or another seed are
 * DG_ERR_INPUT; other knobs, data, run length, threads or memory plan are noticed. */
enum dg_status dg_checkpoint_load(struct dg_session *session, const struct dg_plan *plan, const struct dg_knobs *knobs,
                                  struct dg_run_position *position, bool seed_given, const char *path,
                                  dg_notice *notice, void *context, struct dg_error *err);

#endif

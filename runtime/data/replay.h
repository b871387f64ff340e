/* Recorded crops in place of images: a safetensors file with step{S}.crop{V} of [batch, 3, height, width], f32, already
 * normalised; V counts the global views, then the local ones. Step s of a run reads record s modulo their number. */
#ifndef DG_RUNTIME_DATA_REPLAY_H
#define DG_RUNTIME_DATA_REPLAY_H

#include "runtime/exec/session.h"

struct dg_replay;

/* Opens the file and checks that every step has every view of the train entry, in its shape. DG_ERR_INPUT names the
 * tensor that is missing or different. */
enum dg_status dg_replay_open(const char *path, const struct dg_plan *plan, const struct dg_plan_entry *entry,
                              struct dg_replay **replay, struct dg_error *err);
void dg_replay_close(struct dg_replay *replay); /* NULL is fine */

int64_t dg_replay_steps(const struct dg_replay *replay);
/* Hash of names and shapes. */
uint64_t dg_replay_hash(const struct dg_replay *replay);
/* Copies the crops of `step` into the session's inputs, channels last. */
void dg_replay_read(const struct dg_replay *replay, int64_t step, struct dg_session *session);

#endif

/* The checkpoints beside the newest in a run's folder. checkpoint-{step:08}.safetensors is retained for good;
 * previous-{step:08}.safetensors was the newest one once, and is removed when it is no longer among the last. Only
 * files of the second name are ever removed. */
#ifndef DG_RUNTIME_STATE_CHECKPOINT_FILES_H
#define DG_RUNTIME_STATE_CHECKPOINT_FILES_H

#include "ops/base/base.h"
#include "runtime/base/path.h"

/* The path of a retained checkpoint. */
void dg_retained_path(const char *folder, int64_t step, char path[DG_MAX_PATH]);

/* The checkpoint of the highest step below `below`, previous or retained: returns its step and sets its path; -1 if
 * there is none. Of two of one step it is the retained one. */
int64_t dg_older_checkpoint(const char *folder, int64_t below, char path[DG_MAX_PATH]);

/* Gives the newest checkpoint `path`, of `step`, the name previous-{step}, to be called before it is replaced. It is a
 * link, or a rename where the file system has no links. Does nothing if there is no such file (an earlier call had
 * renamed it, and the save after it failed). DG_ERR_IO. */
enum dg_status dg_previous_add(const char *folder, const char *path, int64_t step, struct dg_error *err);

/* To be called after the newest checkpoint was replaced. Removes all previous checkpoints up to `step` but the `last`
 * newest, and those above `step`: a resume has passed over them, so they are damaged. */
void dg_previous_remove(const char *folder, int64_t step, int64_t last);

/* Number of previous checkpoints of whose step none is retained. */
int64_t dg_previous_count(const char *folder);

#endif

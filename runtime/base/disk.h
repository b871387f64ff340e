/* Disk space: how much a run will write, and whether that much is free. */
#ifndef DG_RUNTIME_BASE_DISK_H
#define DG_RUNTIME_BASE_DISK_H

#include "ops/base/base.h"

/* What a run writes into its folder: the newest checkpoint, replaced each time through a temporary file; the `last`
 * checkpoints before it; retained checkpoints; a log. Intervals are in steps; 0: never. The last step is always
 * saved. */
struct dg_disk_run {
    int64_t checkpoint_bytes, log_bytes; /* of one checkpoint; of one line of the log */
    int64_t first, end;                  /* steps done when the run begins and ends */
    int64_t every, keep;                 /* between checkpoints; between retained checkpoints */
    int64_t last;                        /* how many checkpoints before the newest stay */
    int64_t present;                     /* checkpoints in the folder that will be replaced or removed */
};

/* The most bytes by which the folder grows at any moment of the run; INT64_MAX on overflow. */
int64_t dg_disk_need(const struct dg_disk_run *run);

/* DG_ERR_IO: the file system of `folder` has fewer than `bytes` free for this user. No error if the file system does
 * not tell. */
enum dg_status dg_disk_check(const char *folder, int64_t bytes, const char *what_to_do, struct dg_error *err);

#endif

/* Room on a disk: what a run will write, and whether it is there. */
#ifndef DG_RUNTIME_BASE_DISK_H
#define DG_RUNTIME_BASE_DISK_H

#include "ops/base/base.h"

/* What a run writes into its folder: a newest checkpoint, replaced each time by way of a temporary file beside it, the `last` ones
 * before it, copies that stay, and a log. Intervals are in steps; 0: never. The end is saved in any case. */
struct dg_disk_run {
    int64_t checkpoint_bytes, log_bytes; /* of a checkpoint; of a line of the log */
    int64_t first, end;                  /* steps done now, and in the end */
    int64_t every, keep;                 /* a checkpoint, and one that is kept */
    int64_t last;                        /* how many before the newest stay */
    int64_t present;                     /* checkpoints there already that will be replaced or removed */
};

/* The most bytes that the folder will grow by at any moment of the run; INT64_MAX when that is no number. */
int64_t dg_disk_need(const struct dg_disk_run *run);

/* DG_ERR_IO when the file system of `folder` has fewer bytes free for this user; a file system that does not tell has enough. */
enum dg_status dg_disk_check(const char *folder, int64_t bytes, const char *what_to_do, struct dg_error *err);

#endif

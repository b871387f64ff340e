/* Files that are either complete or not there: written beside their place, synced, and renamed over it. A link is followed and
 * stays one. What is there and is no file (a device, a pipe) is written to where it is, and stays too. */
#ifndef DG_RUNTIME_BASE_ATOMIC_FILE_H
#define DG_RUNTIME_BASE_ATOMIC_FILE_H

#include "ops/base/base.h"

#include <stdio.h>

#define DG_ATOMIC_PART ".part-" /* behind the path of a file that is being written; then the number of the process */

struct dg_atomic_file {
    FILE *stream;           /* write here; errors may be left to dg_atomic_commit */
    char *path, *temporary; /* temporary: NULL when written in place */
};

enum dg_status dg_atomic_open(const char *path, struct dg_atomic_file *file, struct dg_error *err);
/* Flushes, syncs, renames, syncs the folder. On failure (a full disk, say) nothing is left behind and the old file, if there
 * was one, stands. Either way `file` is done. */
enum dg_status dg_atomic_commit(struct dg_atomic_file *file, struct dg_error *err);
/* Gives up: removes what was written. Fine on a file that is done. */
void dg_atomic_abandon(struct dg_atomic_file *file);

/* Makes the names in the folder of `path` last, as far as the file system can: what a rename or a link needs. */
void dg_sync_folder_of(const char *path);

/* A folder to write to, made if it is not there. DG_ERR_IO: it cannot be made, or what is there cannot be written to. */
enum dg_status dg_make_folder(const char *path, struct dg_error *err);

#endif

/* Files that are either complete or absent: they are written under another name in the same folder, synced and renamed.
 * A symbolic link is followed and remains. Devices and pipes are written in place. */
#ifndef DG_RUNTIME_BASE_ATOMIC_FILE_H
#define DG_RUNTIME_BASE_ATOMIC_FILE_H

#include "ops/base/base.h"

#include <stdio.h>

#define DG_ATOMIC_PART ".part-" /* follows the path of a file that is being written; the process id follows it */

struct dg_atomic_file {
    FILE *stream;           /* write here; errors may be left to dg_atomic_commit, which reports them */
    char *path, *temporary; /* temporary: NULL when written in place */
};

enum dg_status dg_atomic_open(const char *path, struct dg_atomic_file *file, struct dg_error *err);
/* Flushes, syncs, renames, and syncs the folder. DG_ERR_IO (a full disk, for example): nothing is left behind and an
 * older file stays as it is. `file` is closed in any case. */
enum dg_status dg_atomic_commit(struct dg_atomic_file *file, struct dg_error *err);
/* Removes what was written and closes. Does nothing on a closed file. */
void dg_atomic_abandon(struct dg_atomic_file *file);

/* Syncs the folder of `path`, as far as the file system can, so that a rename or a link in it survives a power cut. */
void dg_sync_folder_of(const char *path);

/* Makes a folder to write to, unless it is there. DG_ERR_IO: it cannot be made or written to. */
enum dg_status dg_make_folder(const char *path, struct dg_error *err);

#endif

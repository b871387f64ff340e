#include "runtime/state/checkpoint_files.h"

#include "runtime/base/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RETAINED "checkpoint"
#define PREVIOUS "previous"

static void path_of(const char *folder, const char *kind, int64_t step, char path[DG_MAX_PATH])
{
    snprintf(path, DG_MAX_PATH, "%s/%s-%08" PRId64 ".safetensors", folder, kind, step);
}

void dg_retained_path(const char *folder, int64_t step, char path[DG_MAX_PATH])
{
    path_of(folder, RETAINED, step, path);
}

/* The step in a file's name; -1 if it is not the name of a checkpoint of this kind. */
static int64_t step_of(const char *file, const char *kind)
{
    int64_t step;
    char name[64];
    size_t length = strlen(kind);
    if (strncmp(file, kind, length) || sscanf(file + length, "-%" SCNd64, &step) != 1 || step < 0) return -1;
    snprintf(name, sizeof name, "%s-%08" PRId64 ".safetensors", kind, step);
    return strcmp(file, name) ? -1 : step;
}

static int64_t newest(const char *folder, const char *kind, int64_t below)
{
    int64_t best = -1;
    DIR *list = opendir(folder);
    if (!list) return -1;
    for (struct dirent *file; (file = readdir(list));) {
        int64_t step = step_of(file->d_name, kind);
        if (step < below && step > best) best = step;
    }
    closedir(list);
    return best;
}

int64_t dg_older_checkpoint(const char *folder, int64_t below, char path[DG_MAX_PATH])
{
    int64_t retained = newest(folder, RETAINED, below), previous = newest(folder, PREVIOUS, below);
    int64_t step = dg_max_i64(retained, previous);
    if (step >= 0) path_of(folder, retained >= previous ? RETAINED : PREVIOUS, step, path);
    return step;
}

enum dg_status dg_previous_add(const char *folder, const char *path, int64_t step, struct dg_error *err)
{
    char name[DG_MAX_PATH];
    path_of(folder, PREVIOUS, step, name);
    if (access(path, F_OK)) return DG_OK;
    unlink(name); /* a damaged one that a resume has passed over */
    if (!link(path, name) || !rename(path, name)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot name %s %s: %s", path, name, strerror(errno));
}

void dg_previous_remove(const char *folder, int64_t step, int64_t last)
{
    char path[DG_MAX_PATH];
    for (int64_t above; (above = newest(folder, PREVIOUS, INT64_MAX)) > step;) {
        path_of(folder, PREVIOUS, above, path);
        if (unlink(path)) return; /* a later call may */
    }
    int64_t at = step < INT64_MAX ? step + 1 : step;
    for (int64_t n = 0; (at = newest(folder, PREVIOUS, at)) >= 0; n++) {
        path_of(folder, PREVIOUS, at, path);
        if (n >= last) unlink(path);
    }
}

int64_t dg_previous_count(const char *folder)
{
    char path[DG_MAX_PATH];
    int64_t count = 0;
    for (int64_t at = INT64_MAX; (at = newest(folder, PREVIOUS, at)) >= 0;) {
        dg_retained_path(folder, at, path);
        count += access(path, F_OK) != 0;
    }
    return count;
}

#include "runtime/export/folder.h"

#include "runtime/base/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_dot(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

/* A path that nothing has, or an empty folder's. */
static enum dg_status check_free(const char *path, struct dg_error *err)
{
    struct stat info;
    if (lstat(path, &info)) {
        if (errno == ENOENT) return DG_OK;
        return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    DIR *dir = S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (!dir) return dg_fail(err, DG_ERR_USAGE, "%s is there and is not an empty folder: give a new name", path);
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(dir));) empty = empty && is_dot(entry->d_name);
    closedir(dir);
    if (empty) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "%s is there and has files in it: give a new name, or remove it", path);
}

enum dg_status dg_new_folder_open(const char *path, struct dg_new_folder *folder, struct dg_error *err)
{
    size_t length = strlen(path);
    *folder = (struct dg_new_folder){0};
    while (length > 1 && path[length - 1] == '/') length--;
    if (!length || length > DG_MAX_PATH - 256) return dg_fail(err, DG_ERR_USAGE, "%s: no path of a folder", path);
    memcpy(folder->path, path, length);
    DG_TRY(check_free(folder->path, err));
    snprintf(folder->temporary, sizeof folder->temporary, "%.*s" DG_ATOMIC_PART "%ld", (int)length, path,
             (long)getpid());
    if (!mkdir(folder->temporary, 0777)) return DG_OK;
    folder->temporary[0] = 0;
    return dg_fail(err, DG_ERR_IO, "cannot make %s: %s", folder->path, strerror(errno));
}

const char *dg_new_folder_file(struct dg_new_folder *folder, const char *name, char path[DG_MAX_PATH])
{
    snprintf(path, DG_MAX_PATH, "%.*s/%.200s", DG_MAX_PATH - 210, folder->temporary, name);
    return path;
}

enum dg_status dg_new_folder_write(struct dg_new_folder *folder, const char *name, const char *text,
                                   struct dg_error *err)
{
    char path[DG_MAX_PATH];
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(dg_new_folder_file(folder, name, path), &file, err));
    fputs(text, file.stream); /* errors are seen when the file is committed */
    return dg_atomic_commit(&file, err);
}

enum dg_status dg_new_folder_commit(struct dg_new_folder *folder, struct dg_error *err)
{
    if (rename(folder->temporary, folder->path)) /* over an empty folder, too */
        return dg_fail(err, DG_ERR_IO, "cannot make %s: %s", folder->path, strerror(errno));
    folder->temporary[0] = 0;
    dg_sync_folder_of(folder->path);
    return DG_OK;
}

void dg_new_folder_abandon(struct dg_new_folder *folder)
{
    DIR *dir = *folder->temporary ? opendir(folder->temporary) : NULL;
    char path[DG_MAX_PATH];
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!is_dot(entry->d_name)) unlink(dg_new_folder_file(folder, entry->d_name, path));
    closedir(dir);
    rmdir(folder->temporary);
    folder->temporary[0] = 0;
}

#include "runtime/base/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum dg_status dg_atomic_open(const char *path, struct dg_atomic_file *file, struct dg_error *err)
{
    *file = (struct dg_atomic_file){0};
    struct stat info;
    bool in_place = !stat(path, &info) && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
    if (!in_place && !lstat(path, &info) && S_ISLNK(info.st_mode)) file->path = realpath(path, NULL);
    if (!file->path) file->path = strdup(path); /* also of a link to nothing */
    if (!file->path ||
        (!in_place && asprintf(&file->temporary, "%s" DG_ATOMIC_PART "%ld", file->path, (long)getpid()) < 0)) {
        file->temporary = NULL;
        dg_atomic_abandon(file);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    bool folder = !stat(file->path, &info) && S_ISDIR(info.st_mode); /* an error now, not after the work */
    file->stream = folder ? NULL : fopen(in_place ? file->path : file->temporary, "wbe");
    if (file->stream) return DG_OK;
    int reason = folder ? EISDIR : errno;
    dg_atomic_abandon(file);
    return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", path, strerror(reason));
}

void dg_sync_folder_of(const char *path)
{
    char *folder = strdup(path);
    if (!folder) return;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems cannot; the rename has happened all the same */
        close(fd);
    }
    free(folder);
}

enum dg_status dg_atomic_commit(struct dg_atomic_file *file, struct dg_error *err)
{
    bool in_place = !file->temporary;
    bool ok = !ferror(file->stream) && !fflush(file->stream) &&
              (in_place || !fsync(fileno(file->stream))); /* no disk there */
    int reason = errno;
    if (fclose(file->stream) && ok) {
        ok = false;
        reason = errno;
    }
    file->stream = NULL;
    if (ok && !in_place && rename(file->temporary, file->path)) {
        ok = false;
        reason = errno;
    }
    enum dg_status status = DG_OK;
    if (ok) {
        if (!in_place) dg_sync_folder_of(file->path);
        free(file->temporary);
        file->temporary = NULL;
    } else {
        status = dg_fail(err, DG_ERR_IO, "cannot write %s: %s", file->path, strerror(reason ? reason : EIO));
    }
    dg_atomic_abandon(file);
    return status;
}

void dg_atomic_abandon(struct dg_atomic_file *file)
{
    if (file->stream) fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct dg_atomic_file){0};
}

enum dg_status dg_make_folder(const char *path, struct dg_error *err)
{
    struct stat info;
    if (!mkdir(path, 0777)) return DG_OK;
    int reason = errno;
    bool there = reason == EEXIST && !stat(path, &info);
    if (there) reason = S_ISDIR(info.st_mode) ? access(path, W_OK | X_OK) ? errno : 0 : ENOTDIR;
    if (!reason) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot %s the folder %s: %s; choose another place, or make it writable",
                   there ? "write to" : "make", path, strerror(reason));
}

#include "runtime/train/run_folder.h"

#include "runtime/base/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Removes temporary files of writers that were killed (runtime/base/atomic_file.h). */
static void sweep(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) return;
    for (struct dirent *item; (item = readdir(folder));) {
        const char *part = strstr(item->d_name, DG_ATOMIC_PART), *number = part ? part + strlen(DG_ATOMIC_PART) : "";
        if (!*number || number[strspn(number, "0123456789")]) continue;
        unlinkat(dirfd(folder), item->d_name, 0);
    }
    closedir(folder);
}

enum dg_status dg_run_folder_open(const char *path, int *lock, struct dg_error *err)
{
    *lock = -1;
    DG_TRY(dg_make_folder(path, err));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) { /* not all network file systems have locks */
        close(fd);
        return dg_fail(err, DG_ERR_USAGE, "%s: another run is writing there; wait for its end, or choose another --out",
                       path);
    }
    sweep(path);
    *lock = fd;
    return DG_OK;
}

void dg_run_folder_close(int lock)
{
    if (lock >= 0) close(lock);
}

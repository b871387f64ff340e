#include "runtime/base/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum dg_status map_file(const char *path, const char *kind, int fd, struct dg_file_map *map,
                               struct dg_error *err)
{
    struct stat about;
    if (fstat(fd, &about)) return dg_fail(err, DG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return dg_fail(err, DG_ERR_INPUT, "%s: a %s, not %s", path, S_ISDIR(about.st_mode) ? "folder" : "special file",
                       kind);
    if (!about.st_size) return dg_fail(err, DG_ERR_INPUT, "%s: the file is empty", path);
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return dg_fail(err, DG_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    *map = (struct dg_file_map){bytes, (size_t)about.st_size};
    return DG_OK;
}

enum dg_status dg_file_map_open(const char *path, const char *kind, struct dg_file_map *map, struct dg_error *err)
{
    *map = (struct dg_file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe without a writer must not block */
    if (fd < 0) return dg_fail(err, DG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum dg_status status = map_file(path, kind, fd, map, err);
    close(fd);
    return status;
}

void dg_file_map_close(struct dg_file_map *map)
{
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (struct dg_file_map){0};
}

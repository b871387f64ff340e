#include "runtime/data/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAMPED = 4096, MOST_OPEN = 1 << 15 };

static enum dg_status no_memory(struct dg_error *err)
{
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the members of archives");
}

bool dg_is_archive_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot > name && (!strcasecmp(dot, ".tar") || !strcasecmp(dot, ".zip"));
}

char *dg_archive_stem(const char *name)
{
    return strndup(name, dg_is_archive_name(name) ? strlen(name) - 4 : strlen(name));
}

/* ---- descriptors ---- */

/* A thousand shards are open at once where the system lets them; half of the descriptors are left to others. */
static int most_open(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return 0;
    rlim_t wanted = limit.rlim_max < 2 * MOST_OPEN ? limit.rlim_max : 2 * MOST_OPEN;
    if (limit.rlim_cur < wanted) {
        struct rlimit more = {wanted, limit.rlim_max};
        if (!setrlimit(RLIMIT_NOFILE, &more)) limit.rlim_cur = wanted;
    }
    return limit.rlim_cur / 2 < MOST_OPEN ? (int)(limit.rlim_cur / 2) : MOST_OPEN;
}

static enum dg_status open_file(const char *path, int *fd, struct dg_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not block */
    return *fd >= 0 ? DG_OK : dg_fail(err, DG_ERR_IO, "cannot open the archive %s: %s", path, strerror(errno));
}

static int64_t time_of(const struct stat *about)
{
    return (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec;
}

static void stamp(int fd, const struct stat *about, struct dg_archive_stamp *stamp)
{
    unsigned char bytes[STAMPED];
    int64_t size = about->st_size, part = dg_min_i64(size, STAMPED);
    const int64_t from[] = {0, (size - part) / 2, size - part};
    *stamp = (struct dg_archive_stamp){size, time_of(about), DG_FNV_BASIS};
    for (int f = 0; f < 3; f++)
        if (dg_read_at(fd, from[f], bytes, (size_t)part)) stamp->bytes = dg_fnv1a(stamp->bytes, bytes, (size_t)part);
}

/* ---- adding ---- */

static enum dg_status fill(struct dg_archives *archives, struct dg_archive *a, bool labels, const struct dg_log *log,
                           struct dg_error *err)
{
    struct stat about;
    DG_TRY(open_file(a->path, &a->fd, err));
    if (fstat(a->fd, &about) || !S_ISREG(about.st_mode))
        return dg_fail(err, DG_ERR_USAGE, "%s is neither a folder nor a file", a->path);
    stamp(a->fd, &about, &a->stamp);
    if (dg_archives_find_indexed(archives, a, labels, log)) return DG_OK;
    a->is_new = true;
    a->has_labels = labels;
    double begin = dg_seconds_now();
    DG_TRY(dg_archive_scan(a, labels, log, err));
    dg_log(log, DG_LOG_TRACE, DG_LOG_LOAD, "archive %s: %lld members, indexed in %.3f s", a->path, (long long)a->count,
           dg_seconds_now() - begin);
    return DG_OK;
}

enum dg_status dg_archives_add(struct dg_archives *archives, const char *path, bool labels, const struct dg_log *log,
                               int *number, struct dg_error *err)
{
    if (archives->count == archives->capacity) {
        int capacity = archives->capacity ? 2 * archives->capacity : 16;
        struct dg_archive *grown = realloc(archives->archive, (size_t)capacity * sizeof *grown);
        if (!grown) return no_memory(err);
        archives->archive = grown;
        archives->capacity = capacity;
    }
    if (!archives->most_open) archives->most_open = most_open();
    struct dg_archive *a = &archives->archive[archives->count];
    *a = (struct dg_archive){.path = strdup(path), .fd = -1};
    if (!a->path) return no_memory(err);
    *number = archives->count++;
    DG_TRY(fill(archives, a, labels, log, err));
    if (archives->open < archives->most_open) {
        archives->open++;
        return DG_OK;
    }
    close(a->fd);
    a->fd = -1;
    return DG_OK;
}

enum dg_status dg_archive_add_text(struct dg_archive *a, const char *text, size_t size, uint64_t *at,
                                   struct dg_error *err)
{
    uint64_t before = a->text_size ? a->text_size : 1, needed = before + size + 1;
    if (needed > a->text_capacity) {
        uint64_t capacity = a->text_capacity ? 2 * a->text_capacity : 1 << 16;
        if (capacity < needed) capacity = needed;
        char *grown = realloc(a->text, capacity);
        if (!grown) return no_memory(err);
        grown[0] = 0;
        a->text = grown;
        a->text_capacity = capacity;
    }
    memcpy(a->text + before, text, size);
    a->text[before + size] = 0;
    a->text_size = needed;
    *at = before;
    return DG_OK;
}

enum dg_status dg_archives_add_member(struct dg_archives *archives, int archive, const struct dg_member_place *place,
                                      uint32_t *number, struct dg_error *err)
{
    if (archives->members == archives->member_capacity) {
        int64_t capacity = archives->member_capacity ? 2 * archives->member_capacity : 1024;
        struct dg_archived *grown = realloc(archives->member, (size_t)capacity * sizeof *grown);
        if (!grown) return no_memory(err);
        archives->member = grown;
        archives->member_capacity = capacity;
    }
    archives->member[archives->members++] = (struct dg_archived){*place, archive};
    *number = (uint32_t)archives->members;
    return DG_OK;
}

/* ---- reading ---- */

/* Opens an archive that is not open all the time. Members are where they were only in the file that was listed. */
static enum dg_status open_same(const struct dg_archive *a, int *fd, struct dg_error *err)
{
    struct stat about;
    DG_TRY(open_file(a->path, fd, err));
    if (!fstat(*fd, &about) && about.st_size == a->stamp.size && time_of(&about) == a->stamp.time) return DG_OK;
    close(*fd);
    return dg_fail(err, DG_ERR_IO,
                   "the archive %s has changed since its members were listed: put it back, or start a new run with it",
                   a->path);
}

enum dg_status dg_archives_read(const struct dg_archives *archives, uint32_t number, const char *path, void *bytes,
                                size_t count, struct dg_error *err)
{
    const struct dg_archived *member = &archives->member[number - 1];
    const struct dg_archive *a = &archives->archive[member->archive];
    int fd = a->fd;
    if (fd < 0) DG_TRY(open_same(a, &fd, err));
    if (count > (size_t)member->place.size) count = (size_t)member->place.size;
    enum dg_status status = dg_member_read(fd, &member->place, path, bytes, count, err);
    if (a->fd < 0) close(fd);
    return status;
}

/* ---- closing ---- */

void dg_archives_free_entries(struct dg_archives *archives)
{
    for (int i = 0; i < archives->count; i++) {
        struct dg_archive *a = &archives->archive[i];
        free(a->entry);
        free(a->text);
        a->entry = NULL;
        a->text = NULL;
        a->count = a->capacity = 0;
        a->text_size = a->text_capacity = 0;
    }
    dg_file_map_close(&archives->index);
}

void dg_archives_free(struct dg_archives *archives)
{
    dg_archives_free_entries(archives);
    for (int i = 0; i < archives->count; i++) {
        if (archives->archive[i].fd >= 0) close(archives->archive[i].fd);
        free(archives->archive[i].path);
    }
    free(archives->archive);
    free(archives->member);
    *archives = (struct dg_archives){0};
}

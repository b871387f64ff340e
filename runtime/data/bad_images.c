#include "runtime/data/bad_images.h"

#include "runtime/base/name.h"
#include "runtime/comm/gather.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t dg_bad_limit_of(struct dg_bad_limit limit, int64_t all)
{
    return limit.percent > 0 ? (int64_t)((double)all * limit.percent / 100) : limit.images;
}

const char *dg_bad_limit_text(struct dg_bad_limit limit, char *text, size_t size)
{
    if (limit.percent > 0)
        snprintf(text, size, "%g%%", limit.percent);
    else
        snprintf(text, size, "%" PRId64, limit.images);
    return text;
}

void dg_bad_images_init(struct dg_bad_images *bad)
{
    *bad = (struct dg_bad_images){0};
    pthread_mutex_init(&bad->lock, NULL);
}

void dg_bad_images_free(struct dg_bad_images *bad)
{
    for (int64_t i = 0; i < bad->count; i++) {
        free(bad->image[i].path);
        free(bad->image[i].reason);
    }
    free(bad->image);
    pthread_mutex_destroy(&bad->lock);
}

void dg_error_escape_path(struct dg_error *err, const char *path)
{
    char escaped[sizeof err->text], text[sizeof err->text];
    const char *found = strstr(err->text, path);
    dg_name_escape(path, escaped, sizeof escaped);
    if (!found || !strcmp(path, escaped)) return;
    int length =
        snprintf(text, sizeof text, "%.*s%s%s", (int)(found - err->text), err->text, escaped, found + strlen(path));
    if (length < (int)sizeof text) memcpy(err->text, text, (size_t)length + 1);
}

static enum dg_status add(struct dg_bad_images *bad, const struct dg_bad_image *image)
{
    if (bad->count == bad->capacity) {
        int64_t capacity = bad->capacity ? 2 * bad->capacity : 16;
        struct dg_bad_image *grown = realloc(bad->image, (size_t)capacity * sizeof *grown);
        if (!grown) return DG_ERR_MEMORY;
        bad->image = grown;
        bad->capacity = capacity;
    }
    bad->image[bad->count++] = *image;
    return DG_OK;
}

enum dg_status dg_bad_images_add(struct dg_bad_images *bad, int64_t index, const char *path,
                                 const struct dg_error *reason, struct dg_error *err)
{
    struct dg_error escaped = *reason;
    size_t room = DG_NAME_ESCAPED(strlen(path));
    struct dg_bad_image image = {.index = index, .path = malloc(room)};
    enum dg_status status = image.path ? DG_OK : DG_ERR_MEMORY;
    if (status == DG_OK) {
        dg_error_escape_path(&escaped, path);
        dg_name_escape(path, image.path, room);
        size_t size = strlen(image.path);
        bool names_it = !strncmp(escaped.text, image.path, size) && !strncmp(escaped.text + size, ": ", 2);
        image.reason = strdup(escaped.text + (names_it ? size + 2 : 0));
        if (!image.reason) status = DG_ERR_MEMORY;
    }
    pthread_mutex_lock(&bad->lock);
    if (status == DG_OK) status = add(bad, &image);
    pthread_mutex_unlock(&bad->lock);
    if (status == DG_OK) return DG_OK;
    free(image.path);
    free(image.reason);
    return dg_fail(err, status, "no memory for the list of unreadable images");
}

int64_t dg_bad_images_count(struct dg_bad_images *bad)
{
    pthread_mutex_lock(&bad->lock);
    int64_t count = bad->count;
    pthread_mutex_unlock(&bad->lock);
    return count;
}

static int by_index(const void *a, const void *b)
{
    int64_t in_a = ((const struct dg_bad_image *)a)->index, in_b = ((const struct dg_bad_image *)b)->index;
    return in_a < in_b ? -1 : in_a > in_b;
}

enum dg_status dg_bad_images_settle(struct dg_bad_images *bad, int64_t all, int64_t limit, const struct dg_log *log,
                                    struct dg_error *err)
{
    if (!bad->count) return DG_OK;
    qsort(bad->image, (size_t)bad->count, sizeof *bad->image, by_index);
    for (int64_t i = 0; i < bad->count && (bad->count > 1 || limit); i++) /* the error names one alone */
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%s: %s", bad->image[i].path, bad->image[i].reason);
    if (bad->count == all)
        return dg_fail(err, DG_ERR_INPUT, "none of the %" PRId64 " images can be read; the first: %s: %s", all,
                       bad->image[0].path, bad->image[0].reason);
    if (bad->count <= limit) {
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%" PRId64 " of %" PRId64 " images cannot be read and are left out",
               bad->count, all);
        return DG_OK;
    }
    return dg_fail(err, DG_ERR_INPUT,
                   "%" PRId64 " of %" PRId64
                   " images cannot be read%s; the first: %s: %s. Mend or remove them, or leave "
                   "them out with --max-bad-images %" PRId64,
                   bad->count, all, limit ? ", more than are tolerated" : "", bad->image[0].path, bad->image[0].reason,
                   bad->count);
}

/* ---- of several processes ---- */

/* The index, the path and the reason of each, one behind the other; *bytes long. NULL: no memory. */
static char *pack(const struct dg_bad_images *bad, int64_t *bytes)
{
    *bytes = 0;
    for (int64_t i = 0; i < bad->count; i++)
        *bytes += (int64_t)(sizeof bad->image->index + strlen(bad->image[i].path) + strlen(bad->image[i].reason) + 2);
    char *packed = malloc((size_t)*bytes + 1), *at = packed;
    for (int64_t i = 0; packed && i < bad->count; i++) {
        const struct dg_bad_image *image = &bad->image[i];
        memcpy(at, &image->index, sizeof image->index);
        at = stpcpy(at + sizeof image->index, image->path) + 1;
        at = stpcpy(at, image->reason) + 1;
    }
    return packed;
}

static enum dg_status unpack(struct dg_bad_images *bad, const char *at, int64_t bytes, struct dg_error *err)
{
    for (const char *end = at + bytes; at < end;) {
        struct dg_bad_image image;
        memcpy(&image.index, at, sizeof image.index);
        at += sizeof image.index;
        image.path = strdup(at);
        at += strlen(at) + 1;
        image.reason = strdup(at);
        at += strlen(at) + 1;
        if (image.path && image.reason && add(bad, &image) == DG_OK) continue;
        free(image.path);
        free(image.reason);
        return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of unreadable images");
    }
    return DG_OK;
}

enum dg_status dg_bad_images_share(struct dg_bad_images *bad, struct dg_comm *comm, struct dg_error *err)
{
    if (!comm) return DG_OK;
    int64_t bytes, at = 0, *length = NULL;
    void *all = NULL;
    char *mine = pack(bad, &bytes);
    enum dg_status status = mine ? dg_comm_gather_each(comm, mine, bytes, &all, &length, err)
                                 : dg_comm_fail_alone(comm, "out of memory", err);
    for (int r = 0; r < dg_comm_ranks(comm) && status == DG_OK; at += length[r], r++)
        if (r != dg_comm_rank(comm)) status = unpack(bad, (const char *)all + at, length[r], err);
    free(mine);
    free(all);
    free(length);
    return status;
}

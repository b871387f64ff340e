#include "runtime/formats/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { LOCAL_HEADER = 30, WINDOW = 1 << 16 };

bool dg_read_at(int fd, int64_t offset, void *bytes, size_t count)
{
    size_t have = 0;
    while (have < count) {
        ssize_t got = pread(fd, (char *)bytes + have, count - have, offset + (int64_t)have);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return false;
        have += (size_t)got;
    }
    return true;
}

enum dg_status dg_archive_cannot_read(const struct dg_archive_span *span, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", span->path, errno ? strerror(errno) : "it has become shorter");
}

/* ---- what a file is ---- */

enum dg_archive_kind dg_archive_kind(const struct dg_archive_span *span)
{
    static const struct {
        const char *bytes;
        size_t count;
    } packed[] = {{"\x1f\x8b", 2},           {"BZh", 3},  {"\xfd\x37zXZ", 5}, {"\x28\xb5\x2f\xfd", 4},
                  {"7z\xbc\xaf\x27\x1c", 6}, {"Rar!", 4}, {"LZIP", 4}};
    unsigned char head[512] = {0};
    int64_t size = span->end - span->begin;
    if (size < 4 || !dg_read_at(span->fd, span->begin, head, size < 512 ? (size_t)size : 512)) return DG_ARCHIVE_NONE;
    if (!memcmp(head, "PK\3\4", 4) || !memcmp(head, "PK\5\6", 4)) return DG_ARCHIVE_ZIP;
    /* A tar begins with the name of its first member, which may be any. v7's has no such word. */
    if (size >= 512 && (dg_tar_is_header(head) || !memcmp(head + 257, "ustar", 5))) return DG_ARCHIVE_TAR;
    for (size_t p = 0; p < sizeof packed / sizeof *packed; p++)
        if (!memcmp(head, packed[p].bytes, packed[p].count)) return DG_ARCHIVE_PACKED;
    return DG_ARCHIVE_NONE;
}

/* ---- a member's bytes ---- */

static enum dg_status cannot_read(const char *name, struct dg_error *err)
{
    if (errno) return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", name, strerror(errno));
    return dg_fail(err, DG_ERR_INPUT, "%s: the archive is shorter than it was", name);
}

static enum dg_status inflate_to(int fd, int64_t offset, const struct dg_member_place *place, const char *name,
                                 z_stream *z, struct dg_error *err)
{
    unsigned char window[WINDOW];
    int64_t left = place->packed;
    int state = Z_OK;
    while (z->avail_out && state == Z_OK) {
        size_t take = left < WINDOW ? (size_t)left : WINDOW;
        if (!z->avail_in && !take) break;
        if (!z->avail_in) {
            if (!dg_read_at(fd, offset, window, take)) return cannot_read(name, err);
            offset += (int64_t)take;
            left -= (int64_t)take;
            z->next_in = window;
            z->avail_in = (uInt)take;
        }
        state = inflate(z, Z_SYNC_FLUSH);
    }
    if (state == Z_MEM_ERROR) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (z->avail_out) return dg_fail(err, DG_ERR_INPUT, "%s: its compressed data are damaged", name);
    return DG_OK;
}

static enum dg_status read_deflated(int fd, int64_t offset, const struct dg_member_place *place, const char *name,
                                    void *bytes, size_t count, struct dg_error *err)
{
    z_stream z = {.next_out = bytes, .avail_out = (uInt)count};
    if (!count) return DG_OK;
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = inflate_to(fd, offset, place, name, &z, err);
    inflateEnd(&z);
    return status;
}

/* Behind a zip's local header and the name and fields in it, whose lengths are its own. */
static enum dg_status find_data(int fd, const char *name, int64_t *offset, struct dg_error *err)
{
    unsigned char head[LOCAL_HEADER];
    if (!dg_read_at(fd, *offset, head, sizeof head)) return cannot_read(name, err);
    if (memcmp(head, "PK\3\4", 4))
        return dg_fail(err, DG_ERR_INPUT, "%s: the zip has no member where its directory says", name);
    *offset += LOCAL_HEADER + (head[26] | head[27] << 8) + (head[28] | head[29] << 8);
    return DG_OK;
}

enum dg_status dg_member_read(int fd, const struct dg_member_place *place, const char *name, void *bytes, size_t count,
                              struct dg_error *err)
{
    int64_t offset = place->offset;
    if (count > UINT32_MAX / 2)
        return dg_fail(err, DG_ERR_INPUT, "%s: a member of %lld bytes", name, (long long)place->size);
    if (place->packing != DG_PACKING_TAR) DG_TRY(find_data(fd, name, &offset, err));
    if (place->packing == DG_PACKING_DEFLATED)
        DG_TRY(read_deflated(fd, offset, place, name, bytes, count, err));
    else if (!dg_read_at(fd, offset, bytes, count))
        return cannot_read(name, err);
    if (place->packing == DG_PACKING_TAR || count < (size_t)place->size) return DG_OK;
    if (crc32(crc32(0, NULL, 0), bytes, (uInt)count) != place->crc)
        return dg_fail(err, DG_ERR_INPUT, "%s: its bytes do not have the checksum that the zip says", name);
    return DG_OK;
}

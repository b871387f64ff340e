/* Members of a zip: its directory at the end. libzip, which reads weights here, does not tell where a member's bytes
 * lie, and would need a directory for each thread. */
#include "runtime/formats/archive.h"

#include <stdlib.h>
#include <string.h>

enum {
    END = 22,         /* bytes of the record at the end, before its comment */
    END64 = 56,       /* of zip64's */
    LOCATOR64 = 20,   /* of what says where that is */
    ENTRY = 46,       /* of a member in the directory, before its name */
    COMMENT = 0xffff, /* at most */
    WINDOW = 1 << 18, /* of the directory that is in memory; a member takes 3 * 65535 bytes at most */
    SHOWN = 200,
};

static uint32_t u16(const unsigned char *b) { return (uint32_t)(b[0] | b[1] << 8); }
static uint32_t u32(const unsigned char *b) { return u16(b) | u16(b + 2) << 16; }
static uint64_t u64(const unsigned char *b) { return u32(b) | (uint64_t)u32(b + 4) << 32; }

struct zip {
    const struct dg_archive_span *span;
    int64_t at, end;  /* of the directory that is to be read */
    int64_t shift;    /* of all offsets: what stands before the archive */
    uint64_t members; /* that the end says */
    unsigned char window[WINDOW];
    int64_t window_at, window_size;
};

static enum dg_status damaged(const struct zip *z, const char *what, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INPUT, "%s is damaged: %s", z->span->path, what);
}

/* Sets where the directory is, by the record at `end`. */
static enum dg_status read_end(struct zip *z, int64_t end, const unsigned char *record, struct dg_error *err)
{
    uint64_t size = u32(record + 12), offset = u32(record + 16);
    uint32_t disk = u16(record + 4);
    z->members = u16(record + 10);
    unsigned char locator[LOCATOR64], record64[END64];
    int64_t at = end;
    if (end - z->span->begin >= LOCATOR64 + END64 && dg_read_at(z->span->fd, end - LOCATOR64, locator, LOCATOR64) &&
        !memcmp(locator, "PK\6\7", 4)) {
        at = end - LOCATOR64 - END64; /* without extensions, which nobody writes */
        if (!dg_read_at(z->span->fd, at, record64, END64)) return dg_archive_cannot_read(z->span, err);
        if (memcmp(record64, "PK\6\6", 4)) return damaged(z, "its zip64 record is not where it says", err);
        z->members = u64(record64 + 32);
        size = u64(record64 + 40);
        offset = u64(record64 + 48);
        disk = u32(record64 + 16);
    }
    if (disk) return dg_fail(err, DG_ERR_INPUT, "%s is one of several volumes: unpack them", z->span->path);
    if (size > (uint64_t)(at - z->span->begin) || offset > (uint64_t)(at - z->span->begin) - size)
        return damaged(z, "its directory would lie outside of it", err);
    z->end = at;
    z->at = at - (int64_t)size;
    z->shift = z->at - (int64_t)offset; /* begin, or more: other bytes stand before it */
    return DG_OK;
}

static enum dg_status find_end(struct zip *z, struct dg_error *err)
{
    int64_t size = z->span->end - z->span->begin, tail = dg_min_i64(size, END + COMMENT);
    unsigned char *bytes = malloc((size_t)tail + 1);
    if (!bytes) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    int64_t at = tail - END;
    if (!dg_read_at(z->span->fd, z->span->end - tail, bytes, (size_t)tail))
        status = dg_archive_cannot_read(z->span, err);
    while (status == DG_OK && at >= 0 && (memcmp(bytes + at, "PK\5\6", 4) || at + END + u16(bytes + at + 20) > tail))
        at--;
    if (status == DG_OK && at < 0)
        status = dg_fail(err, DG_ERR_INPUT,
                         "%s has no directory at its end: it is cut short; copy or download it again", z->span->path);
    if (status == DG_OK) status = read_end(z, z->span->end - tail + at, bytes + at, err);
    free(bytes);
    return status;
}

/* `count` bytes of the directory at z->at; NULL: it has fewer, or cannot be read. */
static const unsigned char *peek(struct zip *z, int64_t count)
{
    if (count > z->end - z->at) return NULL;
    if (z->at < z->window_at || z->at + count > z->window_at + z->window_size) {
        int64_t size = dg_min_i64(WINDOW, z->end - z->at);
        z->window_size = 0;
        if (!dg_read_at(z->span->fd, z->at, z->window, (size_t)size)) return NULL;
        z->window_at = z->at;
        z->window_size = size;
    }
    return z->window + (z->at - z->window_at);
}

/* Numbers that do not fit into 32 bits stand in a field of their own, in this order. */
static bool read_zip64(const unsigned char *extra, int64_t size, uint64_t *number[3])
{
    const unsigned char *end = extra + size;
    bool missing = *number[0] == UINT32_MAX || *number[1] == UINT32_MAX || *number[2] == UINT32_MAX;
    while (missing && end - extra >= 4) {
        int64_t length = u16(extra + 2);
        bool found = u16(extra) == 1;
        extra += 4;
        if (length > end - extra) return false;
        for (int n = 0; n < 3 && found; n++) {
            if (*number[n] != UINT32_MAX) continue;
            if (length < 8) return false;
            *number[n] = u64(extra);
            extra += 8;
            length -= 8;
        }
        if (found) return true;
        extra += length;
    }
    return !missing;
}

/* Zips of old Windows programs have backslashes. */
static void mend_slashes(char *name, uint32_t made_by)
{
    if (made_by >> 8 || strchr(name, '/')) return;
    for (char *c = name; *c; c++)
        if (*c == '\\') *c = '/';
}

static enum dg_status check_member(const struct zip *z, const unsigned char *entry, const struct dg_member *m,
                                   struct dg_error *err)
{
    uint32_t method = u16(entry + 10);
    if (m->kind != DG_MEMBER_FILE) return DG_OK;
    if (u16(entry + 8) & 1)
        return dg_fail(err, DG_ERR_INPUT, "%s: its member %.*s is encrypted: unpack it with its password",
                       z->span->path, SHOWN, m->name);
    if (method != 0 && method != 8)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: its member %.*s is packed by method %u; stored and deflated ones are read: pack it again",
                       z->span->path, SHOWN, m->name, method);
    if (method == 0 && m->place.size != m->place.packed) return damaged(z, "a stored member of two sizes", err);
    return DG_OK;
}

/* The member at z->at. `name` has room for 65536 bytes. */
static enum dg_status take_member(struct zip *z, char *name, dg_member_sink *sink, void *context, struct dg_error *err)
{
    const unsigned char *entry = peek(z, ENTRY);
    if (!entry || memcmp(entry, "PK\1\2", 4)) return damaged(z, "its directory has no member where one should be", err);
    int64_t name_size = u16(entry + 28), extra = u16(entry + 30), size = ENTRY + name_size + extra + u16(entry + 32);
    entry = peek(z, size);
    if (!entry) return damaged(z, "its directory ends in the middle of a member", err);
    uint64_t bytes = u32(entry + 24), packed = u32(entry + 20), offset = u32(entry + 42);
    if (!read_zip64(entry + ENTRY + name_size, extra, (uint64_t *[]){&bytes, &packed, &offset}))
        return damaged(z, "a member's sizes are not said", err);
    memcpy(name, entry + ENTRY, (size_t)name_size);
    name[name_size] = 0;
    if (strlen(name) != (size_t)name_size) return damaged(z, "a name with a zero in it", err);
    mend_slashes(name, u16(entry + 4));
    uint32_t mode = u16(entry + 4) >> 8 == 3 ? u32(entry + 38) >> 16 & 0170000 : 0; /* Unix's */
    struct dg_member m = {.name = name, .kind = DG_MEMBER_FILE, .time = u32(entry + 12)};
    if (name_size && name[name_size - 1] == '/') m.kind = DG_MEMBER_FOLDER;
    if (mode == 0120000) m.kind = DG_MEMBER_SYMBOLIC_LINK;
    if (m.kind == DG_MEMBER_SYMBOLIC_LINK) m.target = "";
    if (bytes > INT64_MAX / 2 || offset > (uint64_t)(z->end - z->shift) ||
        packed > (uint64_t)(z->end - z->shift) - offset)
        return dg_fail(err, DG_ERR_INPUT, "%s is damaged: its member %.*s would lie outside of it", z->span->path,
                       SHOWN, name);
    m.place = (struct dg_member_place){.offset = z->shift + (int64_t)offset,
                                       .size = (int64_t)bytes,
                                       .packed = (int64_t)packed,
                                       .crc = u32(entry + 16),
                                       .packing = u16(entry + 10) ? DG_PACKING_DEFLATED : DG_PACKING_STORED};
    DG_TRY(check_member(z, entry, &m, err));
    z->at += size;
    return sink(context, &m, err);
}

enum dg_status dg_zip_read(const struct dg_archive_span *span, dg_member_sink *sink, void *context,
                           struct dg_error *err)
{
    struct zip *z = calloc(1, sizeof *z);
    char *name = malloc(COMMENT + 1);
    enum dg_status status = z && name ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) z->span = span;
    if (status == DG_OK) status = find_end(z, err);
    uint64_t count = 0; /* a zip without zip64's records says its lowest 16 bits alone */
    for (; status == DG_OK && z->at < z->end; count++) status = take_member(z, name, sink, context, err);
    if (status == DG_OK && (count ^ z->members) & 0xffff)
        status = damaged(z, "its directory has not as many members as its end says", err);
    free(name);
    free(z);
    return status;
}

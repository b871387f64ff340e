/* Members of a tar: ustar's headers, and the extensions of GNU tar and pax for long names and large numbers. */
#include "runtime/formats/archive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 512,
    WINDOW = 8 * BLOCK,   /* read at once: a header, and most often what is looked at behind it */
    LONGEST = 1 << 20,    /* of a name, or of pax's records for a member */
    BEHIND_END = 1 << 20, /* how far behind the mark of its end another tar is looked for */
    SHOWN = 200,          /* of a name in a message */
};

struct tar {
    const struct dg_archive_span *span;
    unsigned char window[WINDOW];
    int64_t window_at, window_size;
    int64_t at; /* of the next header */
    int64_t members;
    char *name, *target; /* of the next member, from extensions; owned; NULL: its header's */
    int64_t size;        /* likewise; -1: its header's */
    bool sparse;
    char last[SHOWN + 1]; /* the member before, for messages */
};

static enum dg_status damaged(const struct tar *t, const char *what, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INPUT, "%s is damaged at byte %" PRId64 ", behind %" PRId64 " members%s%s: %s",
                   t->span->path, t->at - t->span->begin, t->members, *t->last ? ", the last of them " : "", t->last,
                   what);
}

/* NULL: between members, or in a header. */
static enum dg_status cut_short(const struct tar *t, const char *name, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INPUT,
                   "%s ends in the middle of %s%.*s, behind %" PRId64
                   " members: it is cut short; copy or download it again",
                   t->span->path, name ? "its member " : "a header", SHOWN, name ? name : "", t->members);
}

/* The block at `at`; NULL: the file has less, or cannot be read (*err). */
static const unsigned char *block_at(struct tar *t, int64_t at, struct dg_error *err)
{
    if (at + BLOCK > t->span->end) return NULL;
    if (at < t->window_at || at + BLOCK > t->window_at + t->window_size) {
        int64_t size = dg_min_i64(WINDOW, t->span->end - at);
        t->window_size = 0;
        if (!dg_read_at(t->span->fd, at, t->window, (size_t)size)) {
            dg_archive_cannot_read(t->span, err);
            return NULL;
        }
        t->window_at = at;
        t->window_size = size;
    }
    return t->window + (at - t->window_at);
}

/* A number in octal digits, or, where the first bit is set, in base 256. -1: neither, negative, or too large. */
static int64_t number(const unsigned char *field, int size)
{
    int64_t value = 0;
    int i = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80) return -1;
        for (i = 1; i < size; i++) {
            if (value >> 54) return -1;
            value = value << 8 | field[i];
        }
        return value;
    }
    while (i < size && field[i] == ' ') i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) value = value << 3 | (field[i] - '0');
    return i < size && field[i] && field[i] != ' ' ? -1 : value;
}

static bool is_zero(const unsigned char *block)
{
    for (int i = 0; i < BLOCK; i++)
        if (block[i]) return false;
    return true;
}

/* The sum of the header's bytes, with its own field as blanks, stands in that field. */
bool dg_tar_is_header(const unsigned char *block)
{
    int64_t sum = 0;
    for (int i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : block[i];
    return number(block + 148, 8) == sum;
}

/* The header's own name: with ustar's prefix before it. Room for 256 bytes. */
static const char *header_name(const unsigned char *block, char name[257])
{
    bool has_prefix = !memcmp(block + 257, "ustar\0", 6) && block[345];
    snprintf(name, 257, "%.*s%s%.*s", has_prefix ? 155 : 0, (const char *)block + 345, has_prefix ? "/" : "", 100,
             (const char *)block);
    return name;
}

static void forget(struct tar *t)
{
    free(t->name);
    free(t->target);
    t->name = t->target = NULL;
    t->size = -1;
    t->sparse = false;
}

/* ---- extensions: members whose bytes are about the next member ---- */

/* The bytes behind the header, and a zero. */
static enum dg_status read_text(struct tar *t, int64_t size, char **text, struct dg_error *err)
{
    *text = NULL;
    if (size > LONGEST) return damaged(t, "a name or record of more than a mebibyte", err);
    if (t->at + BLOCK + size > t->span->end) return cut_short(t, NULL, err);
    *text = malloc((size_t)size + 1);
    if (!*text) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    (*text)[size] = 0;
    if (dg_read_at(t->span->fd, t->at + BLOCK, *text, (size_t)size)) return DG_OK;
    free(*text);
    *text = NULL;
    return dg_archive_cannot_read(t->span, err);
}

static enum dg_status set_text(char **text, const char *value, struct dg_error *err)
{
    free(*text);
    *text = strdup(value);
    return *text ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

static enum dg_status take_record(struct tar *t, const char *key, const char *value, struct dg_error *err)
{
    if (!strcmp(key, "path")) return set_text(&t->name, value, err);
    if (!strcmp(key, "linkpath")) return set_text(&t->target, value, err);
    if (!strncmp(key, "GNU.sparse.", 11)) t->sparse = true;
    if (strcmp(key, "size")) return DG_OK;
    char *end;
    errno = 0;
    t->size = strtoll(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno) return damaged(t, "a size that is not a number", err);
    return DG_OK;
}

/* "LENGTH KEY=VALUE\n", one behind another; LENGTH counts all of it. */
static enum dg_status take_records(struct tar *t, char *text, int64_t size, struct dg_error *err)
{
    char *at = text, *end = text + size;
    while (at < end && *at) {
        char *blank = at;
        int64_t length = *at >= '0' && *at <= '9' ? strtoll(at, &blank, 10) : 0;
        if (length < 1 || length > end - at || *blank != ' ' || at[length - 1] != '\n')
            return damaged(t, "a record of pax that is none", err);
        char *key = blank + 1, *equals = memchr(key, '=', key < at + length ? (size_t)(at + length - key) : 0);
        at[length - 1] = 0;
        if (!equals) return damaged(t, "a record of pax without =", err);
        *equals = 0;
        DG_TRY(take_record(t, key, equals + 1, err));
        at += length;
    }
    return DG_OK;
}

static enum dg_status take_extension(struct tar *t, char type, int64_t size, struct dg_error *err)
{
    char *text;
    if (type == 'g') return DG_OK; /* defaults for all: comments, as git has them */
    DG_TRY(read_text(t, size, &text, err));
    enum dg_status status = DG_OK;
    if (type == 'x')
        status = take_records(t, text, size, err);
    else
        status = set_text(type == 'L' ? &t->name : &t->target, text, err);
    free(text);
    return status;
}

/* ---- members ---- */

static enum dg_member_kind kind_of(char type, const char *name)
{
    size_t length = strlen(name);
    switch (type) {
    case '1': return DG_MEMBER_HARD_LINK;
    case '2': return DG_MEMBER_SYMBOLIC_LINK;
    case '5':
    case 'D': return DG_MEMBER_FOLDER;
    case '3':
    case '4':
    case '6':
    case 'V':
    case 'M': return DG_MEMBER_SPECIAL;
    default: return length && name[length - 1] == '/' ? DG_MEMBER_FOLDER : DG_MEMBER_FILE; /* v7 has no other way */
    }
}

/* Passes the member to the sink. Sets the bytes of it behind the header. */
static enum dg_status take_member(struct tar *t, const unsigned char *block, int64_t *size, dg_member_sink *sink,
                                  void *context, struct dg_error *err)
{
    char own[257], target[101];
    const char *name = t->name ? t->name : header_name(block, own);
    snprintf(target, sizeof target, "%.100s", (const char *)block + 157);
    struct dg_member m = {.name = name, .kind = kind_of((char)block[156], name), .time = number(block + 136, 12)};
    if (t->size >= 0) *size = t->size;
    if (block[156] == 'S' || t->sparse)
        return dg_fail(err, DG_ERR_INPUT, "%s: its member %.*s is packed as a sparse file; pack it without --sparse",
                       t->span->path, SHOWN, name);
    if (m.kind == DG_MEMBER_HARD_LINK || m.kind == DG_MEMBER_SYMBOLIC_LINK) m.target = t->target ? t->target : target;
    bool has_bytes = m.kind == DG_MEMBER_FILE || m.kind == DG_MEMBER_SPECIAL ||
                     block[156] == 'D'; /* GNU's folder of an incremental archive: the names in it */
    if (!has_bytes) *size = 0;          /* some programs write that of the target */
    if (*size > t->span->end - t->at - BLOCK) return cut_short(t, name, err);
    m.place =
        (struct dg_member_place){.offset = t->at + BLOCK, .size = *size, .packed = *size, .packing = DG_PACKING_TAR};
    snprintf(t->last, sizeof t->last, "%.*s", SHOWN, name);
    DG_TRY(sink(context, &m, err));
    t->members++;
    forget(t);
    return DG_OK;
}

static enum dg_status take_block(struct tar *t, const unsigned char *block, dg_member_sink *sink, void *context,
                                 struct dg_error *err)
{
    char type = (char)block[156];
    int64_t size = number(block + 124, 12);
    unsigned char header[BLOCK];
    if (!dg_tar_is_header(block)) return damaged(t, "no header of a member is there", err);
    if (size < 0) return damaged(t, "a size that is negative or no number", err);
    memcpy(header, block, BLOCK); /* the sink may look into the bytes behind it */
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K')
        DG_TRY(take_extension(t, type, size, err));
    else
        DG_TRY(take_member(t, header, &size, sink, context, err));
    if (size > t->span->end - t->at - BLOCK) return cut_short(t, NULL, err);
    t->at += BLOCK + size;
    t->at = dg_min_i64(t->span->end, t->at + (BLOCK - (t->at - t->span->begin) % BLOCK) % BLOCK);
    return DG_OK;
}

/* At a block of zeros: goes on to the header of another tar behind the end of this one. False: there is none. */
static bool find_next(struct tar *t, struct dg_error *err)
{
    int64_t last = t->at + BEHIND_END;
    const unsigned char *block;
    while (t->at < last && (block = block_at(t, t->at, err)) && is_zero(block)) t->at += BLOCK;
    return t->at < last && (block = block_at(t, t->at, err)) && dg_tar_is_header(block);
}

enum dg_status dg_tar_read(const struct dg_archive_span *span, dg_member_sink *sink, void *context, bool *ends,
                           struct dg_error *err)
{
    struct tar *t = calloc(1, sizeof *t);
    if (!t) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    t->span = span;
    t->at = span->begin;
    t->size = -1;
    struct dg_error failed = {0};
    enum dg_status status = DG_OK;
    const unsigned char *block;
    *ends = false;
    while (status == DG_OK && (block = block_at(t, t->at, &failed))) {
        bool end = is_zero(block);
        *ends |= end;
        if (end && !find_next(t, &failed)) break;
        if (!end) status = take_block(t, block, sink, context, err);
    }
    if (status == DG_OK && failed.status != DG_OK) status = dg_fail(err, failed.status, "%s", failed.text);
    if (status == DG_OK && !*ends && t->at < span->end) status = cut_short(t, NULL, err);
    if (status == DG_OK && (t->name || t->target || t->size >= 0)) status = cut_short(t, NULL, err);
    forget(t);
    free(t);
    return status;
}

/* The first picture of a GIF, by Pillow's rules: the screen is filled with the transparent colour, or the first one, and
 * the picture put on it. */
#include "runtime/image/codec.h"

#include <string.h>

enum { MAX_CODE_BITS = 12, MAX_CODES = 1 << MAX_CODE_BITS };

struct gif {
    struct dg_decoding *d;
    size_t at;
    int64_t width, height;            /* of the screen */
    int64_t left, top, right, bottom; /* of the picture */
    bool interlaced;
    int transparent;                   /* colour, or -1 */
    bool has_palette, has_own_palette; /* for all pictures; for this one */
    uint8_t palette[256][3], own_palette[256][3];
    int colours, own_colours;
};

static enum dg_status refuse(const struct gif *g, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a GIF that can be decoded: %s", g->d->name, why);
}

/* ---- headers ---- */

/* A palette of `bits`, as far as the file goes. The ramp of all grays is none: the bytes are the values. */
static bool read_palette(struct gif *g, int bits, uint8_t palette[256][3], int *colours)
{
    size_t bytes = (size_t)3 << bits, left = g->d->size - g->at;
    if (bytes > left) bytes = left;
    const uint8_t *s = g->d->bytes + g->at;
    g->at += bytes;
    *colours = (int)(bytes / 3);
    bool is_ramp = true;
    for (size_t i = 0; i + 3 <= bytes; i += 3) {
        memcpy(palette[i / 3], s + i, 3);
        is_ramp = is_ramp && s[i] == i / 3 && s[i + 1] == i / 3 && s[i + 2] == i / 3;
    }
    return !is_ramp;
}

/* A block of data: its bytes, and NULL for an empty one or at the end of the file. */
static const uint8_t *next_block(struct gif *g, size_t *size)
{
    if (g->at >= g->d->size) return NULL;
    *size = g->d->bytes[g->at++];
    if (!*size) return NULL;
    const uint8_t *block = g->d->bytes + g->at;
    if (*size > g->d->size - g->at) *size = g->d->size - g->at;
    g->at += *size;
    return *size ? block : NULL;
}

static enum dg_status read_extension(struct gif *g, struct dg_error *err)
{
    if (g->at >= g->d->size) return dg_decode_cut_short(g->d, err);
    int kind = g->d->bytes[g->at++];
    size_t size = 0;
    const uint8_t *block = next_block(g, &size);
    if (kind == 0xf9 && block) {
        if (size < 3 || ((block[0] & 1) && size < 4)) return dg_decode_cut_short(g->d, err);
        if (block[0] & 1) g->transparent = block[3];
    }
    if (kind == 0xff && block && size >= 11 && !memcmp(block, "NETSCAPE2.0", 11)) block = next_block(g, &size);
    if (kind == 0xfe && !block) return DG_OK; /* an empty comment has no end of its own */
    while (next_block(g, &size)) continue;
    return DG_OK;
}

static enum dg_status read_picture_header(struct gif *g, struct dg_error *err)
{
    if (g->d->size - g->at < 9) return dg_decode_cut_short(g->d, err);
    const uint8_t *s = g->d->bytes + g->at;
    g->at += 9;
    g->left = dg_le16(s);
    g->top = dg_le16(s + 2);
    g->right = g->left + dg_le16(s + 4);
    g->bottom = g->top + dg_le16(s + 6);
    if (g->right > g->width) g->width = g->right; /* the screen grows with the picture */
    if (g->bottom > g->height) g->height = g->bottom;
    g->interlaced = s[8] & 64;
    if (s[8] & 128) {
        g->has_own_palette = true;
        if (!read_palette(g, (s[8] & 7) + 1, g->own_palette, &g->own_colours)) g->own_colours = 0;
    }
    return DG_OK;
}

/* Up to the data of the first picture. */
static enum dg_status read_headers(struct gif *g, struct dg_error *err)
{
    if (g->d->size < 13) return dg_decode_cut_short(g->d, err);
    const uint8_t *s = g->d->bytes;
    g->width = dg_le16(s + 6);
    g->height = dg_le16(s + 8);
    g->at = 13;
    if (s[10] & 128) g->has_palette = read_palette(g, (s[10] & 7) + 1, g->palette, &g->colours);
    for (;;) {
        if (g->at >= g->d->size) return dg_decode_cut_short(g->d, err);
        int kind = g->d->bytes[g->at++];
        if (kind == ';') return refuse(g, err, "it has no picture");
        if (kind == ',') return read_picture_header(g, err);
        if (kind == '!') DG_TRY(read_extension(g, err)); /* anything else is passed over */
    }
}

/* ---- pixels ---- */

/* The picture's indices on their way to the image. */
struct painter {
    uint8_t *screen; /* [height, width] */
    size_t stride;
    int64_t width, height, x, y; /* of the picture */
    int step, pass;              /* pass: of interlaced pictures, those to come */
};

/* Puts one index; false after the last. */
static bool paint(struct painter *p, uint8_t index)
{
    p->screen[(size_t)p->y * p->stride + (size_t)p->x] = index;
    if (++p->x < p->width) return true;
    p->x = 0;
    p->y += p->step;
    while (p->y >= p->height) {
        static const uint8_t first[] = {0, 4, 2, 1}, step[] = {0, 8, 4, 2};
        if (!p->pass || p->pass == 4) return false;
        p->y = first[p->pass];
        p->step = step[p->pass];
        p->pass++;
    }
    return true;
}

struct codes {
    const uint8_t *bytes;
    size_t at, size, block; /* block: bytes left of it */
    uint32_t bits;
    int count;
};

/* A code of `width` bits; -1 where the file ends. A block counts only when all of it is there. */
static int next_code(struct codes *c, int width)
{
    while (c->count < width) {
        if (!c->block) {
            if (c->at >= c->size || c->size - c->at < (size_t)c->bytes[c->at] + 1) return -1;
            c->block = c->bytes[c->at++];
            continue;
        }
        c->bits |= (uint32_t)c->bytes[c->at++] << c->count;
        c->count += 8;
        c->block--;
    }
    int code = (int)(c->bits & ((1u << width) - 1));
    c->bits >>= width;
    c->count -= width;
    return code;
}

/* The strings of codes: string `code` is that of link[code], and then last[code]. */
struct strings {
    uint16_t link[MAX_CODES];
    uint8_t last[MAX_CODES];
    uint8_t text[MAX_CODES]; /* of the current code, at its end */
};

static enum dg_status read_codes(struct gif *g, int bits, struct painter *painter, struct dg_error *err)
{
    if (bits > MAX_CODE_BITS) return refuse(g, err, "codes of too many bits");
    struct codes codes = {.bytes = g->d->bytes, .at = g->at, .size = g->d->size};
    struct strings strings;
    const int clear = 1 << bits;
    int width = bits + 1, next = clear + 2, previous = -1; /* -1: the first code after a clear code */
    uint8_t first = 0;                                     /* of the previous string */
    for (;;) {
        int code = next_code(&codes, width);
        if (code < 0) return dg_decode_cut_short(g->d, err);
        if (code == clear) {
            width = bits + 1;
            next = clear + 2;
            previous = -1;
            continue;
        }
        if (code == clear + 1) return dg_decode_cut_short(g->d, err); /* before the picture is full */
        if (previous < 0) {
            if (code > clear) return refuse(g, err, "a code that means nothing");
            previous = code;
            first = (uint8_t)code;
            if (!paint(painter, first)) return DG_OK;
            continue;
        }
        if (code > next) return refuse(g, err, "a code that means nothing");
        int at = MAX_CODES, link = code;
        if (code == next) {
            strings.text[--at] = first;
            link = previous;
        }
        for (; link >= clear; link = strings.link[link]) {
            if (at == 0 || link >= MAX_CODES) return refuse(g, err, "a code that means nothing");
            strings.text[--at] = strings.last[link];
        }
        first = (uint8_t)link;
        if (next < MAX_CODES) {
            strings.last[next] = first;
            strings.link[next] = (uint16_t)previous;
            if (next == (1 << width) - 1 && width < MAX_CODE_BITS) width++;
            next++;
        }
        previous = code;
        if (!paint(painter, first)) return DG_OK;
        for (; at < MAX_CODES; at++)
            if (!paint(painter, strings.text[at])) return DG_OK;
    }
}

static void convert(struct gif *g, const uint8_t *screen)
{
    /* A picture's own ramp of grays hides no palette for all pictures; without any, bytes are values. */
    bool own = g->has_own_palette && g->own_colours;
    size_t count = (size_t)(g->width * g->height);
    uint8_t *rgb = g->d->image->pixels;
    if (!own && !g->has_palette) {
        for (size_t i = 0; i < count; i++) memset(rgb + 3 * i, screen[i], 3);
        return;
    }
    const uint8_t(*palette)[3] = own ? (const uint8_t(*)[3])g->own_palette : (const uint8_t(*)[3])g->palette;
    int colours = own ? g->own_colours : g->colours;
    for (size_t i = 0; i < count; i++) {
        if (screen[i] >= colours) g->d->notes |= DG_NOTE_PALETTE;
        memcpy(rgb + 3 * i, palette[screen[i]], 3);
    }
}

/* True if another picture follows the data of the first, which begin at g->at. */
static bool has_more(struct gif *g)
{
    size_t size;
    while (next_block(g, &size)) continue;
    struct dg_error unused = {0};
    while (g->at < g->d->size) {
        int kind = g->d->bytes[g->at++];
        if (kind == ';') return false;
        if (kind == ',') return true;
        if (kind == '!' && read_extension(g, &unused) != DG_OK) return false;
    }
    return false;
}

enum dg_status dg_decode_gif(struct dg_decoding *d, struct dg_error *err)
{
    struct gif g = {.d = d, .transparent = -1};
    DG_TRY(read_headers(&g, err));
    if (g.at >= d->size) return dg_decode_cut_short(d, err);
    int bits = d->bytes[g.at++];
    DG_TRY(dg_decode_reserve(d, g.width, g.height, err));
    if (g.right == g.left || g.bottom == g.top) return refuse(&g, err, "an empty picture");
    size_t count = (size_t)(g.width * g.height);
    DG_TRY(dg_scratch_reserve(d->work, count, err));
    memset(d->work->bytes, g.transparent < 0 ? 0 : g.transparent, count);
    struct painter painter = {.screen = (uint8_t *)d->work->bytes + g.top * g.width + g.left,
                              .stride = (size_t)g.width,
                              .width = g.right - g.left,
                              .height = g.bottom - g.top,
                              .step = g.interlaced ? 8 : 1,
                              .pass = g.interlaced ? 1 : 0};
    DG_TRY(read_codes(&g, bits, &painter, err));
    convert(&g, d->work->bytes);
    if (g.transparent >= 0 && memchr(d->work->bytes, g.transparent, count)) d->notes |= DG_NOTE_ALPHA;
    if (has_more(&g)) d->notes |= DG_NOTE_FRAMES;
    return DG_OK;
}

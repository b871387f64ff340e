/* PNG over zlib. Not over libpng: what Pillow takes of a damaged file follows from its own reading of chunks (no
 * checksums from the image data on, the end of the compressed data not needed), which libpng cannot be told to do. */
#include "runtime/image/codec.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* Pillow refuses a text or profile that is larger when decompressed, and more text than that in all. */
enum { MAX_TEXT = 1 << 20, MAX_ALL_TEXT = 64 << 20 };

enum png_colour { GRAY = 0, RGB = 2, PALETTE = 3, GRAY_ALPHA = 4, RGB_ALPHA = 6 };

struct png {
    struct dg_decoding *d;
    size_t at; /* in the file */
    uint32_t width, height;
    int depth;
    enum png_colour colour;
    bool has_header, interlaced;
    uint8_t palette[256][3];
    int colours;           /* in the palette; -1: there is none */
    uint8_t alpha[256];    /* of the palette's colours */
    bool has_clear_colour; /* one colour of a picture without palette is transparent */
    struct {
        int64_t left, top, width, height;
    } frame; /* width < 0: the whole image */
    bool animated, has_sequence;
    uint32_t frames, sequence;
    bool several; /* frames */
    size_t text;
    size_t data_left; /* of the data chunk in which the image data begin */
};

struct chunk {
    char name[4];
    const uint8_t *bytes;
    size_t size;
};

static enum dg_status refuse(const struct png *p, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a PNG that can be decoded: %s", p->d->name, why);
}

static bool is_chunk(const struct chunk *c, const char *name) { return !memcmp(c->name, name, 4); }

static size_t left(const struct png *p) { return p->d->size - p->at; }

/* ---- chunks ---- */

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The head of the chunk at p->at. Returns false where the file ends; *sound is false where the name is none. */
static bool read_chunk_head(struct png *p, struct chunk *c, bool *sound)
{
    if (left(p) < 8) return false;
    const uint8_t *head = p->d->bytes + p->at;
    c->size = dg_be32(head);
    memcpy(c->name, head + 4, 4);
    p->at += 8;
    c->bytes = p->d->bytes + p->at;
    *sound = is_word(c->name[0]) && is_word(c->name[1]) && is_word(c->name[2]) && is_word(c->name[3]);
    return true;
}

/* Size of zlib data when decompressed, counted to MAX_TEXT + 1; 0 where they are damaged. */
static size_t inflated_size(const uint8_t *bytes, size_t size)
{
    uint8_t out[4096];
    z_stream z = {.next_in = (Bytef *)bytes, .avail_in = (uInt)size};
    if (inflateInit(&z) != Z_OK) return 0;
    size_t total = 0;
    int code;
    do {
        z.next_out = out;
        z.avail_out = sizeof out;
        code = inflate(&z, Z_NO_FLUSH);
        total += sizeof out - z.avail_out;
    } while (code == Z_OK && total <= MAX_TEXT && (z.avail_in || !z.avail_out));
    inflateEnd(&z);
    return code == Z_OK || code == Z_STREAM_END ? total : 0;
}

/* Text and profiles matter only in that Pillow refuses some. */
static const char *check_compressed(struct png *p, const uint8_t *bytes, size_t size)
{
    size_t plain = inflated_size(bytes, size);
    p->text += plain;
    return plain > MAX_TEXT ? "a text or colour profile of more than 1 MiB" : NULL;
}

static const char *check_profile(struct png *p, const struct chunk *c)
{
    const uint8_t *end = memchr(c->bytes, 0, c->size);
    size_t method = end ? (size_t)(end - c->bytes) + 1 : 0; /* without an end Pillow looks at the first byte */
    if (method >= c->size) return "a colour profile that is too short";
    if (c->bytes[method]) return "an unknown compression of its colour profile";
    size_t text = p->text;
    const char *wrong = check_compressed(p, c->bytes + method + 1, c->size - method - 1);
    p->text = text;
    return wrong;
}

static const char *check_text(struct png *p, const struct chunk *c)
{
    const uint8_t *end = memchr(c->bytes, 0, c->size);
    size_t key = end ? (size_t)(end - c->bytes) : c->size;
    const uint8_t *value = c->bytes + key + 1;
    size_t size = key < c->size ? c->size - key - 1 : 0;
    const char *wrong = NULL;
    if (is_chunk(c, "tEXt")) {
        p->text += key ? size : 0;
    } else if (is_chunk(c, "zTXt")) {
        if (size && value[0]) return "an unknown compression of its text";
        if (size) wrong = check_compressed(p, value + 1, size - 1);
    } else if (end && size >= 2 && value[0] && !value[1]) { /* compressed iTXt: language and translated key first */
        const uint8_t *tail = value + 2;
        size_t rest = size - 2;
        for (int field = 0; field < 2; field++) {
            const uint8_t *zero = rest ? memchr(tail, 0, rest) : NULL;
            if (!zero) return NULL;
            rest -= (size_t)(zero + 1 - tail);
            tail = zero + 1;
        }
        wrong = check_compressed(p, tail, rest);
    } else {
        p->text += size;
    }
    if (!wrong && p->text > MAX_ALL_TEXT) wrong = "more than 64 MiB of text";
    return wrong;
}

static const char *read_header(struct png *p, const struct chunk *c)
{
    if (c->size < 13) return "a header that is too short";
    const uint8_t *s = c->bytes;
    p->width = dg_be32(s);
    p->height = dg_be32(s + 4);
    int depth = s[8], colour = s[9];
    bool eight_or_more = depth == 8 || depth == 16;
    bool known = colour == GRAY      ? depth == 1 || depth == 2 || depth == 4 || eight_or_more
                 : colour == PALETTE ? depth == 1 || depth == 2 || depth == 4 || depth == 8
                                     : (colour == RGB || colour == GRAY_ALPHA || colour == RGB_ALPHA) && eight_or_more;
    if (known) {
        p->depth = depth;
        p->colour = (enum png_colour)colour;
        p->has_header = true;
    }
    if (s[12]) p->interlaced = true;
    return s[11] ? "an unknown category of filters" : NULL;
}

static const char *read_palette(struct png *p, const struct chunk *c)
{
    if (!p->has_header || p->colour != PALETTE) return NULL;
    if (c->size / 3 > 256) return "a palette of more than 256 colours";
    p->colours = (int)(c->size / 3);
    memset(p->palette, 0, sizeof p->palette); /* colours that it lacks are black */
    memcpy(p->palette, c->bytes, (size_t)p->colours * 3);
    return NULL;
}

static void read_transparency(struct png *p, const struct chunk *c)
{
    if (p->colour == GRAY || p->colour == RGB) p->has_clear_colour = true;
    if (p->colour == PALETTE) memcpy(p->alpha, c->bytes, c->size < 256 ? c->size : 256);
}

static const char *read_sequence(struct png *p, uint32_t number, bool may_be_first)
{
    bool right = p->has_sequence ? p->sequence == number - 1 : may_be_first && number == 0;
    p->sequence = number;
    p->has_sequence = true;
    return right ? NULL : "frames out of order";
}

static const char *read_frame(struct png *p, const struct chunk *c)
{
    if (c->size < 26) return "a frame header that is too short";
    const uint8_t *s = c->bytes;
    const char *wrong = read_sequence(p, dg_be32(s), true);
    if (wrong) return wrong;
    p->frame.width = dg_be32(s + 4);
    p->frame.height = dg_be32(s + 8);
    p->frame.left = dg_be32(s + 12);
    p->frame.top = dg_be32(s + 16);
    bool inside = p->frame.left + p->frame.width <= p->width && p->frame.top + p->frame.height <= p->height;
    return inside ? NULL : "a frame outside of the image";
}

static void read_animation(struct png *p, const struct chunk *c)
{
    uint32_t frames = dg_be32(c->bytes);
    if (p->animated || frames == 0 || frames > 0x80000000u) {
        p->animated = false;
        return;
    }
    p->animated = true;
    p->frames = frames;
}

/* Chunks of which Pillow minds the length alone: 0 for others. */
static size_t least_size(const struct png *p, const struct chunk *c)
{
    static const struct {
        char name[5];
        uint8_t size;
    } sizes[] = {{"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9}, {"acTL", 8}, {"fdAT", 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (is_chunk(c, sizes[i].name)) return sizes[i].size;
    if (!is_chunk(c, "tRNS") || !p->has_header) return 0;
    return p->colour == GRAY ? 2 : p->colour == RGB ? 6 : 0;
}

/* One chunk, all of which is in the file; NULL where Pillow minds nothing. */
static const char *read_chunk(struct png *p, const struct chunk *c)
{
    if (c->size < least_size(p, c)) return "a chunk that is too short";
    if (is_chunk(c, "IHDR")) return read_header(p, c);
    if (is_chunk(c, "PLTE")) return read_palette(p, c);
    if (is_chunk(c, "iCCP")) return check_profile(p, c);
    if (is_chunk(c, "tEXt") || is_chunk(c, "zTXt") || is_chunk(c, "iTXt")) return check_text(p, c);
    if (is_chunk(c, "fcTL")) return read_frame(p, c);
    if (is_chunk(c, "tRNS")) read_transparency(p, c);
    if (is_chunk(c, "acTL")) read_animation(p, c);
    if (is_chunk(c, "eXIf")) p->d->orientation = dg_exif_orientation(c->bytes, c->size);
    return NULL;
}

/* Pillow does not check the sums of image data; here a wrong one is noted. */
static void check_data_sum(struct png *p, const struct chunk *c)
{
    const uint8_t *end = p->d->bytes + p->d->size;
    if ((size_t)(end - c->bytes) < c->size + 4 ||
        crc32(crc32(0, (const Bytef *)c->name, 4), c->bytes, (uInt)c->size) != dg_be32(c->bytes + c->size))
        p->d->notes |= DG_NOTE_CHECKSUM;
}

/* Reads chunks up to the image data, with their checksums. */
static enum dg_status read_to_data(struct png *p, struct dg_error *err)
{
    for (;;) {
        struct chunk c;
        bool sound;
        if (!read_chunk_head(p, &c, &sound)) return dg_decode_cut_short(p->d, err);
        if (!sound) return refuse(p, err, "a chunk without a name");
        if (is_chunk(&c, "IEND")) return refuse(p, err, "it has no image data");
        bool data = is_chunk(&c, "fdAT") || (is_chunk(&c, "IDAT") && p->has_header); /* IDAT before it means nothing */
        if (data) check_data_sum(p, &c);
        if (is_chunk(&c, "fdAT")) {
            if (c.size < 4) return refuse(p, err, "a chunk that is too short");
            if (left(p) < 4) return dg_decode_cut_short(p->d, err);
            const char *wrong = read_sequence(p, dg_be32(c.bytes), false);
            if (wrong) return refuse(p, err, wrong);
            p->at += 4;
            c.size -= 4;
        }
        if (data) {
            p->data_left = c.size;
            return DG_OK;
        }
        if (c.size > left(p)) return dg_decode_cut_short(p->d, err);
        const char *wrong = read_chunk(p, &c);
        if (wrong) return refuse(p, err, wrong);
        p->at += c.size;
        if (left(p) < 4) return dg_decode_cut_short(p->d, err);
        uint32_t sum = (uint32_t)crc32(crc32(0, (const Bytef *)c.name, 4), c.bytes, (uInt)c.size);
        if (sum != dg_be32(p->d->bytes + p->at))
            return dg_fail(err, DG_ERR_INPUT, "%s: not a PNG that can be decoded: wrong checksum of chunk %.4s",
                           p->d->name, c.name);
        p->at += 4;
    }
}

/* The next piece of the image data; false after the last. */
static bool next_data(struct png *p, const uint8_t **bytes, size_t *size)
{
    while (!p->data_left) { /* empty chunks are allowed */
        size_t before = p->at;
        p->at += left(p) < 4 ? left(p) : 4;
        struct chunk c;
        bool sound;
        bool more = read_chunk_head(p, &c, &sound);
        if (!more || !sound || !(is_chunk(&c, "IDAT") || is_chunk(&c, "fdAT") || is_chunk(&c, "DDAT"))) {
            p->at = before;
            return false;
        }
        check_data_sum(p, &c);
        if (is_chunk(&c, "fdAT")) {
            if (c.size < 4 || left(p) < 4 || read_sequence(p, dg_be32(c.bytes), false)) return false;
            p->at += 4;
            c.size -= 4;
        }
        p->data_left = c.size;
    }
    *bytes = p->d->bytes + p->at;
    *size = p->data_left < left(p) ? p->data_left : left(p);
    p->data_left -= *size;
    p->at += *size;
    return *size != 0;
}

/* What follows the image data may still be a reason to refuse the file: where a chunk is cut short, or is one that
 * Pillow minds. */
static enum dg_status read_to_end(struct png *p, struct dg_error *err)
{
    p->at += p->data_left < left(p) ? p->data_left : left(p);
    for (;;) {
        p->at += left(p) < 4 ? left(p) : 4;
        struct chunk c;
        bool sound;
        if (!read_chunk_head(p, &c, &sound) || !sound || is_chunk(&c, "IEND")) return DG_OK;
        if (is_chunk(&c, "fcTL") && p->several) return DG_OK;
        if (is_chunk(&c, "fdAT")) {
            if (c.size < 4) return refuse(p, err, "a chunk that is too short");
            if (left(p) < 4) return dg_decode_cut_short(p->d, err);
            const char *wrong = read_sequence(p, dg_be32(c.bytes), false);
            if (wrong) return refuse(p, err, wrong);
        }
        if (c.size > left(p)) return dg_decode_cut_short(p->d, err);
        const char *wrong = read_chunk(p, &c);
        if (wrong) return refuse(p, err, wrong);
        p->at += c.size;
    }
}

/* ---- pixels ---- */

/* Without branches, which noise would mispredict. */
static inline int paeth(int a, int b, int c)
{
    int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
    int other = pb <= pc ? b : c, least = pb <= pc ? pb : pc;
    return pa <= least ? a : other;
}

enum { MAX_PIXEL = 8 }; /* bytes */

/* Undoes a row's filter in place; `above` is the row above, or zeros. What is to the left of a pixel, and of the one above
 * it, stays in registers where `pixel` is a constant. */
static inline __attribute__((always_inline)) void undo_of_pixel(int filter, uint8_t *row, const uint8_t *above,
                                                                size_t size, size_t pixel)
{
    int left[MAX_PIXEL] = {0}, corner[MAX_PIXEL] = {0};
    for (size_t i = 0; i < size; i += pixel) {
        for (size_t c = 0; c < pixel; c++) {
            int up = above[i + c];
            int guess = filter == 1 ? left[c] : filter == 3 ? (left[c] + up) / 2 : paeth(left[c], up, corner[c]);
            left[c] = row[i + c] = (uint8_t)(row[i + c] + guess);
            corner[c] = up;
        }
    }
}

static void undo_filter(int filter, uint8_t *row, const uint8_t *above, size_t size, size_t pixel)
{
    if (filter == 0) return;
    if (filter == 2) {
        for (size_t i = 0; i < size; i++) row[i] = (uint8_t)(row[i] + above[i]);
        return;
    }
#define UNDO(n)                                                                                                        \
    case n:                                                                                                            \
        if (filter == 1) undo_of_pixel(1, row, above, size, n);                                                        \
        if (filter == 3) undo_of_pixel(3, row, above, size, n);                                                        \
        if (filter == 4) undo_of_pixel(4, row, above, size, n);                                                        \
        break
    switch (pixel) {
        UNDO(1);
        UNDO(2);
        UNDO(3);
        UNDO(4);
        UNDO(6);
        UNDO(8);
    }
#undef UNDO
}

static int channels_of(enum png_colour colour)
{
    return colour == RGB ? 3 : colour == RGB_ALPHA ? 4 : colour == GRAY_ALPHA ? 2 : 1;
}

/* One value of one channel, of which 1 to 16 bits are there. */
static uint8_t sample(const struct png *p, const uint8_t *row, int at)
{
    if (p->depth == 16) return row[2 * at];
    if (p->depth == 8) return row[at];
    int bits = at * p->depth, mask = (1 << p->depth) - 1;
    return (uint8_t)(row[bits / 8] >> (8 - p->depth - bits % 8) & mask);
}

/* The usual rows: 8 bits a channel, pixels close together. False for others. */
static bool convert_plain_row(struct png *p, const uint8_t *row, int count, uint8_t *rgb)
{
    if (p->depth != 8) return false;
    switch (p->colour) {
    case RGB: memcpy(rgb, row, (size_t)count * 3); return true;
    case GRAY: dg_rgb_from_gray(row, rgb, count); return true;
    case RGB_ALPHA: {
        uint8_t all = 255;
        for (int x = 0; x < count; x++) {
            for (int c = 0; c < 3; c++) rgb[3 * x + c] = row[4 * x + c];
            all &= row[4 * x + 3];
        }
        if (all != 255) p->d->notes |= DG_NOTE_ALPHA;
        return true;
    }
    default: return false;
    }
}

/* `count` pixels to rgb, rgb + step, ... */
static void convert_row(struct png *p, const uint8_t *row, int count, uint8_t *rgb, size_t step)
{
    const int channels = channels_of(p->colour);
    const int scale = p->depth == 1 ? 255 : p->depth == 2 ? 85 : p->depth == 4 ? 17 : 1;
    if (step == 3 && convert_plain_row(p, row, count, rgb)) return;
    const bool has_alpha = p->colour == GRAY_ALPHA || p->colour == RGB_ALPHA;
    for (int x = 0; x < count; x++, rgb += step) {
        uint8_t value = sample(p, row, x * channels);
        if (has_alpha && sample(p, row, x * channels + channels - 1) != 255) p->d->notes |= DG_NOTE_ALPHA;
        if (p->colour == PALETTE) {
            if (value >= p->colours) p->d->notes |= DG_NOTE_PALETTE;
            if (p->alpha[value] != 255) p->d->notes |= DG_NOTE_ALPHA;
            memcpy(rgb, p->palette[value], 3);
        } else if (p->colour == RGB || p->colour == RGB_ALPHA) {
            rgb[0] = value;
            rgb[1] = sample(p, row, x * channels + 1);
            rgb[2] = sample(p, row, x * channels + 2);
        } else {
            if (p->colour == GRAY && p->depth == 16) { /* not scaled, but clipped */
                if (value) p->d->notes |= DG_NOTE_CLIPPED;
                value = value ? 255 : row[2 * x + 1];
            } else if (p->colour == GRAY) {
                value = (uint8_t)(value * scale);
            }
            rgb[0] = rgb[1] = rgb[2] = value;
        }
    }
}

static const uint8_t first_column[] = {0, 4, 0, 2, 0, 1, 0}, first_row[] = {0, 0, 4, 0, 2, 0, 1};
static const uint8_t column_step[] = {8, 8, 4, 4, 2, 2, 1}, row_step[] = {8, 8, 8, 4, 4, 2, 2};

/* Where the next row goes. */
struct place {
    int pass; /* of interlaced images */
    int64_t y;
    int count; /* pixels */
    size_t bytes;
};

static void set_count(const struct png *p, struct place *at)
{
    int64_t width = p->frame.width;
    if (p->interlaced) width = (width + column_step[at->pass] - 1 - first_column[at->pass]) / column_step[at->pass];
    at->count = width > 0 ? (int)width : 0;
    at->bytes = ((size_t)at->count * (size_t)(p->depth * channels_of(p->colour)) + 7) / 8;
}

/* Sets the next row; *top: it is the first of its pass. False after the last. */
static bool next_row(const struct png *p, struct place *at, bool *top)
{
    *top = false;
    at->y += p->interlaced ? row_step[at->pass] : 1;
    while (p->interlaced && (at->y >= p->frame.height || !at->count)) {
        if (++at->pass == 7) return false;
        at->y = first_row[at->pass];
        set_count(p, at);
        *top = true;
    }
    return at->y < p->frame.height;
}

static void put_row(struct png *p, const struct place *at, const uint8_t *row)
{
    size_t width = (size_t)p->d->image->width;
    uint8_t *pixels = p->d->image->pixels;
    if (p->interlaced) /* a smaller frame goes to the corner then, as in Pillow */
        convert_row(p, row, at->count, pixels + ((size_t)at->y * width + first_column[at->pass]) * 3,
                    3u * column_step[at->pass]);
    else
        convert_row(p, row, at->count, pixels + ((size_t)(at->y + p->frame.top) * width + (size_t)p->frame.left) * 3,
                    3);
}

/* True if zlib finds the end of the data, and their checksum right, in what comes after the last row. */
static bool data_end_well(const struct png *p, z_stream *z)
{
    struct png ahead = *p;
    uint8_t unused[64];
    const uint8_t *bytes;
    size_t piece;
    for (;;) {
        z->next_out = unused;
        z->avail_out = sizeof unused;
        int code = inflate(z, Z_NO_FLUSH);
        if (code == Z_STREAM_END || z->avail_out < sizeof unused)
            return code == Z_STREAM_END && z->avail_out == sizeof unused;
        if (code < 0 && code != Z_BUF_ERROR) return false;
        if (z->avail_in) continue;
        if (!next_data(&ahead, &bytes, &piece)) return false;
        z->next_in = (Bytef *)bytes;
        z->avail_in = (uInt)piece;
    }
}

/* Decompresses rows until the image is full. The loop is Pillow's: a row that is complete counts, however the data go
 * on; data that end are an error unless zlib says that they end there. */
static enum dg_status inflate_rows(struct png *p, z_stream *z, uint8_t *row, uint8_t *above, struct dg_error *err)
{
    const size_t pixel = ((size_t)(p->depth * channels_of(p->colour)) + 7) / 8;
    struct place at = {0};
    set_count(p, &at);
    size_t have = 0, piece;
    const uint8_t *bytes;
    while (next_data(p, &bytes, &piece)) {
        z->next_in = (Bytef *)bytes;
        z->avail_in = (uInt)piece;
        while (z->avail_in > 0) {
            z->next_out = row + have;
            z->avail_out = (uInt)(at.bytes + 1 - have);
            int code = inflate(z, Z_NO_FLUSH);
            if (code == Z_MEM_ERROR) return dg_fail(err, DG_ERR_MEMORY, "%s: out of memory", p->d->name);
            if (code < 0) return refuse(p, err, z->msg ? z->msg : "damaged image data");
            have = at.bytes + 1 - z->avail_out;
            if (z->avail_out) {
                if (code != Z_STREAM_END) break; /* more data needed */
                return refuse(p, err, "too little image data");
            }
            if (row[0] > 4) return refuse(p, err, "an unknown filter");
            undo_filter(row[0], row + 1, above + 1, at.bytes, pixel);
            put_row(p, &at, row + 1);
            have = 0;
            bool top;
            bool more = next_row(p, &at, &top);
            if (!more || code == Z_STREAM_END) {
                if (more) p->d->notes |= DG_NOTE_LOST; /* the data end before the image */
                if (code != Z_STREAM_END && !data_end_well(p, z)) p->d->notes |= DG_NOTE_CHECKSUM;
                return DG_OK;
            }
            uint8_t *swapped = row;
            row = above;
            above = swapped;
            if (top) memset(above, 0, at.bytes + 1);
        }
    }
    return dg_decode_cut_short(p->d, err);
}

static enum dg_status read_pixels(struct png *p, struct dg_error *err)
{
    struct dg_image *image = p->d->image;
    if (p->frame.width < 0) {
        p->frame.width = p->width;
        p->frame.height = p->height;
    } else if (p->frame.width == 0 || p->frame.height == 0) {
        return refuse(p, err, "an empty frame");
    }
    size_t row_bytes = ((size_t)p->frame.width * (size_t)(p->depth * channels_of(p->colour)) + 7) / 8 + 1;
    DG_TRY(dg_scratch_reserve(p->d->work, 2 * row_bytes, err));
    uint8_t *row = p->d->work->bytes;
    memset(row, 0, 2 * row_bytes);
    /* What no row is decoded for is 0: black, or the first colour of a palette. */
    size_t pixels = (size_t)image->width * (size_t)image->height;
    memset(image->pixels, 0, pixels * 3);
    for (size_t i = 0; p->colour == PALETTE && i < pixels; i++) memcpy(image->pixels + 3 * i, p->palette[0], 3);
    z_stream z = {0};
    if (inflateInit(&z) != Z_OK) return dg_fail(err, DG_ERR_MEMORY, "%s: out of memory", p->d->name);
    enum dg_status status = inflate_rows(p, &z, row, row + row_bytes, err);
    inflateEnd(&z);
    return status;
}

enum dg_status dg_decode_png(struct dg_decoding *d, struct dg_error *err)
{
    struct png p = {.d = d, .at = 8, .colours = -1, .frame.width = -1};
    memset(p.alpha, 255, sizeof p.alpha);
    DG_TRY(read_to_data(&p, err));
    if (!p.has_header) return refuse(&p, err, "no header, or a kind of pixels that there is not");
    DG_TRY(dg_decode_reserve(d, p.width, p.height, err));
    /* Without a frame header before them, the data are a picture beside those of the animation. */
    p.several = p.animated && (p.frames > 1 || p.frame.width < 0);
    if (p.several) d->notes |= DG_NOTE_FRAMES;
    if (p.has_clear_colour) d->notes |= DG_NOTE_ALPHA;
    DG_TRY(read_pixels(&p, err));
    return read_to_end(&p, err);
}

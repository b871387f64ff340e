/* Windows bitmaps: what Pillow reads of them, by its own rules. */
#include "runtime/image/codec.h"

#include <string.h>

enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

struct bmp {
    struct dg_decoding *d;
    int64_t width, height;
    int bits;
    uint32_t compression, colours;
    bool top_down;
    int order[3]; /* of 24 and 32 bits: the bytes that are red, green and blue */
    bool is_565;  /* of 16 bits; otherwise 5 bits each */
    uint8_t palette[256][3];
    int palette_size;
    bool is_gray;    /* the palette is a ramp of grays, so none is needed */
    int row_bits;    /* a pixel, as the rows are read: not `bits` where Pillow mistakes a gray palette's */
    size_t at, data; /* where the header ends; where the rows begin */
};

static enum dg_status refuse(const struct bmp *b, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a BMP that can be decoded: %s", b->d->name, why);
}

/* ---- header ---- */

static void read_size(struct bmp *b, uint32_t header, const uint8_t *s)
{
    if (header == 12) {
        b->width = dg_le16(s);
        b->height = dg_le16(s + 2);
        b->bits = (int)dg_le16(s + 6);
        return;
    }
    b->top_down = s[7] == 0xff;
    b->width = dg_le32(s);
    b->height = b->top_down ? (INT64_C(1) << 32) - dg_le32(s + 4) : dg_le32(s + 4);
    b->bits = (int)dg_le16(s + 10);
    b->compression = dg_le32(s + 12);
    b->colours = dg_le32(s + 28);
}

/* Layouts of 32 bits: masks of red, green, blue, alpha, and which bytes of a pixel they are. */
static const struct {
    uint32_t mask[4];
    int order[3];
} layouts[] = {
    {{0xff0000, 0xff00, 0xff, 0}, {2, 1, 0}},          {{0xff000000, 0xff0000, 0xff00, 0}, {3, 2, 1}},
    {{0xff000000, 0xff00, 0xff, 0}, {3, 1, 0}},        {{0xff000000, 0xff0000, 0xff00, 0xff}, {3, 2, 1}},
    {{0xff, 0xff00, 0xff0000, 0xff000000}, {0, 1, 2}}, {{0xff0000, 0xff00, 0xff, 0xff000000}, {2, 1, 0}},
    {{0xff000000, 0xff00, 0xff, 0xff0000}, {3, 1, 0}}, {{0, 0, 0, 0}, {2, 1, 0}},
};

/* `mask`: red, green, blue, alpha. */
static const char *choose_layout(struct bmp *b, const uint32_t *mask)
{
    static const uint32_t mask565[] = {0xf800, 0x7e0, 0x1f}, mask555[] = {0x7c00, 0x3e0, 0x1f};
    const size_t three = 3 * sizeof *mask;
    if (b->bits == 32) {
        for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
            if (memcmp(mask, layouts[i].mask, sizeof layouts[i].mask)) continue;
            memcpy(b->order, layouts[i].order, sizeof b->order);
            return NULL;
        }
    }
    if (b->bits == 24 && !memcmp(mask, layouts[0].mask, three)) return NULL;
    if (b->bits == 16 && !memcmp(mask, mask555, three)) return NULL;
    b->is_565 = b->bits == 16 && !memcmp(mask, mask565, three);
    return b->is_565 ? NULL : "an unknown layout of its bits";
}

static enum dg_status read_layout(struct bmp *b, uint32_t header, const uint8_t *s, struct dg_error *err)
{
    uint32_t mask[4] = {0};
    const uint8_t *from = s + 36; /* in longer headers */
    if (header - 4 < 48) {
        if (b->at + 12 > b->d->size) return dg_decode_cut_short(b->d, err);
        from = b->d->bytes + b->at;
        b->at += 12;
    }
    for (int i = 0; i < (header - 4 >= 52 ? 4 : 3); i++) mask[i] = dg_le32(from + 4 * i);
    const char *wrong = choose_layout(b, mask);
    return wrong ? refuse(b, err, wrong) : DG_OK;
}

/* A palette that is a ramp of grays means that the bytes are the values. */
static const char *read_palette(struct bmp *b, size_t entry)
{
    if (b->colours < 1 || b->colours > 65536) return "a wrong number of colours";
    size_t bytes = b->d->size - b->at, want = entry * b->colours;
    if (bytes > want) bytes = want;
    const uint8_t *s = b->d->bytes + b->at;
    b->is_gray = true;
    for (uint32_t i = 0; i < b->colours && b->is_gray; i++) {
        uint8_t value = (uint8_t)(b->colours == 2 && i == 1 ? 255 : i);
        b->is_gray = bytes >= i * entry + 3;
        for (int c = 0; c < 3 && b->is_gray; c++) b->is_gray = s[i * entry + (size_t)c] == value;
    }
    b->at += bytes;
    b->palette_size = (int)(bytes / entry < 256 ? bytes / entry : 256);
    if (!b->is_gray && bytes / entry > 256) return "a palette of more than 256 colours";
    for (int i = 0; i < b->palette_size; i++)
        for (int c = 0; c < 3; c++) b->palette[i][c] = s[(size_t)i * entry + 2 - (size_t)c];
    return NULL;
}

static enum dg_status read_header(struct bmp *b, struct dg_error *err)
{
    const uint8_t *bytes = b->d->bytes;
    if (b->d->size < 18) return dg_decode_cut_short(b->d, err);
    b->data = dg_le32(bytes + 10);
    uint32_t header = dg_le32(bytes + 14);
    static const uint8_t sizes[] = {12, 40, 52, 56, 64, 108, 124};
    if (header > 124 || !memchr(sizes, (int)header, sizeof sizes)) return refuse(b, err, "an unknown kind of header");
    if (14 + (size_t)header > b->d->size) return dg_decode_cut_short(b->d, err);
    b->at = 14 + header;
    read_size(b, header, bytes + 18);
    if (b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 16 && b->bits != 24 && b->bits != 32)
        return refuse(b, err, "an unknown number of bits a pixel");
    if (!b->colours) b->colours = b->bits < 32 ? 1u << b->bits : 0;
    size_t entry = header == 12 ? 3 : 4;
    if (b->data == b->at && b->bits <= 8) b->data += entry * b->colours;
    if (b->compression == BITFIELDS) {
        DG_TRY(read_layout(b, header, bytes + 18, err));
    } else if (b->compression > RLE4) {
        return refuse(b, err, "an unknown compression");
    }
    const char *wrong = b->bits <= 8 ? read_palette(b, entry) : NULL;
    if (wrong) return refuse(b, err, wrong);
    b->row_bits = !b->is_gray ? b->bits : b->colours <= 2 ? 1 : 8;
    if (!b->data) b->data = b->at;
    return DG_OK;
}

/* ---- pixels ---- */

static void put_index(struct bmp *b, uint8_t *rgb, uint8_t index)
{
    if (b->is_gray) {
        memset(rgb, b->colours <= 2 && index ? 255 : index, 3); /* two colours: black and white */
        return;
    }
    if (index >= b->palette_size) b->d->notes |= DG_NOTE_PALETTE;
    memcpy(rgb, b->palette[index], 3);
}

static void convert_row(struct bmp *b, const uint8_t *row, uint8_t *rgb)
{
    int width = b->d->image->width, bytes = b->bits / 8;
    for (int x = 0; x < width; x++, rgb += 3) {
        if (b->bits == 16) {
            unsigned v = dg_le16(row + 2 * x);
            rgb[2] = (uint8_t)((v & 31) * 255 / 31);
            rgb[1] = (uint8_t)(b->is_565 ? (v >> 5 & 63) * 255 / 63 : (v >> 5 & 31) * 255 / 31);
            rgb[0] = (uint8_t)((v >> (b->is_565 ? 11 : 10) & 31) * 255 / 31);
        } else if (b->bits > 16) {
            for (int c = 0; c < 3; c++) rgb[c] = row[x * bytes + b->order[c]];
        } else {
            int bits = x * b->row_bits, mask = (1 << b->row_bits) - 1;
            put_index(b, rgb, (uint8_t)(row[bits / 8] >> (8 - b->row_bits - bits % 8) & mask));
        }
    }
}

static uint8_t *row_of(const struct bmp *b, int64_t row)
{
    int64_t y = b->top_down ? row : b->height - 1 - row;
    return b->d->image->pixels + (size_t)y * (size_t)b->width * 3;
}

static enum dg_status read_rows(struct bmp *b, struct dg_error *err)
{
    size_t bytes = ((size_t)b->width * (size_t)b->row_bits + 7) / 8;
    size_t stride = ((size_t)b->width * (size_t)b->bits + 31) / 8 & ~(size_t)3;
    if (bytes > stride) return refuse(b, err, "rows that are too short");
    for (int64_t row = 0; row < b->height; row++) {
        size_t at = b->data + (size_t)row * stride;
        if (at > b->d->size || b->d->size - at < bytes) return dg_decode_cut_short(b->d, err);
        convert_row(b, b->d->bytes + at, row_of(b, row));
    }
    return DG_OK;
}

/* The indices of a run-length encoded image, in `out`; returns how many there are. */
static size_t expand_runs(const struct bmp *b, uint8_t *out, size_t want)
{
    const uint8_t *s = b->d->bytes;
    const size_t size = b->d->size, width = (size_t)b->width;
    const bool half = b->compression == RLE4;
    size_t at = b->data, have = 0, x = 0;
    while (have < want && at + 2 <= size) {
        size_t run = s[at];
        uint8_t byte = s[at + 1];
        at += 2;
        if (run) {
            if (x + run > width) run = x < width ? width - x : 0;
            for (size_t i = 0; i < run && have < want; i++)
                out[have++] = !half ? byte : i % 2 ? byte & 15 : (uint8_t)(byte >> 4);
            x += run;
        } else if (byte == 0) {
            while (have % width && have < want) out[have++] = 0;
            x = 0;
        } else if (byte == 1) {
            break;
        } else if (byte == 2) {
            if (at + 2 > size) break;
            size_t skip = s[at] + s[at + 1] * width;
            at += 2;
            if (skip > want - have) skip = want - have;
            memset(out + have, 0, skip);
            have += skip;
            x = have % width;
        } else {
            size_t count = byte < want - have ? byte : want - have, bytes = half ? (count + 1) / 2 : count;
            bool all = bytes <= size - at;
            if (!all) bytes = size - at;
            for (size_t i = 0; i < (half ? 2 * bytes : bytes) && i < count; i++)
                out[have++] = !half ? s[at + i] : i % 2 ? s[at + i / 2] & 15 : (uint8_t)(s[at + i / 2] >> 4);
            at += bytes;
            if (!all || have == want) break;
            x += byte;
            at += at % 2;
        }
    }
    return have;
}

static enum dg_status read_runs(struct bmp *b, struct dg_error *err)
{
    if (b->bits > 8) return refuse(b, err, "an unknown compression");
    size_t want = (size_t)b->width * (size_t)b->height;
    DG_TRY(dg_scratch_reserve(b->d->work, want, err));
    uint8_t *index = b->d->work->bytes;
    if (b->data > b->d->size) b->data = b->d->size;
    if (expand_runs(b, index, want) < want) return dg_decode_cut_short(b->d, err);
    for (int64_t row = 0; row < b->height; row++) {
        uint8_t *rgb = row_of(b, row);
        for (int64_t x = 0; x < b->width; x++) put_index(b, rgb + 3 * x, *index++);
    }
    return DG_OK;
}

enum dg_status dg_decode_bmp(struct dg_decoding *d, struct dg_error *err)
{
    struct bmp b = {.d = d, .order = {2, 1, 0}};
    DG_TRY(read_header(&b, err));
    DG_TRY(dg_decode_reserve(d, b.width, b.height, err));
    return b.compression == RLE8 || b.compression == RLE4 ? read_runs(&b, err) : read_rows(&b, err);
}

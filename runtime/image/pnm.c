/* PBM, PGM and PPM, plain and binary, of up to 16 bits: by Pillow's rules. */
#include "runtime/image/codec.h"

#include <string.h>

/* Longer numbers are refused, as by Pillow. */
enum { MAX_DIGITS = 10 };

struct pnm {
    struct dg_decoding *d;
    int kind; /* 1 to 6 */
    size_t at;
    int64_t width, height, most; /* most: the value of white */
};

static enum dg_status refuse(const struct pnm *p, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a PNM that can be decoded: %s", p->d->name, why);
}

static bool is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_line_end(int c) { return c == '\n' || c == '\r'; }

/* ---- numbers ---- */

/* What Python's int() makes of digits: a sign, and _ between digits, are allowed. */
static bool parse_number(const char *text, int count, int64_t *value)
{
    int i = count && (text[0] == '+' || text[0] == '-');
    bool digit = false;
    *value = 0;
    for (int from = i; i < count; i++) {
        if (text[i] == '_' && digit && i > from) {
            digit = false;
            continue;
        }
        if (text[i] < '0' || text[i] > '9') return false;
        *value = *value * 10 + (text[i] - '0');
        digit = true;
    }
    if (text[0] == '-') *value = -*value;
    return digit;
}

/* Passes over a comment; p->at is at its # or behind it. */
static void skip_comment(struct pnm *p)
{
    while (p->at < p->d->size && !is_line_end(p->d->bytes[p->at])) p->at++;
    if (p->at < p->d->size) p->at++;
}

/* The next number of the header; a comment may interrupt it. */
static enum dg_status read_number(struct pnm *p, int64_t *value, struct dg_error *err)
{
    char text[MAX_DIGITS + 1];
    int count = 0;
    while (p->at < p->d->size && count <= MAX_DIGITS) {
        int c = p->d->bytes[p->at++];
        if (is_space(c)) {
            if (count) break;
        } else if (c == '#') {
            skip_comment(p);
        } else {
            text[count++] = (char)c;
        }
    }
    if (!count) return dg_decode_cut_short(p->d, err);
    if (count > MAX_DIGITS || !parse_number(text, count, value)) return refuse(p, err, "a wrong number in its header");
    return DG_OK;
}

/* ---- values ---- */

/* A value of 0 .. most as Pillow rounds it to `white`: half to even, in double precision. */
static int64_t scaled(const struct pnm *p, int64_t value, int64_t white)
{
    double exact = (double)value / (double)p->most * (double)white;
    int64_t low = (int64_t)exact;
    double rest = exact - (double)low;
    return rest > 0.5 || (rest == 0.5 && low % 2) ? low + 1 : low;
}

/* To 8 bits. Gray of more than 8 bits is not scaled to them but to 16, and clipped. */
static uint8_t value_of(struct pnm *p, int64_t value)
{
    bool wide_gray = p->most > 255 && (p->kind == 2 || p->kind == 5);
    int64_t white = wide_gray ? 65535 : 255, result = scaled(p, value, white);
    if (result > white) result = white;
    if (wide_gray && result > 255) {
        p->d->notes |= DG_NOTE_CLIPPED;
        return 255;
    }
    return (uint8_t)result;
}

static int channels_of(const struct pnm *p) { return p->kind == 3 || p->kind == 6 ? 3 : 1; }

static void put_value(struct pnm *p, size_t index, uint8_t value)
{
    uint8_t *pixels = p->d->image->pixels;
    if (channels_of(p) == 3)
        pixels[index] = value;
    else
        memset(pixels + 3 * index, value, 3);
}

static enum dg_status read_binary(struct pnm *p, struct dg_error *err)
{
    size_t bytes = p->most < 256 ? 1 : 2, count = (size_t)(p->width * p->height) * (size_t)channels_of(p);
    if ((p->d->size - p->at) / bytes < count) return dg_decode_cut_short(p->d, err);
    const uint8_t *s = p->d->bytes + p->at;
    uint8_t table[256];
    for (int v = 0; v < 256; v++) table[v] = bytes == 1 ? value_of(p, v) : 0;
    for (size_t i = 0; i < count; i++) put_value(p, i, bytes == 1 ? table[s[i]] : value_of(p, dg_be16(s + 2 * i)));
    return DG_OK;
}

static enum dg_status read_bits(struct pnm *p, struct dg_error *err)
{
    size_t row_bytes = (size_t)(p->width + 7) / 8;
    if ((p->d->size - p->at) / row_bytes < (size_t)p->height) return dg_decode_cut_short(p->d, err);
    for (int64_t i = 0, y = 0; y < p->height; y++) {
        const uint8_t *row = p->d->bytes + p->at + (size_t)y * row_bytes;
        for (int64_t x = 0; x < p->width; x++) put_value(p, (size_t)i++, row[x / 8] >> (7 - x % 8) & 1 ? 0 : 255);
    }
    return DG_OK;
}

/* Plain bits need no space between them. Pillow reads a MiB at a time, and minds what follows the last bit there. */
static enum dg_status read_plain_bits(struct pnm *p, struct dg_error *err)
{
    const size_t count = (size_t)(p->width * p->height), block = 1 << 20, start = p->at;
    size_t end = start; /* of the block in which the last bit is */
    for (size_t i = 0; i < count || p->at < end;) {
        if (p->at >= p->d->size && i >= count) return DG_OK;
        if (p->at >= p->d->size) return dg_decode_cut_short(p->d, err);
        int c = p->d->bytes[p->at];
        if (c == '#') {
            skip_comment(p);
            continue;
        }
        p->at++;
        if (is_space(c)) continue;
        if (c != '0' && c != '1') return refuse(p, err, "a bit that is neither 0 nor 1");
        if (i < count) put_value(p, i++, c == '1' ? 0 : 255);
        if (i == count) end = start + (p->at - start + block - 1) / block * block;
    }
    return DG_OK;
}

/* A comment ends no number: what stands before and after it is one, as Pillow cuts comments out. */
static enum dg_status read_plain_values(struct pnm *p, struct dg_error *err)
{
    size_t count = (size_t)(p->width * p->height) * (size_t)channels_of(p);
    for (size_t i = 0; i < count; i++) {
        char text[MAX_DIGITS + 1];
        int digits = 0;
        while (p->at < p->d->size) {
            int c = p->d->bytes[p->at];
            if (c == '#') {
                skip_comment(p);
                continue;
            }
            p->at++;
            if (!is_space(c)) {
                if (digits > MAX_DIGITS) continue;
                text[digits++] = (char)c;
            } else if (digits) {
                break;
            }
        }
        int64_t value = 0;
        if (!digits) return dg_decode_cut_short(p->d, err);
        if (digits > MAX_DIGITS || !parse_number(text, digits, &value) || value < 0 || value > p->most)
            return refuse(p, err, "a value that is not a number from 0 to its white");
        put_value(p, i, value_of(p, value));
    }
    return DG_OK;
}

enum dg_status dg_decode_pnm(struct dg_decoding *d, struct dg_error *err)
{
    struct pnm p = {.d = d, .kind = d->bytes[1] - '0', .at = 3, .most = 1};
    DG_TRY(read_number(&p, &p.width, err));
    DG_TRY(read_number(&p, &p.height, err));
    if (p.kind != 1 && p.kind != 4) DG_TRY(read_number(&p, &p.most, err));
    if (p.most < 1 || p.most > 65535) return refuse(&p, err, "white is not a number from 1 to 65535");
    DG_TRY(dg_decode_reserve(d, p.width, p.height, err));
    switch (p.kind) {
    case 1: return read_plain_bits(&p, err);
    case 4: return read_bits(&p, err);
    case 2:
    case 3: return read_plain_values(&p, err);
    default: return read_binary(&p, err);
    }
}

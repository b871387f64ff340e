#include "runtime/image/tiff.h"

#include <string.h>

enum {
    WIDTH = 256,
    HEIGHT = 257,
    BITS = 258,
    COMPRESSION = 259,
    PHOTOMETRIC = 262,
    FILL_ORDER = 266,
    ORIENTATION = 274,
    SAMPLES = 277,
    PLANES = 284,
    EXTRA = 338,
    FORMAT = 339,
    MAX_SAMPLES = 6
};

enum dg_status dg_tiff_refuse(const struct tiff *t, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a TIFF that can be decoded: %s", t->d->name, why);
}

/* ---- numbers ---- */

static uint64_t number(const struct tiff *t, const uint8_t *p, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value = value << 8 | p[t->big_endian ? i : size - 1 - i];
    return value;
}

uint64_t dg_tiff_value(const struct tiff *t, struct tiff_values values, uint64_t index)
{
    return number(t, values.bytes + index * (uint64_t)values.size, values.size);
}

/* Bytes of a value of each type; 0 for unknown types. */
static int size_of_type(unsigned type)
{
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

/* Short, long, their signed kinds (which are not negative here), directories, and longs of 8 bytes. */
static bool is_whole_number(unsigned type)
{
    return type == 3 || type == 4 || type == 6 || type == 8 || type == 9 || type == 13 || type == 16;
}

/* Where the values of a tag are kept; -1 for tags that nobody asks for. */
static int slot_of(int tag)
{
    static const int tags[TIFF_TAGS] = {WIDTH,
                                        HEIGHT,
                                        BITS,
                                        COMPRESSION,
                                        PHOTOMETRIC,
                                        FILL_ORDER,
                                        ORIENTATION,
                                        SAMPLES,
                                        PLANES,
                                        EXTRA,
                                        FORMAT,
                                        TIFF_STRIP_OFFSETS,
                                        TIFF_ROWS_PER_STRIP,
                                        TIFF_STRIP_SIZES,
                                        TIFF_COLOUR_MAP,
                                        TIFF_TILE_WIDTH,
                                        TIFF_TILE_LENGTH,
                                        TIFF_TILE_OFFSETS,
                                        TIFF_TILE_SIZES};
    for (int i = 0; i < TIFF_TAGS; i++)
        if (tags[i] == tag) return i;
    return -1;
}

struct tiff_values dg_tiff_values(const struct tiff *t, int tag) { return t->values[slot_of(tag)]; }

/* Reads the `count` entries at `at`. The first of a tag counts. An entry whose values are cut short ends the directory;
 * those that take more than the file has, with all before them, are left out. */
static void read_entries(struct tiff *t, uint64_t at, uint64_t count)
{
    const uint64_t entry = t->big_tiff ? 20 : 12, field = t->big_tiff ? 8 : 4, size = t->d->size;
    uint8_t seen[65536 / 8] = {0};
    uint64_t total = 0;
    for (uint64_t i = 0; i < count && size - at >= entry; i++, at += entry) {
        const uint8_t *s = t->d->bytes + at, *bytes = s + 4 + field;
        int tag = (int)number(t, s, 2);
        unsigned type = (unsigned)number(t, s + 2, 2);
        uint64_t values = number(t, s + 4, (int)field), unit = (uint64_t)size_of_type(type);
        if (!unit || seen[tag / 8] >> tag % 8 & 1) continue;
        if (values > field / unit) {
            total += values > size ? size + 1 : values * unit;
            if (total > size) continue;
            uint64_t offset = number(t, bytes, (int)field);
            if (offset > size || size - offset < values * unit) return;
            bytes = t->d->bytes + offset;
        }
        if (!values) continue;
        seen[tag / 8] |= (uint8_t)(1 << tag % 8);
        if (slot_of(tag) < 0) continue;
        if (is_whole_number(type))
            t->values[slot_of(tag)] = (struct tiff_values){bytes, values, (int)unit};
        else if (tag != ORIENTATION && tag != PLANES)
            t->has_other_types = true;
    }
}

uint64_t dg_tiff_number(const struct tiff *t, int tag, uint64_t missing)
{
    struct tiff_values values = dg_tiff_values(t, tag);
    if (!values.count || (tag == PHOTOMETRIC && values.count > 1)) return missing;
    return dg_tiff_value(t, values, 0);
}

/* ---- how pixels are stored ---- */

/* What Pillow looks a file up by. */
struct key {
    int photometric, format, fill, bits, samples, extras;
    int extra[MAX_SAMPLES];
};

static enum dg_status read_samples(const struct tiff *t, struct key *k, struct dg_error *err)
{
    struct tiff_values bits = dg_tiff_values(t, BITS), extra = dg_tiff_values(t, EXTRA);
    bool jpeg = t->compression == TIFF_OLD_JPEG && (k->photometric == 2 || k->photometric == 6);
    int64_t samples = (int64_t)dg_tiff_number(t, SAMPLES, jpeg ? 3 : 1), count = bits.count ? (int64_t)bits.count : 1;
    if (extra.count > MAX_SAMPLES) return dg_tiff_refuse(t, err, "too many channels");
    bool all_zero = extra.count > 0;
    for (uint64_t i = 0; i < extra.count; i++) {
        k->extra[i] = (int)dg_tiff_value(t, extra, i);
        all_zero = all_zero && !k->extra[i];
    }
    k->extras = (int)extra.count;
    if (t->planes == 2 && all_zero) { /* channels of no meaning that stand apart are not read */
        count = count > k->extras ? count - k->extras : 0;
        samples -= k->extras;
        k->extras = 0;
    }
    if (samples > MAX_SAMPLES) return dg_tiff_refuse(t, err, "too many channels");
    if (samples < count) count = samples;
    if (count < 1 || (samples > count && count != 1)) return dg_tiff_refuse(t, err, "channels that do not add up");
    k->bits = bits.count ? (int)dg_tiff_value(t, bits, 0) : 1;
    for (int64_t i = 1; i < count; i++)
        if ((int)dg_tiff_value(t, bits, (uint64_t)i) != k->bits)
            return dg_tiff_refuse(t, err, "channels of several widths");
    k->samples = (int)samples;
    return DG_OK;
}

/* 1: unsigned, 2: signed, 3: floating point, 0: of several kinds. */
static int read_format(const struct tiff *t)
{
    struct tiff_values format = dg_tiff_values(t, FORMAT);
    if (!format.count) return 1;
    uint64_t first = dg_tiff_value(t, format, 0);
    for (uint64_t i = 1; i < format.count; i++)
        if (dg_tiff_value(t, format, i) != first) return 0;
    return first > 3 ? 0 : (int)first;
}

/* `n` channels of `bits`, and after them extra ones: the first of meaning `first`, all others of none. */
static bool has_channels(const struct key *k, int n, int bits, int most_extras)
{
    if (k->bits != bits || k->samples != n + k->extras || k->extras > most_extras) return false;
    for (int i = 1; i < k->extras; i++)
        if (k->extra[i]) return false;
    return true;
}

static bool is_gray(struct tiff *t, const struct key *k)
{
    bool sub_byte = k->bits == 1 || k->bits == 2 || k->bits == 4, unsigned8 = k->bits == 8 && k->format == 1;
    if (k->samples == 2 && k->extras == 1)
        return k->photometric == 1 && k->bits == 8 && k->format == 1 && k->fill == 1 &&
               (k->extra[0] == 0 || k->extra[0] == 2);
    if (k->samples != 1 || k->extras) return false;
    if ((sub_byte && k->format == 1) || unsigned8) {
        t->inverted = k->photometric == 0;
        return true;
    }
    if (k->bits == 8) return k->format == 2 && k->fill == 1 && k->photometric == 1;
    if (k->fill == 2) return k->bits == 16 && k->format == 1 && k->photometric == 1 && !t->big_endian;
    if (k->format == 3) return k->bits == 32;
    if (k->photometric == 0) return k->bits == 16 && k->format == 1 && !t->big_endian;
    if (k->bits == 12) return k->format == 1 && !t->big_endian;
    if (k->bits == 16) return true;
    return k->bits == 32 && (k->format == 2 || !t->big_endian);
}

static bool is_palette(const struct key *k)
{
    if (k->format != 1) return false;
    if (k->samples == 2)
        return k->extras == 1 && k->bits == 8 && k->fill == 1 && (k->extra[0] == 0 || k->extra[0] == 2);
    return k->samples == 1 && !k->extras && (k->bits == 1 || k->bits == 2 || k->bits == 4 || k->bits == 8);
}

static bool is_rgb(struct tiff *t, const struct key *k)
{
    if (k->format != 1) return false;
    if (k->samples == 3 && !k->extras) return (k->bits == 8 || (k->bits == 16 && k->fill == 1));
    if (k->fill != 1 || (k->bits != 8 && k->bits != 16)) return false;
    int most = k->bits == 8 ? 3 : 1;
    t->mode = TIFF_RGBA;
    if (k->samples == 4 && !k->extras) return true;
    if (!has_channels(k, 3, k->bits, most)) return false;
    if (k->extra[0] == 0) t->mode = TIFF_RGB;
    t->premultiplied = k->extra[0] == 1;
    return k->extra[0] <= 2 || (k->extra[0] == 999 && k->extras == 1 && k->bits == 8);
}

static bool is_cmyk(const struct key *k)
{
    if (k->format != 1 || k->fill != 1) return false;
    return has_channels(k, 4, k->bits, k->bits == 8 ? 2 : 0) && (k->bits == 8 || k->bits == 16) && !k->extra[0];
}

/* Finds the mode; false where Pillow has none. */
static bool find_mode(struct tiff *t, const struct key *k)
{
    if (k->fill != 1 && k->fill != 2) return false;
    bool plain8 = k->format == 1 && k->fill == 1 && k->bits == 8 && !k->extras;
    switch (k->photometric) {
    case 0:
    case 1: t->mode = k->samples == 2 ? TIFF_GRAY_ALPHA : TIFF_GRAY; return is_gray(t, k);
    case 2: t->mode = TIFF_RGB; return is_rgb(t, k);
    case 3: t->mode = TIFF_PALETTE; return is_palette(k);
    case 5: t->mode = TIFF_CMYK; return is_cmyk(k);
    case 6: t->mode = k->samples == 1 ? TIFF_GRAY : TIFF_YCBCR; return plain8 && (k->samples == 1 || k->samples == 3);
    case 8: t->mode = TIFF_LAB; return plain8 && k->samples == 3;
    default: return false;
    }
}

/* ---- opening ---- */

static enum dg_status find_directory(struct tiff *t, struct dg_error *err)
{
    const uint8_t *bytes = t->d->bytes;
    t->big_endian = bytes[0] == 'M';
    t->big_tiff = bytes[2] == 43 || (bytes[3] == 43 && bytes[0] == 'M');
    size_t head = t->big_tiff ? 16 : 8;
    if (t->d->size < head) return dg_decode_cut_short(t->d, err);
    uint64_t at = t->big_tiff ? number(t, bytes + 8, 8) : number(t, bytes + 4, 4), entry = t->big_tiff ? 20 : 12;
    if (!at) return dg_tiff_refuse(t, err, "it has no directory");
    head = t->big_tiff ? 8 : 2;
    if (at > t->d->size || t->d->size - at < head) return dg_decode_cut_short(t->d, err);
    uint64_t count = number(t, bytes + at, (int)head), left = t->d->size - at - head;
    size_t field = t->big_tiff ? 8 : 4;
    if (count <= left / entry && left - count * entry >= field) {
        uint64_t next = number(t, bytes + at + head + count * entry, (int)field);
        t->several = next && next != at;
    }
    read_entries(t, at + head, count);
    return DG_OK;
}

enum dg_status dg_tiff_open(struct tiff *t, struct dg_error *err)
{
    DG_TRY(find_directory(t, err));
    if (t->has_other_types) return dg_tiff_refuse(t, err, "a number of an unexpected type");
    struct tiff_values width = dg_tiff_values(t, WIDTH), height = dg_tiff_values(t, HEIGHT);
    if (!width.count || !height.count) return dg_tiff_refuse(t, err, "it has no size, or its directory is cut short");
    t->width = dg_tiff_value(t, width, 0);
    t->height = dg_tiff_value(t, height, 0);
    t->compression = (int)dg_tiff_number(t, COMPRESSION, TIFF_UNCOMPRESSED);
    t->planes = (int)dg_tiff_number(t, PLANES, 1);
    struct key k = {.format = read_format(t), .fill = (int)dg_tiff_number(t, FILL_ORDER, 1)};
    k.photometric = t->compression == TIFF_OLD_JPEG ? 6 : (int)dg_tiff_number(t, PHOTOMETRIC, 0);
    DG_TRY(read_samples(t, &k, err));
    if (!find_mode(t, &k)) return dg_tiff_refuse(t, err, "a kind of pixels that Pillow does not read either");
    t->photometric = k.photometric;
    t->bits = k.bits;
    t->extras = k.extras;
    t->has_alpha = t->mode == TIFF_RGBA || (k.samples == 2 && k.extra[0] == 2);
    t->samples = k.samples;
    t->reversed = k.fill == 2;
    t->is_signed = k.format == 2 && k.bits > 8;
    t->is_float = k.format == 3;
    t->d->orientation = (int)dg_tiff_number(t, ORIENTATION, 1);
    if (t->d->orientation > 8) t->d->orientation = 1;
    t->d->turns_itself = true;
    if (t->several) t->d->notes |= DG_NOTE_FRAMES;
    return DG_OK;
}

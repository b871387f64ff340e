/* TIFF, by Pillow's rules: files that are not compressed are read here, as Pillow reads them itself, others by libtiff. */
#include "runtime/image/tiff.h"

#if DG_HAVE_TIFF

#include <stdio.h>
#include <string.h>

#include <tiffio.h>

/* Larger strips and tiles are refused. */
static const tmsize_t most_bytes = (tmsize_t)1 << 30;

/* A picture on its way: 4 bytes a pixel, the channels of 8 bits; gray of more bits is one number. */
struct picture {
    uint8_t *pixels; /* [height, width, 4] */
    size_t width;
    uint8_t palette[256][3];
    int colours;
    bool wide;         /* gray of more than 8 bits: an int32_t, or a float where is_float */
    bool swapped;      /* the bytes of wide samples in rows are not in the CPU's order */
    bool rgb_from_lib; /* rows are RGB, of which libtiff made 3 or 4 bytes */
};

/* ---- samples ---- */

static uint8_t reversed(uint8_t v)
{
    v = (uint8_t)((v & 0xf0) >> 4 | (v & 0x0f) << 4);
    v = (uint8_t)((v & 0xcc) >> 2 | (v & 0x33) << 2);
    return (uint8_t)((v & 0xaa) >> 1 | (v & 0x55) << 1);
}

static uint8_t byte_at(const struct tiff *t, const uint8_t *row, size_t at)
{
    return t->reversed ? reversed(row[at]) : row[at];
}

/* Sample `index` of a row, as 8 bits: the high byte of 16. */
static uint8_t sample8(const struct tiff *t, const struct picture *p, const uint8_t *row, size_t index)
{
    if (t->bits == 16) return row[2 * index + (p->swapped ? 0 : 1)];
    if (t->bits == 8) return byte_at(t, row, index);
    size_t bit = index * (size_t)t->bits;
    unsigned mask = (1u << t->bits) - 1;
    uint8_t value = (uint8_t)(byte_at(t, row, bit / 8) >> (8 - (size_t)t->bits - bit % 8) & mask);
    return t->mode == TIFF_PALETTE ? value : (uint8_t)(value * (255 / mask));
}

/* A sample of 12, 16 or 32 bits, the latter also of floating point: its bits. */
static uint32_t sample32(const struct tiff *t, const struct picture *p, const uint8_t *row, size_t index)
{
    if (t->bits == 12) {
        const uint8_t *s = row + index / 2 * 3;
        return index % 2 ? (uint32_t)(s[1] & 15) << 8 | s[2] : (uint32_t)s[0] << 4 | s[1] >> 4;
    }
    uint32_t value = 0;
    size_t size = (size_t)t->bits / 8;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | byte_at(t, row, index * size + (p->swapped ? i : size - 1 - i));
    return t->bits == 16 && t->is_signed ? (uint32_t)(int32_t)(int16_t)value : value;
}

/* Alpha of premultiplied pixels is divided out. */
static void divide_by_alpha(uint8_t *pixel)
{
    unsigned alpha = pixel[3];
    for (int c = 0; c < 3 && alpha < 255; c++) {
        unsigned v = alpha ? pixel[c] * 255u / alpha : 0;
        pixel[c] = (uint8_t)(v > 255 ? 255 : v);
    }
}

static int channels_of(const struct tiff *t)
{
    switch (t->mode) {
    case TIFF_GRAY: return 1;
    case TIFF_PALETTE: return t->samples;
    case TIFF_GRAY_ALPHA: return 2;
    case TIFF_RGBA:
    case TIFF_CMYK: return 4;
    default: return 3;
    }
}

/* `count` pixels of a row in which channels stand together. */
static void unpack(const struct tiff *t, const struct picture *p, const uint8_t *row, size_t count, uint8_t *pixel)
{
    size_t samples = (size_t)t->samples;
    int channels = channels_of(t);
    for (size_t x = 0; x < count; x++, pixel += 4) {
        if (p->rgb_from_lib) {
            memcpy(pixel, row + x * (p->rgb_from_lib ? 3 : 4), 3);
        } else if (p->wide) {
            uint32_t value = sample32(t, p, row, x);
            memcpy(pixel, &value, 4);
        } else {
            for (int c = 0; c < channels; c++) {
                pixel[c] = sample8(t, p, row, x * samples + (size_t)c);
                if (t->inverted) pixel[c] = (uint8_t)~pixel[c];
            }
            if (t->premultiplied) divide_by_alpha(pixel);
        }
    }
}

/* One channel of a row in which it stands alone. */
static void unpack_plane(const struct tiff *t, const struct picture *p, const uint8_t *row, size_t count, int channel,
                         uint8_t *pixel)
{
    for (size_t x = 0; x < count; x++) pixel[4 * x + (size_t)channel] = sample8(t, p, row, x);
}

/* ---- not compressed ---- */

struct raw_tile {
    uint64_t offset;
    size_t left, top, width, height, stride;
    int plane;
};

static enum dg_status read_raw_tile(const struct tiff *t, const struct picture *p, const struct raw_tile *tile,
                                    struct dg_error *err)
{
    size_t together = t->planes == 2 ? 1 : (size_t)t->samples;
    /* With channels apart Pillow takes 8 bits a sample whatever they are. */
    size_t bits = t->planes == 2 && t->samples > 1 ? 8 : (size_t)t->bits * together;
    size_t bytes = (tile->width * bits + 7) / 8, stride = tile->stride ? tile->stride : bytes;
    if (stride < bytes) return dg_tiff_refuse(t, err, "rows that are too short");
    uint64_t size = t->d->size;
    if (tile->offset > size || (size - tile->offset) / stride + 1 < tile->height ||
        size - tile->offset < (tile->height - 1) * stride + bytes)
        return dg_decode_cut_short(t->d, err);
    for (size_t y = 0; y < tile->height; y++) {
        const uint8_t *row = t->d->bytes + tile->offset + y * stride;
        uint8_t *pixel = p->pixels + ((tile->top + y) * p->width + tile->left) * 4;
        if (t->planes == 2 && t->samples > 1)
            for (size_t x = 0; x < tile->width; x++) pixel[4 * x + (size_t)tile->plane] = row[x];
        else
            unpack(t, p, row, tile->width, pixel);
    }
    return DG_OK;
}

/* With channels apart Pillow reads the modes whose names spell their channels. */
static bool planes_are_read(const struct tiff *t)
{
    if (t->samples == 1)
        return !t->inverted && !t->reversed && (t->bits == 8 || (t->bits == 1 && t->mode == TIFF_GRAY));
    return (t->mode == TIFF_RGB || t->mode == TIFF_RGBA || t->mode == TIFF_CMYK) && !t->premultiplied;
}

/* A tile's bytes from row to row, where it is wider than what is left of the image; otherwise rows follow closely. */
static uint64_t wide_stride(const struct tiff *t, uint64_t width)
{
    uint64_t channels = t->photometric == 5 ? 4 : t->photometric == 2 || t->photometric == 6 ? 3 : 1;
    uint64_t bytes = width * (uint64_t)(t->bits * t->samples) / 8;
    return t->planes == 2 ? bytes / (channels + (uint64_t)t->extras) : bytes;
}

static enum dg_status read_raw(const struct tiff *t, const struct picture *p, struct dg_error *err)
{
    struct tiff_values offsets = dg_tiff_values(t, TIFF_STRIP_OFFSETS);
    uint64_t w = t->width, h = dg_tiff_number(t, TIFF_ROWS_PER_STRIP, t->height);
    if (!offsets.count) {
        offsets = dg_tiff_values(t, TIFF_TILE_OFFSETS);
        w = dg_tiff_number(t, TIFF_TILE_WIDTH, 0);
        h = dg_tiff_number(t, TIFF_TILE_LENGTH, 0);
    }
    if (!offsets.count) return dg_tiff_refuse(t, err, "it does not say where its pixels are");
    if (!w || !h) return dg_tiff_refuse(t, err, "empty tiles");
    if (t->planes == 2 && !planes_are_read(t)) return dg_tiff_refuse(t, err, "channels that stand apart");
    bool order_is_read = t->mode == TIFF_PALETTE ? t->bits == 8 : !(t->inverted && t->bits == 8);
    if (t->reversed && !order_is_read) return dg_tiff_refuse(t, err, "its order of bits");
    bool one = w == t->width && h == t->height && t->planes != 2;
    uint64_t x = 0, y = 0;
    int plane = 0;
    for (uint64_t i = one ? offsets.count - 1 : 0; i < offsets.count; i++) {
        if (t->planes == 2 && plane >= channels_of(t)) return dg_tiff_refuse(t, err, "too many tiles");
        struct raw_tile tile = {dg_tiff_value(t, offsets, i), x, y, 0, 0, 0, plane};
        tile.width = w < t->width - x ? w : t->width - x;
        tile.height = h < t->height - y ? h : t->height - y;
        if (w > t->width - x) tile.stride = wide_stride(t, w);
        DG_TRY(read_raw_tile(t, p, &tile, err));
        x += w;
        if (x < t->width) continue;
        x = 0;
        y += h;
        if (y < t->height) continue;
        y = 0;
        plane++;
    }
    return DG_OK;
}

/* ---- by libtiff ---- */

struct memory {
    const uint8_t *bytes;
    uint64_t size, at;
    char message[256];
};

static tmsize_t memory_read(thandle_t handle, void *out, tmsize_t count)
{
    struct memory *m = handle;
    if (m->at > m->size || count < 0) return 0;
    uint64_t left = m->size - m->at, step = (uint64_t)count < left ? (uint64_t)count : left;
    memcpy(out, m->bytes + m->at, step);
    m->at += step;
    return (tmsize_t)step;
}

static tmsize_t memory_write(thandle_t handle, void *bytes, tmsize_t count)
{
    (void)handle;
    (void)bytes;
    (void)count;
    return 0;
}

static toff_t memory_seek(thandle_t handle, toff_t to, int whence)
{
    struct memory *m = handle;
    m->at = whence == SEEK_SET ? to : whence == SEEK_CUR ? m->at + to : m->size + to;
    return m->at;
}

static int memory_close(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t memory_size(thandle_t handle) { return ((struct memory *)handle)->size; }

/* The first error; libtiff shall not print it. */
static int keep_error(TIFF *tiff, void *data, const char *module, const char *format, va_list args)
{
    (void)tiff;
    (void)module;
    struct memory *m = data;
    if (!m->message[0]) vsnprintf(m->message, sizeof m->message, format, args);
    return 1;
}

static int drop_warning(TIFF *tiff, void *data, const char *module, const char *format, va_list args)
{
    (void)tiff;
    (void)data;
    (void)module;
    (void)format;
    (void)args;
    return 1;
}

static TIFF *open_memory(struct memory *m)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, m);
    TIFFOpenOptionsSetWarningHandlerExtR(options, drop_warning, m);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most_bytes);
    TIFF *tiff = TIFFClientOpenExt("image", "rCm", m, memory_read, memory_write, memory_seek, memory_close, memory_size,
                                   NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

/* A compressed block: a strip or a tile. */
struct block {
    size_t left, top, width, height, row_bytes;
    int plane, planes;
};

static void put_block(const struct tiff *t, const struct picture *p, const struct block *b, const uint8_t *rows)
{
    size_t width = b->width < p->width - b->left ? b->width : p->width - b->left;
    size_t height = b->height < t->height - b->top ? b->height : t->height - b->top;
    for (size_t y = 0; y < height; y++) {
        uint8_t *pixel = p->pixels + ((b->top + y) * p->width + b->left) * 4;
        if (b->planes > 1)
            unpack_plane(t, p, rows + y * b->row_bytes, width, b->plane, pixel);
        else
            unpack(t, p, rows + y * b->row_bytes, width, pixel);
    }
}

/* Bits a pixel that Pillow expects of the rows. */
static uint64_t row_bits(const struct tiff *t, const struct picture *p)
{
    return p->rgb_from_lib ? 24 : (uint64_t)(t->bits * t->samples);
}

static bool read_tiles(const struct tiff *t, const struct picture *p, TIFF *tiff, int planes, uint8_t *room)
{
    uint32_t w = 0, h = 0;
    if (!TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &w) || !TIFFGetField(tiff, TIFFTAG_TILELENGTH, &h)) return false;
    struct block b = {.width = w, .height = h, .row_bytes = (size_t)TIFFTileRowSize(tiff), .planes = planes};
    for (b.top = 0; b.top < t->height; b.top += h) {
        for (b.plane = 0; b.plane < planes; b.plane++) {
            for (b.left = 0; b.left < p->width; b.left += w) {
                if (TIFFReadTile(tiff, room, (uint32_t)b.left, (uint32_t)b.top, 0, (uint16_t)b.plane) == -1)
                    return false;
                put_block(t, p, &b, room);
            }
        }
    }
    return true;
}

static uint32_t rows_per_strip(const struct tiff *t, TIFF *tiff)
{
    uint32_t rows = 0;
    return TIFFGetField(tiff, TIFFTAG_ROWSPERSTRIP, &rows) && rows != UINT32_MAX ? rows : (uint32_t)t->height;
}

static bool read_strips(const struct tiff *t, const struct picture *p, TIFF *tiff, int planes, uint8_t *room)
{
    uint32_t rows = rows_per_strip(t, tiff);
    struct block b = {.width = p->width, .height = rows, .row_bytes = (size_t)TIFFScanlineSize(tiff), .planes = planes};
    for (b.top = 0; b.top < t->height; b.top += rows) {
        for (b.plane = 0; b.plane < planes; b.plane++) {
            uint32_t strip = TIFFComputeStrip(tiff, (uint32_t)b.top, (uint16_t)b.plane);
            if (TIFFReadEncodedStrip(tiff, strip, room, TIFFStripSize(tiff)) == -1) return false;
            put_block(t, p, &b, room);
        }
    }
    return true;
}

/* The bytes of a strip or tile, where they are what Pillow expects; 0 otherwise. */
static size_t block_bytes(const struct tiff *t, const struct picture *p, TIFF *tiff, int planes)
{
    uint64_t bits = row_bits(t, p);
    if (TIFFIsTiled(tiff)) {
        uint32_t w = 0, h = 0;
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &w);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &h);
        tmsize_t bytes = TIFFTileSize(tiff), row = TIFFTileRowSize(tiff);
        bool sound = bytes > 0 && row > 0 && row <= bytes && w && h && bytes <= most_bytes &&
                     (uint64_t)bytes <= (h * bits / (uint64_t)planes + 7) / 8 * w &&
                     (uint64_t)row >= (w * bits / (uint64_t)planes + 7) / 8;
        return sound ? (size_t)bytes : 0;
    }
    tmsize_t bytes = TIFFStripSize(tiff), row = TIFFScanlineSize(tiff);
    uint64_t expected = (t->width * bits / (uint64_t)planes + 7) / 8, rows = rows_per_strip(t, tiff);
    bool sound = bytes > 0 && bytes <= most_bytes && rows && rows <= INT32_MAX && row > 0 &&
                 (uint64_t)bytes <= expected * rows && expected <= (uint64_t)row;
    /* The last strip may be shorter than the rows that are taken out of it. */
    return sound ? (size_t)row * (size_t)(rows < t->height ? rows : t->height) : 0;
}

static enum dg_status read_blocks(const struct tiff *t, const struct picture *p, TIFF *tiff, struct dg_error *err)
{
    uint16_t planar = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    int planes = planar == PLANARCONFIG_SEPARATE ? channels_of(t) : 1;
    if (planes > 1 && t->bits != 8 && t->bits != 16) return dg_tiff_refuse(t, err, "channels that stand apart");
    size_t bytes = block_bytes(t, p, tiff, planes);
    if (!bytes) return dg_tiff_refuse(t, err, "strips or tiles of an unexpected size");
    struct dg_scratch room = {0};
    DG_TRY(dg_scratch_reserve(&room, bytes, err));
    memset(room.bytes, 0, bytes);
    bool done = (TIFFIsTiled(tiff) ? read_tiles : read_strips)(t, p, tiff, planes, room.bytes);
    dg_scratch_free(&room);
    if (!done) return dg_tiff_refuse(t, err, "damaged image data");
    /* Pillow, as libtiff, takes a fourth channel that nothing is said of for one that the others are multiplied by. */
    bool divide = planes > 3 && t->mode == TIFF_RGBA && (t->premultiplied || !t->extras);
    for (size_t i = 0; divide && i < p->width * t->height; i++) divide_by_alpha(p->pixels + 4 * i);
    return DG_OK;
}

/* YCbCr, with its subsampling, by libtiff's own conversion. */
static enum dg_status read_as_rgba(const struct tiff *t, const struct picture *p, TIFF *tiff, struct dg_error *err)
{
    TIFFRGBAImage image;
    char message[1024] = "";
    if (!TIFFRGBAImageOK(tiff, message) || !TIFFRGBAImageBegin(&image, tiff, 0, message))
        return dg_tiff_refuse(t, err, message);
    image.orientation = image.req_orientation = ORIENTATION_TOPLEFT;
    uint32_t rows = 0;
    if (!TIFFGetFieldDefaulted(tiff, TIFFIsTiled(tiff) ? TIFFTAG_TILELENGTH : TIFFTAG_ROWSPERSTRIP, &rows) || !rows ||
        rows > t->height)
        rows = (uint32_t)t->height;
    bool done = true;
    for (uint32_t y = 0; y < t->height && done; y += rows) {
        uint32_t count = rows < t->height - y ? rows : (uint32_t)t->height - y;
        image.row_offset = (int)y;
        image.col_offset = 0;
        done = TIFFRGBAImageGet(&image, (uint32_t *)(void *)(p->pixels + (size_t)y * p->width * 4), image.width, count);
    }
    TIFFRGBAImageEnd(&image);
    return done ? DG_OK : dg_tiff_refuse(t, err, "damaged image data");
}

static enum dg_status read_opened(const struct tiff *t, struct picture *p, TIFF *tiff, struct dg_error *err)
{
    uint32_t width = 0, height = 0;
    uint16_t photometric = 0, compression = 0, planar = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    if (width != t->width || height != t->height) return dg_tiff_refuse(t, err, "its sizes differ");
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    TIFFGetField(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    if (photometric != PHOTOMETRIC_YCBCR) return read_blocks(t, p, tiff, err);
    if (compression != COMPRESSION_JPEG || planar != PLANARCONFIG_CONTIG) return read_as_rgba(t, p, tiff, err);
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    return read_blocks(t, p, tiff, err);
}

static enum dg_status read_compressed(struct tiff *t, struct picture *p, struct dg_error *err)
{
    if (!TIFFIsCODECConfigured((uint16_t)t->compression))
        return dg_fail(err, DG_ERR_INPUT, "%s: a TIFF of compression %d, which libtiff lacks here", t->d->name,
                       t->compression);
    bool has_blocks = (dg_tiff_values(t, TIFF_STRIP_OFFSETS).count && dg_tiff_values(t, TIFF_STRIP_SIZES).count) ||
                      (dg_tiff_values(t, TIFF_TILE_OFFSETS).count && dg_tiff_values(t, TIFF_TILE_SIZES).count);
    if (!has_blocks) return dg_tiff_refuse(t, err, "it does not say where its pixels are");
    if (t->photometric == 6) {
        t->mode = TIFF_RGB;
        p->rgb_from_lib = t->compression == TIFF_JPEG && t->planes == 1;
    }
    t->reversed = false; /* libtiff has done so */
    /* It gives samples in the CPU's order; Pillow takes some for big-endian all the same. */
    p->swapped = t->big_endian && (t->bits == 32 || (t->bits == 16 && t->is_signed));
    struct memory memory = {.bytes = t->d->bytes, .size = t->d->size};
    TIFF *tiff = open_memory(&memory);
    enum dg_status status = tiff ? read_opened(t, p, tiff, err) : dg_tiff_refuse(t, err, "libtiff cannot open it");
    if (tiff) TIFFClose(tiff);
    if (status == DG_ERR_INPUT && memory.message[0])
        dg_fail(err, status, "%s: not a TIFF that can be decoded: %s", t->d->name, memory.message);
    return status;
}

/* ---- to RGB ---- */

static enum dg_status read_palette(const struct tiff *t, struct picture *p, struct dg_error *err)
{
    struct tiff_values map = dg_tiff_values(t, TIFF_COLOUR_MAP);
    if (!map.count) return dg_tiff_refuse(t, err, "it has no palette");
    if (map.count / 3 > 256) return dg_tiff_refuse(t, err, "a palette of more than 256 colours");
    p->colours = (int)(map.count / 3);
    for (int i = 0; i < p->colours; i++)
        for (int c = 0; c < 3; c++)
            p->palette[i][c] = (uint8_t)(dg_tiff_value(t, map, (uint64_t)(c * p->colours + i)) / 256);
    return DG_OK;
}

static uint8_t gray_of(const struct tiff *t, const uint8_t *pixel)
{
    int32_t value;
    float real;
    memcpy(&value, pixel, 4);
    memcpy(&real, pixel, 4);
    bool white = t->is_float ? real > 255 : value > 255;
    if (white) t->d->notes |= DG_NOTE_CLIPPED;
    if (t->is_float) return white ? 255 : real > 0 ? (uint8_t)real : 0;
    return white ? 255 : value > 0 ? (uint8_t)value : 0;
}

static uint8_t clipped(int value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

/* In 1/64, rounded as Pillow's tables are. */
static int times(double factor, int value) { return (int)(factor * 64 * value + 0.5); }

static void rgb_from_ycbcr(const uint8_t *pixel, uint8_t *rgb)
{
    int cb = pixel[1] - 128, cr = pixel[2] - 128;
    rgb[0] = clipped(pixel[0] + (times(1.402, cr) >> 6));
    rgb[1] = clipped(pixel[0] + ((times(-0.34414, cb) + times(-0.71414, cr)) >> 6));
    rgb[2] = clipped(pixel[0] + (times(1.772, cb) >> 6));
}

static void convert(const struct tiff *t, const struct picture *p)
{
    uint8_t *rgb = t->d->image->pixels;
    const uint8_t *pixel = p->pixels;
    const int alpha = t->mode == TIFF_RGBA ? 3 : 1; /* its channel, where there is one */
    for (size_t i = 0; i < p->width * t->height; i++, pixel += 4, rgb += 3) {
        if (t->has_alpha && pixel[alpha] != 255) t->d->notes |= DG_NOTE_ALPHA;
        switch (t->mode) {
        case TIFF_GRAY:
        case TIFF_GRAY_ALPHA: memset(rgb, p->wide ? gray_of(t, pixel) : pixel[0], 3); break;
        case TIFF_PALETTE:
            if (pixel[0] >= p->colours) t->d->notes |= DG_NOTE_PALETTE;
            memcpy(rgb, p->palette[pixel[0]], 3);
            break;
        case TIFF_CMYK: dg_rgb_from_cmyk(pixel, rgb, 1); break;
        case TIFF_YCBCR: rgb_from_ycbcr(pixel, rgb); break;
        default: memcpy(rgb, pixel, 3);
        }
    }
}

enum dg_status dg_decode_tiff(struct dg_decoding *d, struct dg_error *err)
{
    struct tiff t = {.d = d};
    DG_TRY(dg_tiff_open(&t, err));
    if (t.mode == TIFF_LAB)
        return dg_tiff_refuse(&t, err, "colours in L*a*b*, which need a colour management; convert it to RGB");
    DG_TRY(dg_decode_reserve(d, (int64_t)t.width, (int64_t)t.height, err));
    struct picture p = {.width = (size_t)t.width, .wide = t.bits > 8 && t.mode == TIFF_GRAY, .swapped = t.big_endian};
    if (t.mode == TIFF_PALETTE) DG_TRY(read_palette(&t, &p, err));
    size_t bytes = p.width * (size_t)t.height * 4;
    DG_TRY(dg_scratch_reserve(d->work, bytes, err));
    p.pixels = d->work->bytes;
    memset(p.pixels, 0, bytes);
    if (t.compression == TIFF_UNCOMPRESSED)
        DG_TRY(read_raw(&t, &p, err));
    else
        DG_TRY(read_compressed(&t, &p, err));
    convert(&t, &p);
    return DG_OK;
}

#endif

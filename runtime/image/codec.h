/* What the decoders of the formats share. Each has one function here, from a file in memory to RGB, which takes and
 * refuses what Pillow's Image.open(path).convert("RGB") takes and refuses, with the same pixels. */
#ifndef DG_RUNTIME_IMAGE_CODEC_H
#define DG_RUNTIME_IMAGE_CODEC_H

#include "runtime/image/image.h"
#include "runtime/image/notes.h"

/* One file on its way. */
struct dg_decoding {
    const char *name; /* in errors */
    const uint8_t *bytes;
    size_t size;
    struct dg_scratch *work; /* may be used as the decoder likes */
    struct dg_image *image;  /* the result */
    unsigned notes;          /* the result: bits of enum dg_image_note */
    int orientation;         /* the result: EXIF's, 1 to 8; 0 where the file does not say */
    bool turns_itself;       /* the result: Pillow turns files of this format without being asked */
};

enum dg_status dg_decode_jpeg(struct dg_decoding *d, struct dg_error *err);
enum dg_status dg_decode_png(struct dg_decoding *d, struct dg_error *err);
enum dg_status dg_decode_bmp(struct dg_decoding *d, struct dg_error *err);
enum dg_status dg_decode_pnm(struct dg_decoding *d, struct dg_error *err);
enum dg_status dg_decode_gif(struct dg_decoding *d, struct dg_error *err);
/* These are there where the build has the library. */
enum dg_status dg_decode_webp(struct dg_decoding *d, struct dg_error *err);
enum dg_status dg_decode_tiff(struct dg_decoding *d, struct dg_error *err);

/* DG_ERR_INPUT: the file ends too early. */
enum dg_status dg_decode_cut_short(const struct dg_decoding *d, struct dg_error *err);
/* dg_image_reserve for the result, with the file's name in the error. */
enum dg_status dg_decode_reserve(struct dg_decoding *d, int64_t width, int64_t height, struct dg_error *err);

/* The orientation in a block of EXIF, without the "Exif\0\0" before it: 1 to 8, or 0 where it says none. */
int dg_exif_orientation(const uint8_t *bytes, size_t size);

/* ---- numbers in files ---- */

static inline unsigned dg_be16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static inline uint32_t dg_be32(const uint8_t *p) { return (uint32_t)dg_be16(p) << 16 | dg_be16(p + 2); }
static inline unsigned dg_le16(const uint8_t *p) { return (unsigned)p[1] << 8 | p[0]; }
static inline uint32_t dg_le32(const uint8_t *p) { return (uint32_t)dg_le16(p + 2) << 16 | dg_le16(p); }

/* ---- rows of pixels, as Pillow's conversion to RGB has them ---- */

static inline void dg_rgb_from_gray(const uint8_t *gray, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = gray[x];
}

/* Through a palette of 256 colours. */
static inline void dg_rgb_from_palette(const uint8_t *index, const uint8_t palette[256][3], uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++)
        for (int c = 0; c < 3; c++) rgb[3 * x + c] = palette[index[x]][c];
}

/* 0 is no ink. */
static inline void dg_rgb_from_cmyk(const uint8_t *cmyk, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) {
        unsigned white = 255u - cmyk[4 * x + 3];
        for (int c = 0; c < 3; c++) {
            unsigned t = cmyk[4 * x + c] * white + 128, ink = ((t >> 8) + t) >> 8;
            rgb[3 * x + c] = (uint8_t)(white > ink ? white - ink : 0);
        }
    }
}

#endif

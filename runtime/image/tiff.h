/* A TIFF's first directory, as Pillow understands it. */
#ifndef DG_RUNTIME_IMAGE_TIFF_H
#define DG_RUNTIME_IMAGE_TIFF_H

#include "runtime/image/codec.h"

enum tiff_mode { TIFF_GRAY, TIFF_GRAY_ALPHA, TIFF_PALETTE, TIFF_RGB, TIFF_RGBA, TIFF_CMYK, TIFF_YCBCR, TIFF_LAB };
/* Tags whose values are asked for with dg_tiff_values; tiff_directory.c has those that it reads itself. */
enum {
    TIFF_STRIP_OFFSETS = 273,
    TIFF_ROWS_PER_STRIP = 278,
    TIFF_STRIP_SIZES = 279,
    TIFF_COLOUR_MAP = 320,
    TIFF_TILE_WIDTH = 322,
    TIFF_TILE_LENGTH = 323,
    TIFF_TILE_OFFSETS = 324,
    TIFF_TILE_SIZES = 325,
    TIFF_TAGS = 19
};
enum { TIFF_UNCOMPRESSED = 1, TIFF_OLD_JPEG = 6, TIFF_JPEG = 7 };

/* The values of a tag. count 0: it is not there, or not of whole numbers. */
struct tiff_values {
    const uint8_t *bytes;
    uint64_t count;
    int size; /* bytes of one: 2, 4 or 8 */
};

struct tiff {
    struct dg_decoding *d;
    bool big_endian, big_tiff;
    struct tiff_values values[TIFF_TAGS];
    bool has_other_types; /* of these tags one whose values are not whole numbers */
    bool several;         /* another one follows */
    uint64_t width, height;
    enum tiff_mode mode;
    int compression, photometric, planes; /* planes: 2 where each channel stands apart */
    int bits;                             /* a sample: 1, 2, 4, 8, 12, 16 or 32 */
    int samples, extras;                  /* a pixel; how many of them mean no colour */
    bool inverted, reversed;              /* 0 is white; the lowest bit of a byte comes first */
    bool is_signed, is_float, premultiplied, has_alpha;
};

/* The values of a tag of the directory. */
struct tiff_values dg_tiff_values(const struct tiff *t, int tag);
uint64_t dg_tiff_value(const struct tiff *t, struct tiff_values values, uint64_t index);
/* The only value of a tag; `missing` where there is none. */
uint64_t dg_tiff_number(const struct tiff *t, int tag, uint64_t missing);

/* Reads the directory and finds how pixels are stored. DG_ERR_INPUT: not as Pillow reads it. */
enum dg_status dg_tiff_open(struct tiff *t, struct dg_error *err);

enum dg_status dg_tiff_refuse(const struct tiff *t, struct dg_error *err, const char *why);

#endif

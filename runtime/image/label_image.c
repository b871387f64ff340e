#include "runtime/image/label_image.h"

#include "runtime/image/libpng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 32768 };

void dg_label_image_free(struct dg_label_image *labels)
{
    free(labels->label);
    *labels = (struct dg_label_image){0};
}

void dg_label_image_davis_palette(uint8_t palette[256][3])
{
    enum { COLOURED = 22 };
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++) {
            int bits = i >> c; /* of every third bit of the number, the lowest is the channel's highest */
            int value = (bits & 1) << 7 | (bits >> 3 & 1) << 6 | (bits >> 6 & 1) << 5;
            if (value == 192) value = 191;
            palette[i][c] = (uint8_t)(i < COLOURED ? value : i);
        }
}

static void take_palette(png_structp png, png_infop info, struct dg_label_image *labels)
{
    png_colorp colour;
    int count = 0;
    labels->has_palette = png_get_PLTE(png, info, &colour, &count) != 0;
    if (!labels->has_palette) dg_label_image_davis_palette(labels->palette);
    for (int c = 0; c < count; c++) {
        const uint8_t rgb[] = {colour[c].red, colour[c].green, colour[c].blue};
        memcpy(labels->palette[c], rgb, 3);
    }
}

/* The part that libpng may leave by longjmp. */
static void read_labels(png_structp png, png_infop info, FILE *stream, struct dg_label_image *labels)
{
    png_init_io(png, stream);
    png_read_info(png, info);
    png_uint_32 width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (type != PNG_COLOR_TYPE_PALETTE && (type != PNG_COLOR_TYPE_GRAY || depth != 8))
        png_error(png, "no labels: those are indices of a palette, or gray of 8 bits");
    if (width > MAX_SIDE || height > MAX_SIDE) png_error(png, "more than 32768 pixels wide or high");
    take_palette(png, info, labels);
    png_set_packing(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    labels->width = (int)width;
    labels->height = (int)height;
    labels->label = calloc(height, width);
    if (!labels->label) png_error(png, "out of memory");
    for (int p = 0; p < passes; p++)
        for (png_uint_32 y = 0; y < height; y++) png_read_row(png, labels->label + (size_t)y * width, NULL);
    png_read_end(png, NULL);
}

enum dg_status dg_label_image_read(const char *path, struct dg_label_image *labels, struct dg_error *err)
{
    char message[DG_LIBPNG_TEXT] = "out of memory";
    dg_label_image_free(labels);
    FILE *stream = fopen(path, "rb");
    if (!stream) return dg_fail(err, DG_ERR_IO, "%s: %s", path, strerror(errno));
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, message, dg_libpng_failed, dg_libpng_silent);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    enum dg_status status = DG_OK;
    if (!info || setjmp(png_jmpbuf(png)))
        status = dg_fail(err, DG_ERR_INPUT, "%s: %s", path, message);
    else
        read_labels(png, info, stream, labels);
    png_destroy_read_struct(&png, &info, NULL);
    fclose(stream);
    if (status != DG_OK) dg_label_image_free(labels);
    return status;
}

int dg_label_image_largest(const struct dg_label_image *labels)
{
    int largest = 0;
    for (int64_t i = 0; i < (int64_t)labels->width * labels->height; i++)
        largest = labels->label[i] > largest ? labels->label[i] : largest;
    return largest;
}

/* Sets from[count] to the source's index for each of the result's; -1: none. */
static void nearest(int size, int count, int *from)
{
    double step = (double)size / count, at = 0.5 * step;
    for (int i = 0; i < count; i++, at += step) from[i] = (int)at < size ? (int)at : -1;
}

void dg_label_image_resize(const uint8_t *label, int width, int height, int to_width, int to_height, uint8_t *out)
{
    int row[MAX_SIDE], col[MAX_SIDE];
    nearest(height, to_height, row);
    nearest(width, to_width, col);
    for (int y = 0; y < to_height; y++)
        for (int x = 0; x < to_width; x++)
            *out++ = row[y] < 0 || col[x] < 0 ? 0 : label[(ptrdiff_t)row[y] * width + col[x]];
}

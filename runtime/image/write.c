#include "runtime/image/write.h"

#include "runtime/base/atomic_file.h"
#include "runtime/image/libpng.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The stream has its own error flag; dg_atomic_commit reports it with the system's reason. */
static void png_sink_write(png_structp png, png_bytep bytes, size_t count)
{
    fwrite(bytes, 1, count, png_get_io_ptr(png));
}

static void png_sink_flush(png_structp png) { (void)png; }

/* What a drawing says of itself, in a chunk of text. */
static char software[] = "Software", program[] = "Dinograph";
static const char mark[] = "tEXtSoftware\0Dinograph";

struct picture {
    const uint8_t *pixels;
    int width, height, channels;
    bool drawing;
    const uint8_t (*palette)[3]; /* [256]: pixels are its indices; NULL: there is none */
};

/* The part that libpng may leave by longjmp. */
static void write_rows(png_structp png, png_infop info, FILE *stream, const struct picture *picture)
{
    int width = picture->width, height = picture->height, channels = picture->channels;
    const png_text text = {.compression = PNG_TEXT_COMPRESSION_NONE, .key = software, .text = program};
    png_set_write_fn(png, stream, png_sink_write, png_sink_flush);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    int type = channels == 3 ? PNG_COLOR_TYPE_RGB : picture->palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY;
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (picture->palette) {
        png_color colour[256];
        for (int c = 0; c < 256; c++)
            colour[c] = (png_color){picture->palette[c][0], picture->palette[c][1], picture->palette[c][2]};
        png_set_PLTE(png, info, colour, 256);
    }
    if (picture->drawing) png_set_text(png, info, &text, 1);
    png_write_info(png, info);
    for (int y = 0; y < height; y++) png_write_row(png, picture->pixels + (size_t)y * (size_t)width * (size_t)channels);
    png_write_end(png, info);
}

/* Writes the file to a stream; `path` is what it is called in errors. */
static enum dg_status encode(FILE *stream, const char *path, const struct picture *picture, struct dg_error *err)
{
    if (picture->width < 1 || picture->height < 1 || (picture->channels != 1 && picture->channels != 3))
        return dg_fail(err, DG_ERR_USAGE, "cannot write %s: an image of %d x %d pixels and %d channels", path,
                       picture->width, picture->height, picture->channels);
    char message[DG_LIBPNG_TEXT] = "out of memory";
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, dg_libpng_failed, dg_libpng_silent);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    enum dg_status status = DG_OK;
    if (!info || setjmp(png_jmpbuf(png)))
        status = dg_fail(err, DG_ERR_IO, "cannot write %s: libpng: %s", path, message);
    else
        write_rows(png, info, stream, picture);
    png_destroy_write_struct(&png, &info);
    return status;
}

static enum dg_status write_picture(const char *path, const struct picture *picture, struct dg_error *err)
{
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(path, &file, err));
    enum dg_status status = encode(file.stream, path, picture, err);
    if (status == DG_OK) return dg_atomic_commit(&file, err);
    dg_atomic_abandon(&file);
    return status;
}

enum dg_status dg_image_encode_png(const uint8_t *pixels, int width, int height, int channels, char **bytes,
                                   size_t *size, struct dg_error *err)
{
    *bytes = NULL;
    FILE *stream = open_memstream(bytes, size);
    if (!stream) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status =
        encode(stream, "a picture", &(struct picture){pixels, width, height, channels, false, NULL}, err);
    if (fclose(stream) && status == DG_OK) status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) return DG_OK;
    free(*bytes);
    *bytes = NULL;
    return status;
}

enum dg_status dg_image_write_png(const char *path, const uint8_t *pixels, int width, int height, int channels,
                                  struct dg_error *err)
{
    return write_picture(path, &(struct picture){pixels, width, height, channels, false, NULL}, err);
}

enum dg_status dg_image_write_labels(const char *path, const uint8_t *label, int width, int height,
                                     const uint8_t palette[256][3], struct dg_error *err)
{
    return write_picture(path, &(struct picture){label, width, height, 1, false, palette}, err);
}

enum dg_status dg_image_write_drawing(const char *path, const uint8_t *pixels, int width, int height,
                                      struct dg_error *err)
{
    return write_picture(path, &(struct picture){pixels, width, height, 3, true, NULL}, err);
}

bool dg_image_is_drawing(const void *head, size_t size)
{
    static const char png[] = "\x89PNG";
    return size > sizeof png && !memcmp(head, png, sizeof png - 1) && memmem(head, size, mark, sizeof mark - 1);
}

#include "runtime/image/decode.h"

#include "runtime/image/codec.h"
#include "runtime/image/format.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void dg_image_decoder_free(struct dg_image_decoder *decoder)
{
    dg_scratch_free(&decoder->file);
    dg_scratch_free(&decoder->work);
}

/* ---- orientation ---- */

/* Where pixel (x, y) of a turned image of width x height comes from, as an index into the image as it was. */
static size_t turned_from(int orientation, size_t x, size_t y, size_t width, size_t height)
{
    bool columns_are_rows = orientation >= 5;
    size_t old_x = columns_are_rows ? y : x, old_y = columns_are_rows ? x : y;
    size_t old_width = columns_are_rows ? height : width, old_height = columns_are_rows ? width : height;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) old_x = old_width - 1 - old_x;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) old_y = old_height - 1 - old_y;
    return old_y * old_width + old_x;
}

/* Turns the image as EXIF's orientation, 2 to 8, says it is to be shown. */
static enum dg_status turn(struct dg_decoding *d, struct dg_error *err)
{
    struct dg_image *image = d->image;
    size_t width = (size_t)image->width, height = (size_t)image->height;
    DG_TRY(dg_scratch_reserve(d->work, width * height * 3, err));
    memcpy(d->work->bytes, image->pixels, width * height * 3);
    if (d->orientation >= 5) {
        width = (size_t)image->height;
        height = (size_t)image->width;
        image->width = (int)width;
        image->height = (int)height;
    }
    const uint8_t *from = d->work->bytes;
    uint8_t *to = image->pixels;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++, to += 3)
            memcpy(to, from + 3 * turned_from(d->orientation, x, y, width, height), 3);
    return DG_OK;
}

/* ---- by content ---- */

static enum dg_status decode(struct dg_decoding *d, struct dg_error *err)
{
    enum dg_image_format format = dg_image_format(d->bytes, d->size);
    switch (format) {
    case DG_FORMAT_JPEG: return dg_decode_jpeg(d, err);
    case DG_FORMAT_PNG: return dg_decode_png(d, err);
    case DG_FORMAT_BMP: return dg_decode_bmp(d, err);
    case DG_FORMAT_PNM: return dg_decode_pnm(d, err);
    case DG_FORMAT_GIF: return dg_decode_gif(d, err);
#if DG_HAVE_WEBP
    case DG_FORMAT_WEBP: return dg_decode_webp(d, err);
#endif
#if DG_HAVE_TIFF
    case DG_FORMAT_TIFF: return dg_decode_tiff(d, err);
#endif
    default:
        return dg_fail(err, DG_ERR_INPUT, "%s: the file is %s, which is not read here: %s", d->name,
                       dg_image_format_name(format), dg_image_format_advice(format));
    }
}

enum dg_status dg_image_decode_memory(struct dg_image_decoder *decoder, const char *name, const void *bytes,
                                      size_t size, struct dg_image *image, struct dg_error *err)
{
    decoder->notes = 0;
    if (size == 0) return dg_fail(err, DG_ERR_INPUT, "%s: the file is empty", name);
    struct dg_decoding d = {.name = name, .bytes = bytes, .size = size, .work = &decoder->work, .image = image};
    DG_TRY(decode(&d, err));
    bool turns = d.orientation >= 2 && (decoder->turns || d.turns_itself);
    if (turns) DG_TRY(turn(&d, err));
    decoder->notes = d.notes | (d.orientation >= 2 && !turns ? DG_NOTE_TURNED : 0);
    if (decoder->noted && decoder->notes) dg_image_notes_add(decoder->noted, name, decoder->notes);
    return DG_OK;
}

enum dg_status dg_image_decoder_reserve(struct dg_image_decoder *decoder, const char *path, int64_t size,
                                        struct dg_error *err)
{
    if (size > DG_IMAGE_MAX_FILE_BYTES)
        return dg_fail(err, DG_ERR_INPUT, "%s: a file of %lld bytes; the limit is %lld", path, (long long)size,
                       (long long)DG_IMAGE_MAX_FILE_BYTES);
    return dg_scratch_reserve(&decoder->file, size ? (size_t)size : 1, err);
}

static enum dg_status read_descriptor(int fd, const char *path, struct dg_image_decoder *decoder, size_t *size,
                                      struct dg_error *err)
{
    struct stat about;
    if (fstat(fd, &about)) return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode)) return dg_fail(err, DG_ERR_INPUT, "%s: not a regular file", path);
    DG_TRY(dg_image_decoder_reserve(decoder, path, about.st_size, err));
    size_t expected = (size_t)about.st_size, have = 0;
    while (have < expected) {
        ssize_t got = read(fd, (char *)decoder->file.bytes + have, expected - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (got == 0) break; /* the file shrank; the decoder will report it */
        have += (size_t)got;
    }
    *size = have;
    return DG_OK;
}

enum dg_status dg_image_decode_file(struct dg_image_decoder *decoder, const char *path, struct dg_image *image,
                                    struct dg_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a FIFO must not hang us */
    if (fd < 0) return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    size_t size = 0;
    enum dg_status status = read_descriptor(fd, path, decoder, &size, err);
    close(fd);
    if (status != DG_OK) return status;
    return dg_image_decode_memory(decoder, path, decoder->file.bytes, size, image, err);
}

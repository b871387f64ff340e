#include "runtime/image/decode.h"

#include "runtime/image/format.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>

#include <jerror.h>
#include <png.h>

/* Usual progressive files have about ten scans; each one costs a pass over the whole image. */
enum { MAX_SCANS = 500 };

void dg_image_decoder_free(struct dg_image_decoder *decoder)
{
    dg_scratch_free(&decoder->file);
    dg_scratch_free(&decoder->row);
}

static enum dg_status cut_short(const char *name, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: the file is cut short; copy or download it again", name);
}

static enum dg_status reserve_pixels(struct dg_image *image, int64_t width, int64_t height, const char *name,
                                     struct dg_error *err)
{
    enum dg_status status = dg_image_reserve(image, width, height, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", name);
    return status;
}

/* ---- JPEG ---- */

struct jpeg_job {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf failed;
    char message[JMSG_LENGTH_MAX];
    bool out_of_memory;
};

static void jpeg_failed(j_common_ptr info)
{
    struct jpeg_job *job = info->client_data;
    job->out_of_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
    info->err->format_message(info, job->message);
    longjmp(job->failed, 1);
}

/* Warnings (stray bytes, a damaged segment) do not stop Pillow, so they do not stop this decoder. */
static void jpeg_silent_message(j_common_ptr info, int level)
{
    (void)info;
    (void)level;
}

static void jpeg_silent(j_common_ptr info) { (void)info; }

static void jpeg_count_scans(j_common_ptr info)
{
    struct jpeg_job *job = info->client_data;
    if (job->info.input_scan_number <= MAX_SCANS) return;
    snprintf(job->message, sizeof job->message, "more than %d scans", MAX_SCANS);
    longjmp(job->failed, 1);
}

/* The whole file is in memory, so libjpeg asks for more only if the file is cut short: it then suspends. */
static void jpeg_source_nothing(j_decompress_ptr info) { (void)info; }
static boolean jpeg_source_empty(j_decompress_ptr info)
{
    (void)info;
    return FALSE;
}
static void jpeg_source_skip(j_decompress_ptr info, long count)
{
    if (count <= 0) return;
    size_t step = (size_t)count < info->src->bytes_in_buffer ? (size_t)count : info->src->bytes_in_buffer;
    info->src->next_input_byte += step;
    info->src->bytes_in_buffer -= step;
}

static uint8_t divide_255(unsigned a, unsigned b) /* a * b / 255, rounded */
{
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Adobe writes inverted CMYK; Pillow reads every four-channel JPEG so. */
static void rgb_from_inverted_cmyk(const uint8_t *cmyk, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) {
        uint8_t white = cmyk[4 * x + 3];
        for (int c = 0; c < 3; c++)
            rgb[3 * x + c] = (uint8_t)(white - divide_255((uint8_t)(255 - cmyk[4 * x + c]), white));
    }
}

static void rgb_from_gray(const uint8_t *gray, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = gray[x];
}

/* The part that libjpeg may leave by longjmp. */
static enum dg_status read_jpeg(struct dg_image_decoder *decoder, struct jpeg_job *job, const char *name,
                                struct dg_image *image, struct dg_error *err)
{
    struct jpeg_decompress_struct *info = &job->info;
    jpeg_create_decompress(info);
    info->src = &job->source;
    info->progress = &job->progress;
    if (jpeg_read_header(info, TRUE) == JPEG_SUSPENDED) return cut_short(name, err);
    switch (info->num_components) {
    case 1: info->out_color_space = JCS_GRAYSCALE; break;
    case 3: info->out_color_space = JCS_RGB; break;
    case 4: info->out_color_space = JCS_CMYK; break;
    default:
        return dg_fail(err, DG_ERR_INPUT, "%s: a JPEG of %d channels; expected 1, 3 or 4", name, info->num_components);
    }
    DG_TRY(reserve_pixels(image, info->image_width, info->image_height, name, err));
    DG_TRY(dg_scratch_reserve(&decoder->row, (size_t)info->image_width * 4, err));
    if (!jpeg_start_decompress(info)) return cut_short(name, err);
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = image->pixels + (size_t)info->output_scanline * (size_t)image->width * 3;
        JSAMPROW row = info->num_components == 3 ? rgb : decoder->row.bytes;
        if (jpeg_read_scanlines(info, &row, 1) != 1) return cut_short(name, err);
        if (info->num_components == 1) rgb_from_gray(row, rgb, image->width);
        if (info->num_components == 4) rgb_from_inverted_cmyk(row, rgb, image->width);
    }
    return DG_OK;
}

static enum dg_status decode_jpeg(struct dg_image_decoder *decoder, const char *name, const void *bytes, size_t size,
                                  struct dg_image *image, struct dg_error *err)
{
    struct jpeg_job job;
    memset(&job, 0, sizeof job);
    job.info.err = jpeg_std_error(&job.errors);
    job.info.client_data = &job;
    job.errors.error_exit = jpeg_failed;
    job.errors.emit_message = jpeg_silent_message;
    job.errors.output_message = jpeg_silent;
    job.progress.progress_monitor = jpeg_count_scans;
    job.source = (struct jpeg_source_mgr){
        .next_input_byte = bytes,
        .bytes_in_buffer = size,
        .init_source = jpeg_source_nothing,
        .fill_input_buffer = jpeg_source_empty,
        .skip_input_data = jpeg_source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = jpeg_source_nothing,
    };
    enum dg_status status;
    if (setjmp(job.failed)) {
        status = job.out_of_memory ? DG_ERR_MEMORY : DG_ERR_INPUT;
        dg_fail(err, status, "%s: not a JPEG that can be decoded: %s", name, job.message);
    } else {
        status = read_jpeg(decoder, &job, name, image, err);
    }
    jpeg_destroy_decompress(&job.info);
    return status;
}

/* ---- PNG ---- */

struct png_job {
    png_structp png;
    png_infop info;
    const uint8_t *next;
    size_t left;
    bool cut_short;
    char message[128];
};

static void png_failed(png_structp png, png_const_charp message)
{
    struct png_job *job = png_get_error_ptr(png);
    snprintf(job->message, sizeof job->message, "%s", message);
    png_longjmp(png, 1);
}

static void png_silent(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void png_source_read(png_structp png, png_bytep out, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->left) {
        job->cut_short = true;
        png_error(png, "end of file");
    }
    memcpy(out, job->next, count);
    job->next += count;
    job->left -= count;
}

/* The RGB of each value of a one-channel image. */
static void png_colour_table(const struct png_job *job, int colour_type, int depth, uint8_t table[256][3])
{
    int step = depth == 1 ? 255 : depth == 2 ? 85 : depth == 4 ? 17 : 1;
    if (colour_type == PNG_COLOR_TYPE_PALETTE) step = 1; /* entries that the palette lacks are grays, as in Pillow */
    for (int v = 0; v < 256; v++) table[v][0] = table[v][1] = table[v][2] = (uint8_t)(v * step);
    if (colour_type != PNG_COLOR_TYPE_PALETTE) return;
    png_colorp palette = NULL;
    int count = 0;
    png_get_PLTE(job->png, job->info, &palette, &count);
    for (int v = 0; v < count && v < 256; v++) {
        table[v][0] = palette[v].red;
        table[v][1] = palette[v].green;
        table[v][2] = palette[v].blue;
    }
}

/* The part that libpng may leave by longjmp. */
static enum dg_status read_png(struct png_job *job, const char *name, struct dg_image *image, struct dg_error *err)
{
    png_structp png = job->png;
    png_set_user_limits(png, PNG_UINT_31_MAX,
                        PNG_UINT_31_MAX); /* DG_IMAGE_MAX_PIXELS is the limit, with its own message */
    png_set_read_fn(png, job, png_source_read);
    png_read_info(png, job->info);
    DG_TRY(reserve_pixels(image, png_get_image_width(png, job->info), png_get_image_height(png, job->info), name, err));

    int colour_type = png_get_color_type(png, job->info), depth = png_get_bit_depth(png, job->info);
    bool colour = colour_type == PNG_COLOR_TYPE_RGB || colour_type == PNG_COLOR_TYPE_RGB_ALPHA;
    bool wide_gray = colour_type == PNG_COLOR_TYPE_GRAY && depth == 16;
    if (depth < 8) png_set_packing(png);
    if (depth == 16 && !wide_gray) png_set_strip_16(png);
    if (colour_type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, job->info);

    /* Rows of fewer than 3 bytes a pixel are read to the end of their place and expanded forwards, in place. */
    size_t width = (size_t)image->width, row_bytes = width * (colour ? 3 : wide_gray ? 2 : 1);
    if (png_get_rowbytes(png, job->info) != row_bytes)
        return dg_fail(err, DG_ERR_INTERNAL, "%s: libpng announces rows of another size; please report", name);
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < image->height; y++)
            png_read_row(png, image->pixels + ((size_t)y + 1) * width * 3 - row_bytes, NULL);
    }
    if (colour) return DG_OK;
    uint8_t table[256][3];
    png_colour_table(job, colour_type, depth, table);
    for (int y = 0; y < image->height; y++) {
        uint8_t *rgb = image->pixels + (size_t)y * width * 3;
        const uint8_t *in = rgb + width * 3 - row_bytes;
        for (size_t x = 0; x < width; x++) {
            uint8_t value = !wide_gray ? in[x] : in[2 * x] ? 255 : in[2 * x + 1];
            memcpy(rgb + 3 * x, table[value], 3);
        }
    }
    return DG_OK;
}

static enum dg_status decode_png(const char *name, const void *bytes, size_t size, struct dg_image *image,
                                 struct dg_error *err)
{
    struct png_job job = {.next = bytes, .left = size};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, png_failed, png_silent);
    if (job.png) job.info = png_create_info_struct(job.png);
    enum dg_status status;
    if (!job.info)
        status = dg_fail(err, DG_ERR_MEMORY, "%s: libpng cannot start: %s", name, job.message);
    else if (setjmp(png_jmpbuf(job.png)))
        status = job.cut_short ? cut_short(name, err)
                               : dg_fail(err, DG_ERR_INPUT, "%s: not a PNG that can be decoded: %s", name, job.message);
    else
        status = read_png(&job, name, image, err);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    return status;
}

/* ---- by content ---- */

enum dg_status dg_image_decode_memory(struct dg_image_decoder *decoder, const char *name, const void *bytes,
                                      size_t size, struct dg_image *image, struct dg_error *err)
{
    if (size == 0) return dg_fail(err, DG_ERR_INPUT, "%s: the file is empty", name);
    enum dg_image_format format = dg_image_format(bytes, size);
    switch (format) {
    case DG_FORMAT_JPEG: return decode_jpeg(decoder, name, bytes, size, image, err);
    case DG_FORMAT_PNG: return decode_png(name, bytes, size, image, err);
    default:
        return dg_fail(err, DG_ERR_INPUT, "%s: the file is %s, which is not read here: %s", name,
                       dg_image_format_name(format), dg_image_format_advice(format));
    }
}

static enum dg_status read_descriptor(int fd, const char *path, struct dg_scratch *file, size_t *size,
                                      struct dg_error *err)
{
    struct stat about;
    if (fstat(fd, &about)) return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode)) return dg_fail(err, DG_ERR_INPUT, "%s: not a regular file", path);
    if (about.st_size > DG_IMAGE_MAX_FILE_BYTES)
        return dg_fail(err, DG_ERR_INPUT, "%s: a file of %lld bytes; the limit is %lld", path, (long long)about.st_size,
                       (long long)DG_IMAGE_MAX_FILE_BYTES);
    size_t expected = (size_t)about.st_size, have = 0;
    DG_TRY(dg_scratch_reserve(file, expected ? expected : 1, err));
    while (have < expected) {
        ssize_t got = read(fd, (char *)file->bytes + have, expected - have);
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
    enum dg_status status = read_descriptor(fd, path, &decoder->file, &size, err);
    close(fd);
    if (status != DG_OK) return status;
    return dg_image_decode_memory(decoder, path, decoder->file.bytes, size, image, err);
}

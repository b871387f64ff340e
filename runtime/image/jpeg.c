/* JPEG by libjpeg-turbo. Before that, the headers are walked as Pillow walks them, since it refuses files there that
 * libjpeg would take. */
#include "runtime/image/codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Usual progressive files have about ten scans; each one costs a pass over the whole image. */
enum { MAX_SCANS = 500 };

/* ---- headers ---- */

/* What Pillow learns from the headers. */
struct jpeg_headers {
    int width, height, channels;
    size_t shortest_profile; /* of the segments of a colour profile; SIZE_MAX: there is none */
    struct {                 /* EXIF may come in several segments, which are one block */
        const uint8_t *bytes;
        size_t size;
    } exif;
};

static enum dg_status refuse(const struct dg_decoding *d, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a JPEG that can be decoded: %s", d->name, why);
}

static bool begins(const uint8_t *bytes, size_t size, const char *text, size_t length)
{
    return size >= length && !memcmp(bytes, text, length);
}

/* Photoshop's blocks: Pillow fails where one ends between its kind and its name. */
static bool photoshop_is_sound(const uint8_t *s, size_t size)
{
    size_t at = 14;
    while (at + 4 <= size && !memcmp(s + at, "8BIM", 4)) {
        at += 4;
        if (at + 2 > size) return true; /* it takes this end */
        at += 2;
        if (at >= size) return false;
        at += 1u + s[at];
        at += at & 1;
        if (at + 4 > size) return true;
        at += 4 + (size_t)dg_be32(s + at);
        at += at & 1;
    }
    return true;
}

static const char *read_application_segment(struct jpeg_headers *h, int marker, const uint8_t *s, size_t size)
{
    if (marker == 0xe0 && begins(s, size, "JFIF", 4) && size < 7) return "a JFIF segment that is too short";
    if (marker == 0xe1 && begins(s, size, "Exif\0\0", 6) && !h->exif.bytes) {
        h->exif.bytes = s + 6;
        h->exif.size = size - 6;
    }
    if (marker == 0xe2 && begins(s, size, "ICC_PROFILE\0", 12) && size < h->shortest_profile)
        h->shortest_profile = size;
    if (marker == 0xed && begins(s, size, "Photoshop 3.0\0", 14) && !photoshop_is_sound(s, size))
        return "a Photoshop segment that is too short";
    if (marker == 0xee && begins(s, size, "Adobe", 5) && size < 7) return "an Adobe segment that is too short";
    return NULL;
}

static const char *read_frame_segment(struct jpeg_headers *h, const uint8_t *s, size_t size)
{
    if (size < 6 || size % 3) return "a frame header of a wrong length";
    h->height = (int)dg_be16(s + 1);
    h->width = (int)dg_be16(s + 3);
    h->channels = s[5];
    if (s[0] != 8) return s[0] == 12 ? "12 bits a channel; convert it to 8 bits" : "not 8 bits a channel";
    if (h->channels != 1 && h->channels != 3 && h->channels != 4) return "expected 1, 3 or 4 channels";
    if (h->shortest_profile < 14) return "a colour profile that is too short";
    return NULL;
}

static const char *check_tables_segment(const uint8_t *s, size_t size)
{
    while (size) {
        size_t length = 1 + (s[0] / 16 ? 128 : 64);
        if (size < length) return "a quantization table that is too short";
        s += length;
        size -= length;
    }
    return NULL;
}

/* One segment; NULL where it is sound. */
static const char *read_segment(struct jpeg_headers *h, int marker, const uint8_t *s, size_t size)
{
    bool frame =
        (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) || marker == 0xde;
    if (frame) return read_frame_segment(h, s, size);
    if (marker == 0xdb) return check_tables_segment(s, size);
    if (marker >= 0xe0 && marker <= 0xef) return read_application_segment(h, marker, s, size);
    return NULL;
}

static bool has_no_segment(int marker)
{
    return marker == 0xc8 || (marker >= 0xd0 && marker <= 0xd9) || (marker >= 0xf0 && marker <= 0xfd);
}

static enum dg_status read_headers(const struct dg_decoding *d, struct jpeg_headers *h, struct dg_error *err)
{
    const uint8_t *bytes = d->bytes;
    bool after_ff = true; /* of the marker that the file's third byte begins */
    for (size_t at = 3; at < d->size;) {
        int marker = bytes[at++];
        if (!after_ff || marker == 0xff) { /* bytes between segments are passed over */
            after_ff = marker == 0xff;
            continue;
        }
        after_ff = false;
        if (marker == 0) continue;
        if (marker < 0xc0) return refuse(d, err, "no marker found");
        if (has_no_segment(marker)) continue;
        if (d->size - at < 2) return dg_decode_cut_short(d, err);
        size_t length = dg_be16(bytes + at);
        at += 2;
        size_t size = length > 2 ? length - 2 : 0;
        if (size > d->size - at) return dg_decode_cut_short(d, err);
        const char *wrong = read_segment(h, marker, bytes + at, size);
        if (wrong) return refuse(d, err, wrong);
        if (marker == 0xda) return h->channels ? DG_OK : refuse(d, err, "it has no frame header");
        at += size;
    }
    return dg_decode_cut_short(d, err);
}

/* ---- pixels ---- */

struct jpeg_job {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf failed;
    char message[JMSG_LENGTH_MAX];
    bool out_of_memory, damaged;
    bool ends_itself; /* where the file ends, an end marker is put in */
};

static void jpeg_failed(j_common_ptr info)
{
    struct jpeg_job *job = info->client_data;
    job->out_of_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
    info->err->format_message(info, job->message);
    longjmp(job->failed, 1);
}

/* Warnings do not stop Pillow, so they do not stop this decoder; those of lost pixels are remembered. */
static void jpeg_message(j_common_ptr info, int level)
{
    struct jpeg_job *job = info->client_data;
    if (level >= 0) return;
    switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_JPEG_EOF: job->damaged = true;
    }
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
    static const JOCTET end[] = {0xff, JPEG_EOI};
    struct jpeg_job *job = info->client_data;
    if (!job->ends_itself) return FALSE;
    info->src->next_input_byte = end;
    info->src->bytes_in_buffer = sizeof end;
    return TRUE;
}
static void jpeg_source_skip(j_decompress_ptr info, long count)
{
    if (count <= 0) return;
    size_t step = (size_t)count < info->src->bytes_in_buffer ? (size_t)count : info->src->bytes_in_buffer;
    info->src->next_input_byte += step;
    info->src->bytes_in_buffer -= step;
}

/* Adobe writes inverted CMYK; Pillow reads every four-channel JPEG so. */
static void rgb_from_inverted_cmyk(uint8_t *cmyk, uint8_t *rgb, int width)
{
    for (int i = 0; i < 4 * width; i++) cmyk[i] = (uint8_t)~cmyk[i];
    dg_rgb_from_cmyk(cmyk, rgb, width);
}

/* The part that libjpeg may leave by longjmp. *cut: the file ends too early. */
static enum dg_status read_pixels(struct dg_decoding *d, const struct jpeg_headers *h, struct jpeg_job *job, bool *cut,
                                  struct dg_error *err)
{
    struct jpeg_decompress_struct *info = &job->info;
    jpeg_create_decompress(info);
    info->src = &job->source;
    info->progress = &job->progress;
    *cut = true;
    if (jpeg_read_header(info, TRUE) == JPEG_SUSPENDED) return DG_OK;
    if ((int)info->image_width != h->width || (int)info->image_height != h->height ||
        info->num_components != h->channels)
        return refuse(d, err, "its frame headers differ");
    info->out_color_space = h->channels == 1 ? JCS_GRAYSCALE : h->channels == 3 ? JCS_RGB : JCS_CMYK;
    DG_TRY(dg_scratch_reserve(d->work, (size_t)h->width * 4, err));
    if (!jpeg_start_decompress(info)) return DG_OK;
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = d->image->pixels + (size_t)info->output_scanline * (size_t)h->width * 3;
        JSAMPROW row = h->channels == 3 ? rgb : d->work->bytes;
        if (jpeg_read_scanlines(info, &row, 1) != 1) return DG_OK;
        if (h->channels == 1) dg_rgb_from_gray(row, rgb, h->width);
        if (h->channels == 4) rgb_from_inverted_cmyk(row, rgb, h->width);
    }
    *cut = false;
    jpeg_finish_decompress(info); /* Pillow minds its errors, and does not mind if the end is not there */
    return DG_OK;
}

static enum dg_status run_job(struct dg_decoding *d, const struct jpeg_headers *h, struct jpeg_job *job, bool *cut,
                              struct dg_error *err)
{
    memset(job->message, 0, sizeof job->message);
    job->info.err = jpeg_std_error(&job->errors);
    job->info.client_data = job;
    job->errors.error_exit = jpeg_failed;
    job->errors.emit_message = jpeg_message;
    job->errors.output_message = jpeg_silent;
    job->progress.progress_monitor = jpeg_count_scans;
    job->source = (struct jpeg_source_mgr){
        .next_input_byte = d->bytes,
        .bytes_in_buffer = d->size,
        .init_source = jpeg_source_nothing,
        .fill_input_buffer = jpeg_source_empty,
        .skip_input_data = jpeg_source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = jpeg_source_nothing,
    };
    enum dg_status status;
    if (setjmp(job->failed)) {
        status = job->out_of_memory ? DG_ERR_MEMORY : DG_ERR_INPUT;
        dg_fail(err, status, "%s: not a JPEG that can be decoded: %s", d->name, job->message);
    } else {
        status = read_pixels(d, h, job, cut, err);
    }
    jpeg_destroy_decompress(&job->info);
    return status;
}

enum dg_status dg_decode_jpeg(struct dg_decoding *d, struct dg_error *err)
{
    struct jpeg_headers h = {.shortest_profile = SIZE_MAX};
    DG_TRY(read_headers(d, &h, err));
    DG_TRY(dg_decode_reserve(d, h.width, h.height, err));
    d->orientation = dg_exif_orientation(h.exif.bytes, h.exif.size);
    struct jpeg_job job = {0};
    bool cut = false;
    DG_TRY(run_job(d, &h, &job, &cut, err));
    if (job.damaged) d->notes |= DG_NOTE_LOST;
    if (!cut) return DG_OK;
    /* Is it the end marker alone that is missing? Pillow refuses that, too, but a new copy would not help. */
    struct jpeg_job ended = {.ends_itself = true};
    struct dg_error unused = {0};
    if (run_job(d, &h, &ended, &cut, &unused) == DG_OK && !cut && !ended.damaged)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: all pixels are there, but the JPEG's end marker is missing, which Pillow refuses, too; put "
                       "it there: printf '\\377\\331' >> FILE",
                       d->name);
    return dg_decode_cut_short(d, err);
}

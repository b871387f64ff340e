#include "runtime/video/frames.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum dg_status no_memory(struct dg_error *err) { return dg_fail(err, DG_ERR_MEMORY, "out of memory"); }

/* ---- a folder ---- */

static int is_frame(const struct dirent *entry)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(entry->d_name, '.');
    for (size_t e = 0; dot && *entry->d_name != '.' && e < sizeof endings / sizeof *endings; e++)
        if (!strcasecmp(dot, endings[e])) return 1;
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

enum dg_status dg_list_frames(const char *folder, char ***names, int *count, struct dg_error *err)
{
    struct dirent **entry;
    int found = scandir(folder, &entry, is_frame, by_name);
    *names = NULL;
    *count = 0;
    if (found < 0) return dg_fail(err, DG_ERR_IO, "%s: %s", folder, strerror(errno));
    enum dg_status status = DG_OK;
    if (!found) status = dg_fail(err, DG_ERR_INPUT, "%s has no frames (files that end in .jpg or .png)", folder);
    if (found) *names = calloc((size_t)found, sizeof **names);
    for (int i = 0; i < found; i++) {
        if (*names) (*names)[i] = strdup(entry[i]->d_name);
        if (!*names || !(*names)[i]) status = no_memory(err);
        free(entry[i]);
    }
    free(entry);
    if (*names) *count = found;
    return status;
}

/* ---- frames ---- */

struct dg_frames {
    FILE *pipe; /* NULL: a folder */
    char *folder, **names;
    int count, next;
    char name[512];
    struct dg_image_decoder decoder;
    uint8_t *bytes; /* of the pipe's frame */
    size_t size, capacity;
};

enum dg_status dg_frames_open(const char *path, FILE *pipe, struct dg_frames **frames, struct dg_error *err)
{
    struct dg_frames *f = *frames = calloc(1, sizeof *f);
    if (!f) return no_memory(err);
    enum dg_status status = DG_OK;
    if (!strcmp(path, "-")) {
        f->pipe = pipe;
    } else {
        f->folder = strdup(path);
        status = f->folder ? dg_list_frames(path, &f->names, &f->count, err) : no_memory(err);
    }
    if (status == DG_OK) return DG_OK;
    dg_frames_close(f);
    *frames = NULL;
    return status;
}

void dg_frames_close(struct dg_frames *f)
{
    if (!f) return;
    for (int i = 0; i < f->count; i++) free(f->names[i]);
    free(f->names);
    free(f->folder);
    free(f->bytes);
    dg_image_decoder_free(&f->decoder);
    free(f);
}

int dg_frames_count(const struct dg_frames *f) { return f->count; }

static enum dg_status cut_short(const struct dg_frames *f, struct dg_error *err)
{
    if (ferror(f->pipe)) return dg_fail(err, DG_ERR_IO, "frame %d of the pipe: %s", f->next, strerror(errno));
    return dg_fail(err, DG_ERR_INPUT, "frame %d of the pipe is cut short", f->next);
}

/* Reads so many bytes more of the pipe's frame. */
static enum dg_status read_more(struct dg_frames *f, size_t count, struct dg_error *err)
{
    if (f->size + count > DG_IMAGE_MAX_FILE_BYTES)
        return dg_fail(err, DG_ERR_INPUT, "frame %d of the pipe is larger than a file may be", f->next);
    if (f->size + count > f->capacity) {
        size_t capacity = f->size + count + 4096; /* a head is read byte by byte */
        uint8_t *grown = realloc(f->bytes, capacity);
        if (!grown) return no_memory(err);
        f->bytes = grown;
        f->capacity = capacity;
    }
    if (fread(f->bytes + f->size, 1, count, f->pipe) != count) return cut_short(f, err);
    f->size += count;
    return DG_OK;
}

/* A number of a PPM's head, after blanks and comments, with the byte behind it. */
static enum dg_status read_number(struct dg_frames *f, int64_t *number, struct dg_error *err)
{
    *number = -1;
    for (bool comment = false;;) {
        DG_TRY(read_more(f, 1, err));
        uint8_t c = f->bytes[f->size - 1];
        if (*number < 0 && (comment || c == '#')) {
            comment = c != '\n';
        } else if (isdigit(c)) {
            *number = dg_max_i64(*number, 0) * 10 + (c - '0');
            if (*number > DG_IMAGE_MAX_PIXELS)
                return dg_fail(err, DG_ERR_INPUT, "frame %d of the pipe is too large", f->next);
        } else if (!isspace(c)) {
            return dg_fail(err, DG_ERR_INPUT, "frame %d of the pipe: damaged", f->next);
        } else if (*number >= 0) {
            return DG_OK;
        }
    }
}

static enum dg_status read_ppm(struct dg_frames *f, struct dg_error *err)
{
    int64_t width, height, most;
    DG_TRY(read_number(f, &width, err));
    DG_TRY(read_number(f, &height, err));
    DG_TRY(read_number(f, &most, err));
    if (width * height > DG_IMAGE_MAX_PIXELS) /* each is below 2^28 */
        return dg_fail(err, DG_ERR_INPUT, "frame %d of the pipe is too large", f->next);
    return read_more(f, (size_t)(width * height) * (most > 255 ? 6 : 3), err);
}

static enum dg_status read_png(struct dg_frames *f, struct dg_error *err)
{
    for (bool end = false; !end;) {
        size_t head = f->size;
        DG_TRY(read_more(f, 8, err));
        const uint8_t *at = f->bytes + head;
        size_t size = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        end = !memcmp(at + 4, "IEND", 4);
        DG_TRY(read_more(f, size + 4, err)); /* data, checksum */
    }
    return DG_OK;
}

/* Reads the bytes of the pipe's next frame; f->size is 0 where it has ended. */
static enum dg_status read_frame(struct dg_frames *f, struct dg_error *err)
{
    int first = fgetc(f->pipe);
    f->size = 0;
    if (first == EOF && !ferror(f->pipe)) return DG_OK;
    ungetc(first, f->pipe);
    DG_TRY(read_more(f, 2, err));
    if (!memcmp(f->bytes, "P6", 2)) return read_ppm(f, err);
    if (!memcmp(f->bytes, "\x89P", 2)) {
        DG_TRY(read_more(f, 6, err));
        return read_png(f, err);
    }
    return dg_fail(
        err, DG_ERR_INPUT,
        "frame %d of the pipe is neither PPM nor PNG: as ffmpeg -i FILM -f image2pipe -c:v ppm - writes them", f->next);
}

enum dg_status dg_frames_next(struct dg_frames *f, struct dg_image *image, const char **name, struct dg_error *err)
{
    *name = NULL;
    if (f->pipe) {
        DG_TRY(read_frame(f, err));
        if (!f->size) return DG_OK;
        snprintf(f->name, sizeof f->name, "%05d", f->next);
        DG_TRY(dg_image_decode_memory(&f->decoder, f->name, f->bytes, f->size, image, err));
    } else {
        if (f->next == f->count) return DG_OK;
        char *path;
        if (asprintf(&path, "%s/%s", f->folder, f->names[f->next]) < 0) return no_memory(err);
        enum dg_status status = dg_image_decode_file(&f->decoder, path, image, err);
        free(path);
        DG_TRY(status);
        snprintf(f->name, sizeof f->name, "%s", f->names[f->next]);
        *strrchr(f->name, '.') = 0;
    }
    f->next++;
    *name = f->name;
    return DG_OK;
}

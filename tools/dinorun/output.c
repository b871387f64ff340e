/* What commands print: messages and progress, memory, the images that were left out. */
#include "tools/dinorun/command.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"
#include "runtime/data/image_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool images_shown; /* what show_images wrote is the last line on the terminal */

/* A message may name a file, and a file's name may hold anything: also what a terminal takes for a command. The line
 * is written at once, since several processes may write to one terminal. */
static void write_line(FILE *out, const char *before, const char *text)
{
    char *line = malloc(strlen(before) + 4 * strlen(text) + 2), *to = line;
    if (!line) return;
    to = stpcpy(to, before);
    for (const char *c = text; *c; c++) {
        bool escaped = (*c >= 0 && *c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f;
        to += sprintf(to, escaped ? "\\x%02x" : "%c", (unsigned char)*c);
    }
    *to++ = '\n';
    fwrite(line, 1, (size_t)(to - line), out);
    free(line);
}

bool quiet;
static FILE *results_stream; /* with --quiet: standard output as it was */

enum dg_status quiet_open(struct dg_error *err)
{
    fflush(stdout);
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC), fd = dup(STDOUT_FILENO);
    results_stream = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = results_stream && nothing >= 0 && dup2(nothing, STDOUT_FILENO) >= 0;
    int error = errno;
    if (nothing >= 0) close(nothing);
    return ok ? DG_OK : dg_fail(err, DG_ERR_IO, "--quiet: standard output cannot be opened: %s", strerror(error));
}

enum dg_status quiet_close(struct dg_error *err)
{
    FILE *stream = results_stream;
    results_stream = NULL;
    if (!stream || !fclose(stream)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "the results could not be written: is the disk full?");
}

FILE *results(void) { return results_stream ? results_stream : stdout; }

int exit_status(const struct dg_error *err)
{
    if (err->status == DG_OK) return 0;
    clear_images();
    fflush(stdout);
    write_line(stderr, "dinorun: ", err->text);
    return err->status == DG_ERR_USAGE ? 2 : 1;
}

enum dg_status write_left_out(const struct dg_dataset *dataset, const char *file, struct dg_error *err)
{
    struct dg_atomic_file list;
    int64_t count;
    const struct dg_left_out *one = dg_dataset_left_out(dataset, &count);
    char path[4096];
    if (snprintf(path, sizeof path, "%s.left-out.tsv", file) >= (int)sizeof path)
        return dg_fail(err, DG_ERR_USAGE, "%s: the path is too long", file);
    if (!count) {
        unlink(path);
        return DG_OK;
    }
    DG_TRY(dg_atomic_open(path, &list, err));
    for (int64_t i = 0; i < count; i++) {
        dg_name_write(list.stream, one[i].relative);
        fprintf(list.stream, "\t%s\n", one[i].reason);
    }
    DG_TRY(dg_atomic_commit(&list, err));
    printf("%s: the images left out of %s, and why\n", path, file);
    return DG_OK;
}

void show_images(int64_t done, int64_t all)
{
    if (!isatty(STDOUT_FILENO)) return;
    printf("\r\033[K%" PRId64 "/%" PRId64 " images", done, all);
    fflush(stdout);
    images_shown = true;
}

void clear_images(void)
{
    if (images_shown) printf("\r\033[K");
    images_shown = false;
}

struct dg_log console = {.write = write_message};

void write_to_stderr(enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    fflush(stdout);
    char before[32];
    snprintf(before, sizeof before, "%s ", level == DG_LOG_TRACE ? dg_log_topic_name(topic) : "dinorun:");
    write_line(stderr, before, text);
}

void write_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    (void)context;
    if (level == DG_LOG_INFO)
        write_line(stdout, "", text);
    else
        write_to_stderr(level, topic, text);
}

static void line(const char *what, int64_t bytes)
{
    char size[32];
    if (bytes) printf("  %-26s %10s\n", what, dg_format_bytes(size, sizeof size, (double)bytes));
}

void print_memory(const struct dg_session_memory *memory, int64_t loader_bytes)
{
    printf("memory\n");
    line("parameters", memory->region[DG_REGION_PARAM]);
    line("optimiser state", memory->region[DG_REGION_STATE]);
    line("activations, gradients", memory->region[DG_REGION_STEP]);
    line("inputs", memory->region[DG_REGION_INPUT]);
    line("scratch", memory->scratch);
    line("packed weights", memory->packed);
    line("loader", loader_bytes);
    line("program and libraries", memory->allowance);
    line("total", memory->total);
    if (memory->available != INT64_MAX) line("free on this machine", memory->available);
    if (loader_bytes)
        printf(
            "  images above %.1f megapixels (up to the limit of %.0f) take their file and 3 bytes a pixel more while "
            "they are read (progressive JPEG up to 11, TIFF 7)\n",
            (double)DG_IMAGE_READER_BYTES / 3e6, (double)DG_IMAGE_MAX_PIXELS / 1e6);
}

enum dg_status check_png_name(const char *path, struct dg_error *err)
{
    static const char *const others[] = {".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".svg", ".pdf"};
    const char *dot = strrchr(path, '.');
    for (size_t o = 0; dot && o < sizeof others / sizeof *others; o++)
        if (!strcasecmp(dot, others[o]))
            return dg_fail(err, DG_ERR_USAGE, "--out %s: what is drawn is PNG; name it .png", path);
    return DG_OK;
}

/* What several commands of dinorun do: open plans and evaluation entries, print memory, messages and progress. */
#include "tools/dinorun/command.h"

#include "ops/dnnl/cpu.h"
#include "ops/kernels/rates.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"
#include "runtime/data/image_reader.h"

#include <inttypes.h>
#include <math.h>
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

int exit_status(const struct dg_error *err)
{
    if (err->status == DG_OK) return 0;
    clear_images();
    fflush(stdout);
    write_line(stderr, "dinorun: ", err->text);
    return err->status == DG_ERR_USAGE ? 2 : 1;
}

struct dg_comm_sums sums_of(const struct sum_flags *flags)
{
    struct dg_comm_sums sums = {.together = flags->together, .bf16 = flags->wire && !strcmp(flags->wire, "bf16")};
    static const enum dg_reduce all[] = {DG_REDUCE_RANKS, DG_REDUCE_MACHINES, DG_REDUCE_LIBRARY};
    for (size_t i = 0; flags->reduce && i < sizeof all / sizeof *all; i++)
        if (!strcmp(dg_reduce_name(all[i]), flags->reduce)) sums.reduce = all[i];
    return sums;
}

struct dg_image_rules image_rules(const struct image_flags *flags)
{
    return (struct dg_image_rules){.exif = flags->exif, .pillow = flags->pillow ? atoi(flags->pillow) : 13};
}

struct dg_data data_of(const struct dg_flag_values *path, const char *classes_from, const struct image_flags *images)
{
    return (struct dg_data){
        .path = path->value, .paths = path->count, .classes_from = classes_from, .rules = image_rules(images)};
}

bool read_bad_limit(const char *text, void *parsed)
{
    struct dg_bad_limit *limit = parsed;
    char *end;
    double value = strtod(text, &end);
    if (*text < '0' || *text > '9' || value > 1e9) return false;
    if (!strcmp(end, "%") && value <= 100) {
        *limit = (struct dg_bad_limit){.percent = value};
        return true;
    }
    if (*end || value != floor(value)) return false;
    *limit = (struct dg_bad_limit){.images = (int64_t)value};
    return true;
}

/* Why bf16 is slower than f32 here; NULL: it is not. The library's products are most of a step. */
static const char *slow_bf16(void)
{
    switch (dg_bf16_support()) {
    case DG_BF16_CONVERTED: return "for which this CPU has no instructions (or DNNL_MAX_CPU_ISA hides them)";
    case DG_BF16_VDPBF16PS:
        return dg_product_pays(DG_PRODUCT_VDPBF16PS)
                   ? NULL
                   : "whose instruction (vdpbf16ps) is no faster on this CPU than f32's, and it has no AMX (or "
                     "DNNL_MAX_CPU_ISA hides it)";
    case DG_BF16_NONE: /* dg_session_open() refuses the plan */
    case DG_BF16_AMX: break;
    }
    return NULL;
}

bool parse_positions(const char *text, void *positions)
{
    int64_t *grid = positions;
    int used = 0;
    return sscanf(text, "%5" SCNd64 "x%5" SCNd64 "%n", &grid[0], &grid[1], &used) == 2 && !text[used] && grid[0] > 0 &&
           grid[1] > 0;
}

enum dg_status open_plan(struct opened_plan *opened, struct dg_error *err)
{
    char copy[DG_MAX_PATH];
    opened->run = is_folder(opened->path) ? opened->path : NULL;
    if (opened->run) DG_TRY(find_run_plan(opened->run, copy, err));
    return open_plan_file(opened, opened->run ? copy : opened->path, err);
}

enum dg_status open_plan_file(struct opened_plan *opened, const char *path, struct dg_error *err)
{
    DG_TRY(dg_plan_open(path, &opened->plan, err));
    const char *slow = opened->plan.entry->dtype == DG_BF16 ? slow_bf16() : NULL;
    if (slow)
        dg_log(&console, DG_LOG_WARNING, DG_LOG_PLAN,
               "note: the plan is in bf16, %s: it runs, but compiled with --dtype f32 it would be faster", slow);
    if (opened->plan.entry->math != DG_MATH_F32)
        dg_log(&console, DG_LOG_INFO, DG_LOG_PLAN, "note: the plan is in %s", dg_plan_type(opened->plan.entry));
    DG_TRY(dg_knobs_open(&opened->plan, &opened->knobs, err));
    for (int s = 0; s < opened->set.count; s++) DG_TRY(dg_knobs_set(&opened->knobs, opened->set.value[s], err));
    if (!opened->epochs) return DG_OK;
    char text[64];
    snprintf(text, sizeof text, "epochs=%" PRId64, opened->epochs);
    return dg_knobs_set(&opened->knobs, text, err);
}

void close_plan(struct opened_plan *opened)
{
    dg_knobs_close(&opened->knobs);
    dg_plan_close(&opened->plan);
}

enum dg_status open_patches(struct evaluation *e, struct dg_flag_size size, struct dg_patches *patches,
                            struct dg_error *err)
{
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(dg_patches_init(&e->of.plan, e->options.role, patches, err));
    if (!size.height) return DG_OK;
    return dg_patches_want_size(&e->of.plan, patches, size.height, size.width, err);
}

enum dg_status open_evaluator(struct evaluation *e, struct dg_error *err)
{
    e->options.rules = image_rules(&e->images);
    e->options.log = &console;
    return dg_evaluator_open(&e->of.plan, &e->of.knobs, &e->options, &e->evaluator, err);
}

int evaluation_threads(const struct evaluation *e) { return dg_session_threads(dg_evaluator_session(e->evaluator)); }

void close_evaluation(struct evaluation *e)
{
    dg_evaluator_close(e->evaluator);
    close_plan(&e->of);
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
    line("in all", memory->total);
    if (memory->available != INT64_MAX) line("free on this machine", memory->available);
    if (loader_bytes)
        printf(
            "  images above %.1f megapixels (up to the limit of %.0f) take their file and 3 bytes a pixel more while "
            "they are read (progressive JPEG up to 11, TIFF 7)\n",
            (double)DG_IMAGE_READER_BYTES / 3e6, (double)DG_IMAGE_MAX_PIXELS / 1e6);
}

double imagenet_days(double epochs, double rate) { return IMAGENET_IMAGES * epochs / rate / 86400; }

enum dg_status check_png_name(const char *path, struct dg_error *err)
{
    static const char *const others[] = {".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".svg", ".pdf"};
    const char *dot = strrchr(path, '.');
    for (size_t o = 0; dot && o < sizeof others / sizeof *others; o++)
        if (!strcasecmp(dot, others[o]))
            return dg_fail(err, DG_ERR_USAGE, "--out %s: what is drawn is PNG; name it .png", path);
    return DG_OK;
}

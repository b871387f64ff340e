#include "tools/dinorun/command.h"

#include "ops/dnnl/cpu.h"
#include "runtime/data/image_reader.h"
#include "tools/cli/flags.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fail(const struct dg_error *err)
{
    fflush(stdout);
    fprintf(stderr, "dinorun: %s\n", err->text);
    return err->status == DG_ERR_USAGE ? 2 : 1;
}

int usage_error(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "dinorun %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; try dinorun %s --help\n", command->name);
    va_end(args);
    return 2;
}

void print_help(const struct command *command)
{
    printf("usage: dinorun %s %s\n\n%s.\n\n%s", command->name, command->arguments, command->summary, command->flags);
}

bool flag_whole(const struct command *command, const char *flag, const char *text, int64_t min, int64_t max,
                int64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (end != text && !*end && !errno && *value >= min && *value <= max) return true;
    if (max == INT64_MAX)
        usage_error(command, "%s %s: expected a whole number, %" PRId64 " or more", flag, text, min);
    else
        usage_error(command, "%s %s: expected a whole number from %" PRId64 " to %" PRId64, flag, text, min, max);
    return false;
}

bool flag_share(const struct command *command, const char *flag, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end != text && !*end && *value > 0 && *value <= 1) return true;
    usage_error(command, "%s %s: expected a number above 0 and up to 1", flag, text);
    return false;
}

bool flag_size(const struct command *command, const char *flag, const char *text, int64_t *height, int64_t *width)
{
    char *end;
    errno = 0;
    *height = *width = strtoll(text, &end, 10);
    bool ok = end != text && *height > 0;
    if (ok && *end == 'x') {
        text = end + 1;
        *width = strtoll(text, &end, 10);
        ok = end != text && *width > 0;
    }
    if (ok && !*end && !errno) return true;
    usage_error(command, "%s %s: expected pixels, as in 480 or 160x240", flag, text);
    return false;
}

bool flag_from(const struct command *command, const char *from)
{
    if (!strcmp(from, "teacher") || !strcmp(from, "student")) return true;
    usage_error(command, "--weights-from %s: expected teacher or student", from);
    return false;
}

int next_flag(const struct command *command, int argc, char **argv, const struct option *options)
{
    char letters[64] = ":", text[256]; /* the flags that have one: a value below 256 */
    size_t used = 1;
    for (const struct option *o = options; o->name; o++) {
        if (o->val >= 256) continue;
        letters[used++] = (char)o->val;
        if (o->has_arg) letters[used++] = ':';
    }
    letters[used] = 0;
    opterr = 0;
    int flag = getopt_long(argc, argv, letters, options, NULL);
    if (flag == 'h') print_help(command);
    if (flag != ':' && flag != '?') return flag;
    usage_error(command, "%s", flag_complaint(text, sizeof text, flag, argv, options));
    return '?';
}

const char *file_argument(const struct command *command, int argc, char **argv, const char *what)
{
    if (optind == argc - 1) return argv[optind];
    if (optind == argc)
        usage_error(command, "%s is missing", what);
    else
        usage_error(command, "one %s at a time, and not also %s", what, argv[optind + 1]);
    return NULL;
}

const char **flag_values(int argc)
{
    static const char **values;
    free(values);
    values = argc ? calloc((size_t)argc, sizeof *values) : NULL;
    return values;
}

const char *plan_argument(const struct command *command, int argc, char **argv)
{
    return file_argument(command, argc, argv, "PLAN");
}

enum dg_status open_plan(const char *path, const char *const *set, int num_sets, int64_t epochs, struct dg_plan *plan,
                         struct dg_knobs *knobs, struct dg_error *err)
{
    DG_TRY(dg_plan_open(path, plan, err));
    if (plan->entry->dtype == DG_BF16 && dg_bf16_support() == DG_BF16_SLOW)
        fputs("dinorun: note: the plan is in bf16, for which this CPU has no instructions: it runs, but --dtype f32 "
              "would "
              "be faster\n",
              stderr);
    DG_TRY(dg_knobs_open(plan, knobs, err));
    for (int s = 0; s < num_sets; s++) DG_TRY(dg_knobs_set(knobs, set[s], err));
    if (!epochs) return DG_OK;
    char text[64];
    snprintf(text, sizeof text, "epochs=%" PRId64, epochs);
    return dg_knobs_set(knobs, text, err);
}

void show_images(int64_t done, int64_t all)
{
    printf("\r\033[K%" PRId64 "/%" PRId64 " images", done, all);
    fflush(stdout);
}

void clear_images(void) { printf("\r\033[K"); }

struct dg_log console = {.write = write_message};

void write_to_stderr(enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s %s\n", level == DG_LOG_TRACE ? dg_log_topic_name(topic) : "dinorun:", text);
}

void write_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    (void)context;
    if (level == DG_LOG_INFO)
        puts(text);
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
        printf("  images above %.1f megapixels take their file and 3 bytes a pixel more while they are read "
               "(progressive JPEG up to 11); the largest have %.0f megapixels\n",
               (double)DG_IMAGE_READER_BYTES / 3e6, (double)DG_IMAGE_MAX_PIXELS / 1e6);
}

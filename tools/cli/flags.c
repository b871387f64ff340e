#include "tools/cli/flags.h"

#include "runtime/model/bundle.h"
#include "tools/cli/help.h"
#include "tools/cli/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What the command line has said so far. */
struct parse {
    const struct dg_command *command;
    int argc;
    char **argv;
    bool given[DG_MAX_FLAGS]; /* by the flag's place in the table */
    const char *file;         /* the last one */
    FILE *settings;           /* writes those of dg_command_settings */
};

static struct {
    char *text;
    size_t size;
} settings;

const char *dg_command_settings(size_t *size)
{
    *size = settings.size;
    return settings.text;
}

/* Reports what is wrong, and returns the exit status for it. */
__attribute__((format(printf, 2, 3))) static int refuse(const struct dg_command *command, const char *format, ...)
{
    char title[64];
    va_list args;
    dg_command_title(command, title, sizeof title);
    va_start(args, format);
    fprintf(stderr, "%s: ", title);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; try %s --help\n", title);
    va_end(args);
    return 2;
}

static bool is_given(const struct parse *p, const struct dg_flag *flag) { return p->given[flag - p->command->flags]; }

static bool any_given(const struct parse *p, const char *names)
{
    for (const struct dg_flag *flag; (flag = dg_flag_next(p->command, &names));)
        if (is_given(p, flag)) return true;
    return false;
}

/* ---- values ---- */

static int expected(const struct dg_command *command, const struct dg_flag *flag, const char *text, const char *what)
{
    char name[64];
    return refuse(command, "%s %s: expected %s", dg_flag_text(flag, false, name, sizeof name), text, what);
}

static int take_integer(const struct dg_command *command, const struct dg_flag *flag, const char *text)
{
    char *end, what[96];
    errno = 0;
    int64_t value = strtoll(text, &end, 10), max = flag->max ? flag->max : flag->count ? INT32_MAX : INT64_MAX;
    if (end == text || *end || errno || value < flag->min || value > max) {
        if (flag->max)
            snprintf(what, sizeof what, "a whole number from %" PRId64 " to %" PRId64, flag->min, flag->max);
        else
            snprintf(what, sizeof what, "a whole number, %" PRId64 " or more", flag->min);
        return expected(command, flag, text, what);
    }
    if (flag->integer) *flag->integer = value;
    if (flag->count) *flag->count = (int)value;
    if (flag->seed) *flag->seed = (uint64_t)value;
    return 0;
}

static int take_number(const struct dg_command *command, const struct dg_flag *flag, const char *text)
{
    char *end, what[64] = "a number above 0";
    double value = strtod(text, &end);
    if (end != text && !*end && value > 0 && value <= (flag->max ? (double)flag->max : 1e300)) {
        *flag->number = value;
        return 0;
    }
    if (flag->max) snprintf(what, sizeof what, "a number above 0 and up to %" PRId64, flag->max);
    return expected(command, flag, text, what);
}

/* "480" or "160x240", height x width. */
static bool read_size(const char *text, struct dg_flag_size *size)
{
    char *end;
    errno = 0;
    size->height = size->width = strtoll(text, &end, 10);
    bool ok = end != text && size->height > 0;
    if (ok && *end == 'x') {
        text = end + 1;
        size->width = strtoll(text, &end, 10);
        ok = end != text && size->width > 0;
    }
    return ok && !*end && !errno;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *c = choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (!strncmp(c, text, length) && (!c[length] || c[length] == '|')) return length > 0;
    }
    return false;
}

static int take_text(const struct dg_command *command, const struct dg_flag *flag, const char *text)
{
    char what[128];
    if (flag->choices && !is_choice(flag->choices, text))
        return expected(command, flag, text, dg_choices_text(flag->choices, what, sizeof what));
    *flag->text = text;
    return 0;
}

static int lack_memory(const struct dg_command *command)
{
    fprintf(stderr, "%s: out of memory\n", command->program);
    return 1;
}

/* There are at most `argc` values. */
static int append_text(const struct parse *p, struct dg_flag_values *texts, const char *text)
{
    if (!texts->value) texts->value = calloc((size_t)p->argc, sizeof *texts->value);
    if (!texts->value) return lack_memory(p->command);
    texts->value[texts->count++] = text;
    return 0;
}

/* `text` NULL: the flag takes no value. */
static void add_setting(const struct parse *p, const struct dg_flag *flag, const char *text)
{
    if (flag->sharing == DG_FLAG_OWN) return;
    fprintf(p->settings, "--%s", flag->name);
    if (text && flag->sharing == DG_FLAG_ALIKE) fprintf(p->settings, " %s", text);
    fputc(0, p->settings);
}

static int take_value(struct parse *p, const struct dg_flag *flag, const char *text)
{
    add_setting(p, flag, text);
    p->given[flag - p->command->flags] = true;
    if (flag->given) *flag->given = true;
    if (flag->text) return take_text(p->command, flag, text);
    if (flag->texts) return append_text(p, flag->texts, text);
    if (dg_flag_is_integer(flag)) return take_integer(p->command, flag, text);
    if (flag->number) return take_number(p->command, flag, text);
    if (flag->size) return read_size(text, flag->size) ? 0 : expected(p->command, flag, text, flag->expected);
    if (flag->parse) return flag->parse(text, flag->parsed) ? 0 : expected(p->command, flag, text, flag->expected);
    return 0;
}

/* ---- the command line ---- */

static const char *name_at(const void *flags, int index) { return ((const struct dg_flag *)flags)[index].name; }

static bool begins(const char *text, const char *name) { return !strncmp(text, name, strlen(text)); }

/* The flag whose name is, or alone begins with, the `length` characters at `word`; NULL: refused with *status. */
static const struct dg_flag *find_name(const struct dg_command *command, const char *word, size_t length, int *status)
{
    const struct dg_flag *found[2] = {NULL, NULL}, *flag = command->flags;
    int count = 0;
    for (; flag->name; flag++) {
        if (strncmp(flag->name, word, length)) continue;
        if (!flag->name[length]) return flag;
        if (count < 2) found[count] = flag;
        count++;
    }
    if (count == 1) return found[0];
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)length, word);
    if (count) {
        *status = refuse(command, "--%s may be --%s or --%s", text, found[0]->name, found[1]->name);
        return NULL;
    }
    if (begins(text, "help")) { /* --help was handled */
        *status = refuse(command, "--%s takes no value", text);
        return NULL;
    }
    const char *near = dg_nearest_name(text, name_at, command->flags, (int)(flag - command->flags));
    *status = refuse(command, "there is no flag --%s%s%s%s", text, near ? " (did you mean --" : "", near ? near : "",
                     near ? "?)" : "");
    return NULL;
}

/* The flag at argv[*at], and its value: behind = or the letter, or the next argument, to which *at moves. */
static int take_flag(struct parse *p, int *at)
{
    const char *word = p->argv[*at], *value = NULL;
    const struct dg_flag *flag;
    char name[64];
    int status = 0;
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        flag = find_name(p->command, word + 2, length, &status);
        if (!flag) return status;
        if (word[2 + length]) value = word + 2 + length + 1;
    } else {
        for (flag = p->command->flags; flag->name && flag->letter != word[1];) flag++;
        if (!flag->name) return refuse(p->command, "there is no flag -%c", word[1]);
        if (word[2]) value = word + 2;
    }
    dg_flag_text(flag, false, name, sizeof name);
    if (!flag->value && value) return refuse(p->command, "%s takes no value", name);
    if (flag->value && !value && ++*at < p->argc) value = p->argv[*at];
    if (flag->value && !value) return refuse(p->command, "%s wants a value", name);
    return take_value(p, flag, value);
}

static int take_file(struct parse *p, const char *text)
{
    const char *name = p->command->file.name;
    if (!name) return refuse(p->command, "%s is not a flag", text);
    if (p->file && !p->command->file.values) return refuse(p->command, "one %s at a time, and not also %s", name, text);
    p->file = text;
    return p->command->file.values ? append_text(p, p->command->file.values, text) : 0;
}

/* What is needed and not there, in one message; a single flag is explained by the beginning of its help. */
static int check_required(const struct parse *p)
{
    const struct dg_command *command = p->command;
    const struct dg_flag *missing[DG_MAX_FLAGS];
    int count = 0;
    struct stat info;
    bool folder = p->file && !stat(p->file, &info) && S_ISDIR(info.st_mode);
    if (any_given(p, command->lifts)) return 0;
    for (const struct dg_flag *flag = command->flags; flag->name; flag++)
        if (flag->required && !is_given(p, flag) && !any_given(p, flag->unless) && !(flag->in_folder && folder) &&
            !(flag->in_bundle && p->file && dg_is_bundle(p->file)))
            missing[count++] = flag;
    if (!count) return 0;
    char *text = NULL, name[64];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return refuse(command, "--%s is needed", missing[0]->name);
    for (int n = 0; n < count; n++) {
        dg_print_item(out, n, count, " and ", dg_flag_text(missing[n], true, name, sizeof name));
        if (!missing[n]->unless) continue;
        fputs(" (or ", out);
        dg_print_flags(out, command, missing[n]->unless, " or ", true);
        fputc(')', out);
    }
    fputs(count == 1 ? " is needed: " : " are needed", out);
    if (count == 1) fprintf(out, "%.*s", (int)strcspn(missing[0]->help, ";:"), missing[0]->help);
    fclose(out);
    int status = refuse(command, "%s", text);
    free(text);
    return status;
}

/* Flags that need or exclude others. */
static int check_relations(const struct parse *p)
{
    char name[64], text[256] = "";
    for (const struct dg_flag *flag = p->command->flags; flag->name; flag++) {
        if (!is_given(p, flag)) continue;
        const char *excluded = any_given(p, flag->without) ? flag->without : NULL;
        const char *needed = flag->with && !any_given(p, flag->with) ? flag->with : NULL;
        if (!excluded && !needed) continue;
        FILE *out = fmemopen(text, sizeof text, "w");
        if (out) {
            dg_print_flags(out, p->command, excluded ? excluded : needed, excluded ? " and " : " or ", !excluded);
            fclose(out);
        }
        dg_flag_text(flag, !!excluded, name, sizeof name);
        return refuse(p->command, "%s goes %s %s", name, excluded ? "without" : "with", text);
    }
    return 0;
}

static int check_file(const struct parse *p)
{
    const struct dg_command *command = p->command;
    const char *name = command->file.name, *what = command->file.what, *unless = command->file.unless;
    if (!name) return 0;
    bool lifted = any_given(p, unless) || any_given(p, command->file.spared);
    if (!p->file && !lifted && what) return refuse(command, "%s, %s, is missing", name, what);
    if (!p->file && !lifted) return refuse(command, "%s is missing", name);
    for (const struct dg_flag *flag; p->file && (flag = dg_flag_next(command, &unless));)
        if (is_given(p, flag)) return refuse(command, "--%s goes without %s", flag->name, name);
    if (command->file.value) *command->file.value = p->file;
    return 0;
}

/* -1: go on; else the exit status. */
static int parse(struct parse *p)
{
    bool files = false; /* after -- */
    for (int a = 1; a < p->argc; a++) {
        const char *word = p->argv[a];
        int status = 0;
        if (files || word[0] != '-' || !word[1])
            status = take_file(p, word);
        else if (!strcmp(word, "--"))
            files = true;
        else
            status = take_flag(p, &a);
        if (status) return status;
    }
    int status = check_file(p);
    if (!status) status = check_relations(p);
    if (!status) status = check_required(p);
    return status ? status : -1;
}

/* True if `word` is --NAME, or an abbreviation of it with which no flag begins. */
static bool stands_for(const struct dg_command *command, const char *word, const char *name)
{
    if (strncmp(word, "--", 2) || !word[2] || !begins(word + 2, name)) return false;
    const struct dg_flag *flag = command->flags;
    while (flag->name && !begins(word + 2, flag->name)) flag++;
    return !flag->name;
}

/* True if --NAME or `letter` stands among the flags. To be called before parsing, which changes the defaults that
 * --help prints. */
static bool asks_for(const struct parse *p, const char *name, const char *letter)
{
    for (int a = 1; a < p->argc && strcmp(p->argv[a], "--"); a++)
        if (stands_for(p->command, p->argv[a], name) || (letter && !strcmp(p->argv[a], letter))) return true;
    return false;
}

static void free_values(struct dg_flag_values *values)
{
    if (!values) return;
    free(values->value);
    *values = (struct dg_flag_values){0};
}

int dg_command_run(const struct dg_command *command, int argc, char **argv)
{
    struct parse p = {.command = command, .argc = argc, .argv = argv};
    if (asks_for(&p, "help", "-h")) {
        dg_command_help(command, stdout);
        return 0;
    }
    p.settings = open_memstream(&settings.text, &settings.size);
    if (!p.settings) return lack_memory(command);
    char title[64];
    dg_command_title(command, title, sizeof title);
    fwrite(title, 1, strlen(title) + 1, p.settings);
    int status = parse(&p);
    if (fclose(p.settings)) status = lack_memory(command);
    if (status < 0) status = command->run();
    free(settings.text);
    settings.text = NULL;
    settings.size = 0;
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) free_values(flag->texts);
    free_values(command->file.values);
    return status;
}

int dg_finish_output(const char *program, int status)
{
    if (!(fflush(stdout) || ferror(stdout)) || status) return status;
    fprintf(stderr, "%s: not all of the output could be written: is the disk full?\n", program);
    return 1;
}

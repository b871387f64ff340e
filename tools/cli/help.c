#include "tools/cli/help.h"

#include "tools/cli/names.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 24, HELP_WIDTH = 108 };

/* Words of `text` to HELP_WIDTH, further lines indented. `column`: where the first line stands. */
static void print_wrapped(FILE *out, const char *text, int indent, int column)
{
    while (*text) {
        int length = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", length, text);
        column += length;
        text += length + (text[length] != 0);
    }
    fputc('\n', out);
}

/* Remarks in parentheses, with semicolons between them. */
struct remarks {
    FILE *out;
    int count;
};

__attribute__((format(printf, 2, 3))) static void add_remark(struct remarks *r, const char *format, ...)
{
    va_list args;
    fputs(r->count++ ? "; " : " (", r->out);
    va_start(args, format);
    vfprintf(r->out, format, args);
    va_end(args);
}

static void add_relation(struct remarks *r, const struct dg_command *command, const char *what, const char *names)
{
    if (!names) return;
    add_remark(r, "%s ", what);
    dg_print_flags(r->out, command, names, " or ", false);
}

static void add_range(struct remarks *r, const struct dg_flag *flag)
{
    if (dg_flag_is_integer(flag)) {
        if (flag->max)
            add_remark(r, "%" PRId64 " to %" PRId64, flag->min, flag->max);
        else
            add_remark(r, "%" PRId64 " or more", flag->min);
    }
    if (flag->number && flag->max) add_remark(r, "above 0, up to %" PRId64, flag->max);
    if (flag->number && !flag->max) add_remark(r, "above 0");
    char text[128];
    if (flag->choices) add_remark(r, "%s", dg_choices_text(flag->choices, text, sizeof text));
    if (flag->texts) add_remark(r, "may be given again");
}

static void add_default(struct remarks *r, const struct dg_flag *flag)
{
    if (flag->unset)
        add_remark(r, "default: %s", flag->unset);
    else if (flag->required)
        return;
    else if (flag->text && *flag->text)
        add_remark(r, "default %s", *flag->text);
    else if (dg_flag_is_integer(flag))
        add_remark(r, "default %" PRId64,
                   flag->integer ? *flag->integer
                   : flag->count ? *flag->count
                                 : (int64_t)*flag->seed);
    else if (flag->number)
        add_remark(r, "default %g", *flag->number);
}

void dg_help_line(FILE *out, const char *flag, const char *help)
{
    int column = fprintf(out, "  %s", flag);
    if (column + 2 > HELP_COLUMN)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(out, "%*s", HELP_COLUMN - column, "");
    print_wrapped(out, help, HELP_COLUMN, HELP_COLUMN);
}

char *dg_flag_help(const struct dg_command *command, const struct dg_flag *flag)
{
    char *help = NULL;
    size_t size;
    struct remarks r = {.out = open_memstream(&help, &size)};
    if (!r.out) return NULL;
    fputs(flag->help, r.out);
    if (flag->required && !flag->unless) add_remark(&r, "needed");
    add_relation(&r, command, "needed unless", flag->unless);
    add_relation(&r, command, "only with", flag->with);
    add_relation(&r, command, "not with", flag->without);
    add_range(&r, flag);
    add_default(&r, flag);
    if (r.count) fputc(')', r.out);
    fclose(r.out);
    return help;
}

static void print_flag(FILE *out, const struct dg_command *command, const struct dg_flag *flag)
{
    char name[96], *help = dg_flag_help(command, flag);
    snprintf(name, sizeof name, "%c%c%s--%s%s%s", flag->letter ? '-' : ' ', flag->letter ? flag->letter : ' ',
             flag->letter ? ", " : "", flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
    if (help) dg_help_line(out, flag->letter ? name : name + 2, help);
    free(help);
}

/* True if the command's file is not there with this flag. */
static bool replaces_file(const struct dg_command *command, const struct dg_flag *flag)
{
    const char *names = command->file.unless;
    for (const struct dg_flag *other; (other = dg_flag_next(command, &names));)
        if (other == flag) return true;
    return false;
}

/* Prints " --out DIR", or " (--data DIR | --replay FILE)" where one other flag can take its place. */
static void print_needed(FILE *out, const struct dg_command *command, const struct dg_flag *flag)
{
    char text[64];
    const char *others = flag->unless;
    const struct dg_flag *other = dg_flag_next(command, &others);
    bool choice = other && !*others && !replaces_file(command, other);
    if (flag->in_folder) {
        fprintf(out, " [%s]", dg_flag_text(flag, true, text, sizeof text));
        return;
    }
    fprintf(out, " %s%s", choice ? "(" : "", dg_flag_text(flag, true, text, sizeof text));
    if (choice) fprintf(out, " | %s)", dg_flag_text(other, true, text, sizeof text));
}

char *dg_command_usage(const struct dg_command *command)
{
    char title[64], *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    fputs(dg_command_title(command, title, sizeof title), out);
    if (command->file.name) fprintf(out, " %s%s", command->file.name, command->file.values ? "..." : "");
    for (const struct dg_flag *flag = command->flags; flag->name; flag++)
        if (flag->required) print_needed(out, command, flag);
    fputs(" [flags]", out);
    fclose(out);
    return text;
}

void dg_command_help(const struct dg_command *command, FILE *out)
{
    char *usage = dg_command_usage(command), summary[512];
    fprintf(out, "usage: %s\n\n", usage ? usage : command->program);
    free(usage);
    snprintf(summary, sizeof summary, "%s.", command->summary);
    print_wrapped(out, summary, 0, 0);
    fputc('\n', out);
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) print_flag(out, command, flag);
    dg_help_line(out, "-h, --help", "print this");
    if (command->more) fprintf(out, "\n%s", command->more);
}

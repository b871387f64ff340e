#include "tools/cli/names.h"

#include <string.h>

const char *dg_command_title(const struct dg_command *command, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", command->program, command->name ? " " : "", command->name ? command->name : "");
    return text;
}

/* "-o" or "--out", with the value's placeholder behind it if `value`. */
const char *dg_flag_text(const struct dg_flag *flag, bool value, char *text, size_t size)
{
    const char *blank = value && flag->value ? " " : "", *name = blank[0] ? flag->value : "";
    if (flag->letter)
        snprintf(text, size, "-%c%s%s", flag->letter, blank, name);
    else
        snprintf(text, size, "--%s%s%s", flag->name, blank, name);
    return text;
}

/* The next name of a list with blanks; NULL at its end. */
const struct dg_flag *dg_flag_next(const struct dg_command *command, const char **names)
{
    if (!*names || !**names) return NULL;
    size_t length = strcspn(*names, " ");
    const struct dg_flag *flag = command->flags;
    while (flag->name && (strncmp(flag->name, *names, length) || flag->name[length])) flag++;
    *names += length + strspn(*names + length, " ");
    return flag->name ? flag : NULL;
}

/* "--a, --b and --c": prints the n-th of `count`. */
void dg_print_item(FILE *out, int n, int count, const char *last, const char *text)
{
    fprintf(out, "%s%s", n == 0 ? "" : n == count - 1 ? last : ", ", text);
}

void dg_print_flags(FILE *out, const struct dg_command *command, const char *names, const char *last, bool value)
{
    const struct dg_flag *flag[DG_MAX_FLAGS];
    char text[64];
    int count = 0;
    while (count < DG_MAX_FLAGS && (flag[count] = dg_flag_next(command, &names))) count++;
    for (int n = 0; n < count; n++) dg_print_item(out, n, count, last, dg_flag_text(flag[n], value, text, sizeof text));
}

bool dg_flag_is_integer(const struct dg_flag *flag) { return flag->integer || flag->count || flag->seed; }

/* "teacher or student" of "teacher|student". */
const char *dg_choices_text(const char *choices, char *text, size_t size)
{
    size_t used = 0;
    for (const char *c = choices; *c && used + 5 < size; c++)
        used += (size_t)snprintf(text + used, size - used, *c == '|' ? " or " : "%c", *c);
    return text;
}

bool dg_commands_are_named(const struct dg_commands *program) { return program->command[0]->name != NULL; }

const struct dg_command *dg_commands_find(const struct dg_commands *program, const char *name)
{
    for (int c = 0; c < program->commands; c++)
        if (program->command[c]->name && !strcmp(name, program->command[c]->name)) return program->command[c];
    return NULL;
}

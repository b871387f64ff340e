/* How flags and commands are called in messages and in --help. */
#ifndef DG_TOOLS_CLI_NAMES_H
#define DG_TOOLS_CLI_NAMES_H

#include "tools/cli/table.h"

#include <stdio.h>

enum { DG_MAX_FLAGS = 64 }; /* of a command */

/* "dinorun train" or "dinoc" into `text`, which is returned. */
const char *dg_command_title(const struct dg_command *command, char *text, size_t size);

/* "-o" or "--batch", with the value's placeholder behind it if `value`, into `text`, which is returned. */
const char *dg_flag_text(const struct dg_flag *flag, bool value, char *text, size_t size);

/* The flag that a list of names, with a blank between two, begins with; *names moves to the next. NULL: the list is
 * at its end, is NULL, or has a name that is no flag. */
const struct dg_flag *dg_flag_next(const struct dg_command *command, const char **names);

/* One of `count` items of "a, b and c" (`last` is " and "), the n-th. */
void dg_print_item(FILE *out, int n, int count, const char *last, const char *text);

/* The flags of such a list of names, as items. */
void dg_print_flags(FILE *out, const struct dg_command *command, const char *names, const char *last, bool value);

/* "teacher or student" of "teacher|student" into `text`, which is returned. */
const char *dg_choices_text(const char *choices, char *text, size_t size);

bool dg_flag_is_integer(const struct dg_flag *flag);

/* True if the program has commands with names. */
bool dg_commands_are_named(const struct dg_commands *program);

/* The command of that name; NULL: there is none. */
const struct dg_command *dg_commands_find(const struct dg_commands *program, const char *name);

#endif

/* --help of a command, from its table of flags. */
#ifndef DG_TOOLS_CLI_HELP_H
#define DG_TOOLS_CLI_HELP_H

#include "tools/cli/table.h"

#include <stdio.h>

/* Usage, summary, a line a flag with what it needs and excludes, its range and its default, and what else the
 * command says. */
void dg_command_help(const struct dg_command *command, FILE *out);

/* Parts of it, in strings that the caller frees; NULL: out of memory. "dinorun info PLAN [flags]"; the help of a
 * flag with its remarks. */
char *dg_command_usage(const struct dg_command *command);
char *dg_flag_help(const struct dg_command *command, const struct dg_flag *flag);

/* A line of --help: "-o, --out FILE", and what it says. */
void dg_help_line(FILE *out, const char *flag, const char *help);

#endif

/* --help of a command, from its table of flags. */
#ifndef DG_TOOLS_CLI_HELP_H
#define DG_TOOLS_CLI_HELP_H

#include "tools/cli/table.h"

#include <stdio.h>

/* Usage, summary, a line a flag with what it needs and excludes, its range and its default, and what else the command says. */
void dg_command_help(const struct dg_command *command, FILE *out);

#endif

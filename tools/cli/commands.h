/* What can be asked of a program instead of running one: its version, completion for shells, manual pages. */
#ifndef DG_TOOLS_CLI_COMMANDS_H
#define DG_TOOLS_CLI_COMMANDS_H

#include "tools/cli/table.h"

#include <stdio.h>

/* Answers -V or --version, --completion SHELL and --man [COMMAND], if the first word is one of them. Returns the
 * exit status; -1: it is not. */
int dg_commands_ask(const struct dg_commands *program, int argc, char **argv);

/* Lines of --help on what dg_commands_ask answers. */
void dg_commands_help(FILE *out);

#endif

/* Scripts by which shells complete command lines, from the tables of flags. */
#ifndef DG_TOOLS_CLI_COMPLETION_H
#define DG_TOOLS_CLI_COMPLETION_H

#include "tools/cli/table.h"

#include <stdio.h>

/* Writes the script for "bash", "zsh" or "fish"; false: it is another shell. */
bool dg_completion_write(const struct dg_commands *program, const char *shell, FILE *out);

/* True if the flag's value is a path. */
bool dg_flag_takes_path(const struct dg_flag *flag);

#endif

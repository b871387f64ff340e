/* Manual pages, from the tables of flags. */
#ifndef DG_TOOLS_CLI_MANUAL_H
#define DG_TOOLS_CLI_MANUAL_H

#include "tools/cli/table.h"

#include <stdio.h>

/* Writes the page of a command, or of the program if `command` is NULL, for man(7): section 1. */
void dg_manual_write(const struct dg_commands *program, const struct dg_command *command, FILE *out);

#endif

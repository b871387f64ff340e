/* Command lines, parsed by a table of flags. */
#ifndef DG_TOOLS_CLI_FLAGS_H
#define DG_TOOLS_CLI_FLAGS_H

#include "tools/cli/table.h"

#include <stddef.h>

/* Parses and runs; argv[0] is not looked at. Returns the exit status: that of run, 0 after --help and --version, 2 after a wrong
 * flag, which has been reported. */
int dg_command_run(const struct dg_command *command, int argc, char **argv);

/* While a command runs: what processes must share of its command line, [*size] bytes: items as "dinorun train" and "--steps 4", each
 * ended by a zero. */
const char *dg_command_settings(size_t *size);

/* At the end of main: `status`, or 1 with a message if standard output could not take all that was printed. */
int dg_finish_output(const char *program, int status);

#endif

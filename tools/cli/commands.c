#include "tools/cli/commands.h"

#include "ops/kernels/rates.h"
#include "runtime/base/about.h"
#include "runtime/exec/session.h"
#include "tools/cli/completion.h"
#include "tools/cli/help.h"
#include "tools/cli/manual.h"
#include "tools/cli/names.h"

#include <string.h>

/* What a report of a fault or of a figure must say. */
static void print_version(const struct dg_commands *program)
{
    char library[32], cpu[128];
    const char *commit = dg_commit();
    printf("%s %s%s%s%s\n", program->name, dg_version(), *commit ? " (commit " : "", commit, *commit ? ")" : "");
    printf("oneDNN %s, kernels %s, %s\n", dg_session_library(library, sizeof library), dg_kernels_name().text,
           dg_cpu_name(cpu, sizeof cpu));
}

static int print_completion(const struct dg_commands *program, const char *shell)
{
    if (shell && dg_completion_write(program, shell, stdout)) return 0;
    fprintf(stderr, "%s: --completion wants bash, zsh or fish\n", program->name);
    return 2;
}

static int print_manual(const struct dg_commands *program, const char *name)
{
    const struct dg_command *command = name ? dg_commands_find(program, name) : NULL;
    if (name && !command) {
        fprintf(stderr, "%s: there is no command %s\n", program->name, name);
        return 2;
    }
    dg_manual_write(program, command, stdout);
    return 0;
}

int dg_commands_ask(const struct dg_commands *program, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "", *value = argc > 2 ? argv[2] : NULL;
    if (!strcmp(word, "--completion")) return print_completion(program, value);
    if (!strcmp(word, "--man")) return print_manual(program, value);
    if (strcmp(word, "-V") && strcmp(word, "--version")) return -1;
    print_version(program);
    return 0;
}

void dg_commands_help(FILE *out)
{
    dg_help_line(out, "-V, --version", "print version, commit, oneDNN and the CPU's level");
    dg_help_line(out, "    --completion SHELL", "print what completes command lines in bash, zsh or fish");
    dg_help_line(out, "    --man", "print the manual page, for man -l -");
}

#include "tools/cli/manual.h"

#include "runtime/base/about.h"
#include "tools/cli/help.h"
#include "tools/cli/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Writes text that roff prints as it is: dashes are minus signs, and a line that begins with a point or a quote is
 * no request. */
static void print_text(FILE *out, const char *text)
{
    bool begins = true;
    for (; *text; text++) {
        if (begins && (*text == '.' || *text == '\'')) fputs("\\&", out);
        begins = *text == '\n';
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

static void print_title(FILE *out, const struct dg_commands *program, const struct dg_command *command)
{
    fputs(".TH ", out);
    for (const char *c = program->name; *c; c++) fputc(toupper((unsigned char)*c), out);
    if (command && command->name) fputs("\\-", out);
    for (const char *c = command && command->name ? command->name : ""; *c; c++)
        fprintf(out, *c == '-' ? "\\-" : "%c", toupper((unsigned char)*c));
    fprintf(out, " 1 \"\" \"Dinograph %s\" \"User Commands\"\n.SH NAME\n", dg_version());
    print_text(out, program->name);
    if (command && command->name) {
        fputs("\\-", out);
        print_text(out, command->name);
    }
    fputs(" \\- ", out);
    const char *summary = command ? command->summary : program->summary;
    char first[256]; /* one line: up to the end of the first sentence */
    snprintf(first, sizeof first, "%.*s", (int)strcspn(summary, ".;:"), summary);
    print_text(out, first);
    fputc('\n', out);
}

static void print_options(FILE *out, const struct dg_command *command)
{
    fputs(".SH OPTIONS\n", out);
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) {
        char *help = dg_flag_help(command, flag);
        fputs(".TP\n\\fB", out);
        if (flag->letter) fprintf(out, "\\-%c\\fR, \\fB", flag->letter);
        fputs("\\-\\-", out);
        print_text(out, flag->name);
        fputs("\\fR", out);
        if (flag->value) {
            fputs(" \\fI", out);
            print_text(out, flag->value);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        print_text(out, help ? help : flag->help);
        fputc('\n', out);
        free(help);
    }
}

static void print_command(FILE *out, const struct dg_command *command)
{
    char *usage = dg_command_usage(command);
    fputs(".SH SYNOPSIS\n", out);
    print_text(out, usage ? usage : command->program);
    free(usage);
    fputs("\n.SH DESCRIPTION\n", out);
    print_text(out, command->summary);
    fputs(".\n", out);
    if (command->more) {
        fputs(".PP\n", out);
        print_text(out, command->more);
    }
    print_options(out, command);
}

static void print_commands(FILE *out, const struct dg_commands *program)
{
    fputs(".SH SYNOPSIS\n", out);
    fprintf(out, "\\fB%s\\fR \\fICOMMAND\\fR [flags]\n.SH DESCRIPTION\n", program->name);
    print_text(out, program->summary);
    fputs(".\n.SH COMMANDS\n", out);
    for (int c = 0; c < program->commands; c++) {
        fputs(".TP\n\\fB", out);
        print_text(out, program->command[c]->name);
        fputs("\\fR\n", out);
        print_text(out, program->command[c]->summary);
        fprintf(out, "; see \\fB%s\\-", program->name);
        print_text(out, program->command[c]->name);
        fputs("\\fR(1)\n", out);
    }
}

void dg_manual_write(const struct dg_commands *program, const struct dg_command *command, FILE *out)
{
    if (!command && !dg_commands_are_named(program)) command = program->command[0];
    print_title(out, program, command);
    if (command)
        print_command(out, command);
    else
        print_commands(out, program);
    fputs(".SH EXIT STATUS\n0; 1 if something failed; 2 for a mistake in the command line; 3 if a training run was "
          "stopped and "
          "saved.\n.SH SEE ALSO\n",
          out);
    fputs(command && command->name ? ".BR dinorun (1),\n.BR dinoc (1)\n"
          : command                ? ".BR dinorun (1)\n"
                                   : ".BR dinoc (1)\n",
          out);
}

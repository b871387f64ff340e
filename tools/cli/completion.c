#include "tools/cli/completion.h"

#include "tools/cli/names.h"

#include <string.h>

bool dg_flag_takes_path(const struct dg_flag *flag)
{
    static const char *const paths[] = {"FILE", "DIR", "RUN", "PLAN", "F.", "LIST"};
    for (size_t p = 0; flag->value && p < sizeof paths / sizeof *paths; p++)
        if (strstr(flag->value, paths[p])) return true;
    return false;
}

/* The choices with blanks between them. */
static void print_choices(FILE *out, const char *choices)
{
    for (; *choices; choices++) fputc(*choices == '|' ? ' ' : *choices, out);
}

/* What a flag or command is, up to its first colon, semicolon or parenthesis; a backslash before each of `escaped`. */
static void print_short(FILE *out, const char *help, const char *escaped)
{
    size_t length = strcspn(help, ";:(");
    while (length && help[length - 1] == ' ') length--;
    for (size_t i = 0; i < length; i++) fprintf(out, strchr(escaped, help[i]) ? "\\%c" : "%c", help[i]);
}

/* The words that come instead of a command, or first. */
#define ASKED "--help --version --completion --man"

/* ---- bash ---- */

/* The cases of a command's flags whose values are completed, and its flags in $flags. */
static void bash_command(FILE *out, const struct dg_command *command)
{
    fputs("        case $prev in\n", out);
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) {
        if (!flag->value) continue;
        if (flag->letter) fprintf(out, "        -%c | --%s) ", flag->letter, flag->name);
        if (!flag->letter) fprintf(out, "        --%s) ", flag->name);
        if (flag->choices) {
            fputs("words='", out);
            print_choices(out, flag->choices);
            fputs("' ;;\n", out);
        } else {
            fprintf(out, "%s ;;\n", dg_flag_takes_path(flag) ? "files=1" : "return");
        }
    }
    fputs("        *) [[ $cur == -* ]] && words='", out);
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) fprintf(out, "--%s ", flag->name);
    fputs("--help' || files=1 ;;\n        esac\n", out);
}

static void write_bash(const struct dg_commands *program, FILE *out)
{
    bool named = dg_commands_are_named(program);
    fprintf(out, "# bash completion for %s\n_%s()\n{\n", program->name, program->name);
    fputs("    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= files=\n    COMPREPLY=()\n"
          "    if [[ $cur == = ]]; then\n        cur=\n"
          "    elif [[ $prev == = ]]; then\n        prev=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n",
          out);
    if (named) {
        fputs("    if [[ $prev == --completion ]]; then\n        words='bash zsh fish'\n    elif [[ $COMP_CWORD == 1 "
              "|| $prev == "
              "help || $prev == --man ]]; then\n        words='",
              out);
        for (int c = 0; c < program->commands; c++) fprintf(out, "%s ", program->command[c]->name);
        fputs("help " ASKED "'\n    else case ${COMP_WORDS[1]} in\n", out);
        for (int c = 0; c < program->commands; c++) {
            fprintf(out, "    %s)\n", program->command[c]->name);
            bash_command(out, program->command[c]);
            fputs("        ;;\n", out);
        }
        fputs("    esac fi\n", out);
    } else {
        fputs("    if [[ $prev == --completion ]]; then\n        words='bash zsh fish'\n    else\n", out);
        bash_command(out, program->command[0]);
        fputs("    fi\n    [[ $COMP_CWORD == 1 && $cur == -* ]] && words+=' " ASKED "'\n", out);
    }
    fputs("    local IFS=$' \\t\\n'\n    [[ -z $words ]] || COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    [[ -z $files ]] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n}\n",
          out);
    fprintf(out, "complete -o filenames -F _%s %s\n", program->name, program->name);
}

/* ---- zsh ---- */

static const char zsh_escaped[] = "[]'\\:";

static void zsh_value(FILE *out, const struct dg_flag *flag)
{
    fprintf(out, ":%s:", flag->choices ? "one of" : dg_flag_takes_path(flag) ? "path" : "value");
    if (flag->choices) {
        fputc('(', out);
        print_choices(out, flag->choices);
        fputc(')', out);
    } else if (dg_flag_takes_path(flag)) {
        fputs("_files", out);
    } else {
        fputc(' ', out);
    }
}

static void zsh_quoted(FILE *out, const char *help)
{
    size_t length = strcspn(help, ";:(");
    for (size_t i = 0; i < length; i++) {
        if (help[i] == '\'')
            fputs("'\\''", out);
        else
            fprintf(out, strchr(zsh_escaped, help[i]) ? "\\%c" : "%c", help[i]);
    }
}

static void zsh_arguments(FILE *out, const struct dg_command *command)
{
    fputs("_arguments -S", out);
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) {
        for (int form = 0; form < 1 + (flag->letter != 0); form++) {
            fprintf(out, " \\\n        '%s", flag->texts ? "*" : "");
            if (form) fprintf(out, "-%c", flag->letter);
            if (!form) fprintf(out, "--%s", flag->name);
            if (flag->value) fputc(form ? '+' : '=', out);
            fputc('[', out);
            zsh_quoted(out, flag->help);
            fputc(']', out);
            if (flag->value) zsh_value(out, flag);
            fputc('\'', out);
        }
    }
    fputs(" \\\n        '--help[print the flags]' '*:path:_files'", out);
}

static void write_zsh(const struct dg_commands *program, FILE *out)
{
    fprintf(out, "#compdef %s\n# zsh completion for %s\n_%s()\n{\n", program->name, program->name, program->name);
    if (dg_commands_are_named(program)) {
        fputs("    if ((CURRENT == 2)); then\n        local -a commands=(", out);
        for (int c = 0; c < program->commands; c++) {
            fprintf(out, "\n            '%s:", program->command[c]->name);
            zsh_quoted(out, program->command[c]->summary);
            fputc('\'', out);
        }
        fputs(")\n        _describe command commands\n        compadd -- help " ASKED "\n        return\n    fi\n"
              "    local name=$words[2]\n    shift words\n    ((CURRENT--))\n    case $name in\n",
              out);
        for (int c = 0; c < program->commands; c++) {
            fprintf(out, "    %s) ", program->command[c]->name);
            zsh_arguments(out, program->command[c]);
            fputs(" ;;\n", out);
        }
        fputs("    esac\n", out);
    } else {
        fputs("    ", out);
        zsh_arguments(out, program->command[0]);
        fputs(" \\\n        '--version[print the version]' '--completion[print completion]:shell:(bash zsh fish)' "
              "'--man[print the manual page]'\n",
              out);
    }
    fprintf(out, "}\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then _%s \"$@\"; else compdef _%s %s; fi\n",
            program->name, program->name, program->name);
}

/* ---- fish ---- */

static void fish_flags(FILE *out, const struct dg_commands *program, const struct dg_command *command)
{
    for (const struct dg_flag *flag = command->flags; flag->name; flag++) {
        fprintf(out, "complete -c %s", program->name);
        if (command->name) fprintf(out, " -n '__fish_seen_subcommand_from %s'", command->name);
        fprintf(out, " -l %s", flag->name);
        if (flag->letter) fprintf(out, " -s %c", flag->letter);
        if (flag->choices) {
            fputs(" -x -a '", out);
            print_choices(out, flag->choices);
            fputc('\'', out);
        } else if (flag->value) {
            fputs(dg_flag_takes_path(flag) ? " -r -F" : " -x", out);
        }
        fputs(" -d '", out);
        print_short(out, flag->help, "'\\");
        fputs("'\n", out);
    }
}

static void write_fish(const struct dg_commands *program, FILE *out)
{
    bool named = dg_commands_are_named(program);
    fprintf(out, "# fish completion for %s\n", program->name);
    for (int c = 0; c < program->commands; c++) {
        const struct dg_command *command = program->command[c];
        if (named) {
            fprintf(out, "complete -c %s -n __fish_use_subcommand -f -a %s -d '", program->name, command->name);
            print_short(out, command->summary, "'\\");
            fputs("'\n", out);
        }
        fish_flags(out, program, command);
    }
    const char *first = named ? "-n __fish_use_subcommand " : "";
    fprintf(out, "complete -c %s %s-s V -l version -d 'print the version'\n", program->name, first);
    fprintf(out, "complete -c %s %s-l completion -x -a 'bash zsh fish' -d 'print completion'\n", program->name, first);
    fprintf(out, "complete -c %s %s-l man -d 'print the manual page'\n", program->name, first);
    fprintf(out, "complete -c %s -s h -l help -d 'print the flags'\n", program->name);
}

bool dg_completion_write(const struct dg_commands *program, const char *shell, FILE *out)
{
    static const struct {
        const char *name;
        void (*write)(const struct dg_commands *program, FILE *out);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t s = 0; s < sizeof shells / sizeof *shells; s++) {
        if (strcmp(shell, shells[s].name)) continue;
        shells[s].write(program, out);
        return true;
    }
    return false;
}

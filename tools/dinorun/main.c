/* dinorun: runs plans that dinoc made. */
#include "tools/dinorun/command.h"

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_train, &command_crops,         &command_features, &command_knn,   &command_linear, &command_attention,
    &command_pca,   &command_segment_score, &command_info,     &command_bench, &command_import, &command_export};
enum { NUM_COMMANDS = sizeof commands / sizeof *commands };

static const char *command_name(const void *context, int index)
{
    (void)context;
    return commands[index]->name;
}

static void print_usage(FILE *stream)
{
    fputs("usage: dinorun COMMAND PLAN|FILE [flags]\n\n", stream);
    for (int c = 0; c < NUM_COMMANDS; c++) fprintf(stream, "  %-13s %s\n", commands[c]->name, commands[c]->summary);
    fputs("\ndinorun COMMAND --help tells more. dinoc makes the plans.\n", stream);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("dinorun " DG_VERSION);
        return 0;
    }
    for (int c = 0; c < NUM_COMMANDS; c++)
        if (!strcmp(argv[1], commands[c]->name)) return commands[c]->run(argc - 1, argv + 1);
    const char *near = dg_nearest_name(argv[1], command_name, NULL, NUM_COMMANDS);
    fprintf(stderr, "dinorun: there is no command %s%s%s%s; dinorun --help lists them\n", argv[1],
            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return 2;
}

int main(int argc, char **argv)
{
    struct dg_error err = {0};
    if (dg_log_read_environment(&console.trace, &err) != DG_OK) return fail(&err);
    int status = run(argc, argv);
    flag_values(0);
    if ((fflush(stdout) || ferror(stdout)) && !status) {
        fputs("dinorun: not all of the output could be written: is the disk full?\n", stderr);
        status = 1;
    }
    return status;
}

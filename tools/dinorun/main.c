/* dinorun: runs plans that dinoc made. */
#include "ops/kernels/level.h"
#include "runtime/comm/comm.h"
#include "tools/cli/commands.h"
#include "tools/cli/help.h"
#include "tools/cli/names.h"
#include "tools/dinorun/command.h"

#include <stdio.h>
#include <string.h>

static const struct dg_command *const commands[] = {
    &command_train,     &command_crops,  &command_features,      &command_knn,        &command_linear,
    &command_attention, &command_pca,    &command_segment_score, &command_retrieve,   &command_copy_detect,
    &command_info,      &command_bench,  &command_scale,         &command_import,     &command_export,
    &command_bundle,    &command_report, &command_video_segment, &command_video_score};
enum { NUM_COMMANDS = sizeof commands / sizeof *commands };
static const struct dg_commands dinorun = {
    "dinorun", "trains and evaluates DINO vision models by plans that dinoc makes", commands, NUM_COMMANDS};

const char *const *command_line;

static const char *command_name(const void *context, int index)
{
    (void)context;
    return commands[index]->name;
}

static void print_overview(FILE *stream)
{
    fputs("usage: dinorun COMMAND PLAN|FILE [flags]\n\n", stream);
    for (int c = 0; c < NUM_COMMANDS; c++) fprintf(stream, "  %-13s %s\n", commands[c]->name, commands[c]->summary);
    fputc('\n', stream);
    dg_commands_help(stream);
    fputs("\ndinorun COMMAND --help lists the flags of a command. dinoc makes the plans.\n", stream);
}

/* NULL: there is none, which has been reported. */
static const struct dg_command *find_command(const char *name)
{
    const struct dg_command *command = dg_commands_find(&dinorun, name);
    if (command) return command;
    const char *near = dg_nearest_name(name, command_name, NULL, NUM_COMMANDS);
    fprintf(stderr, "dinorun: there is no command %s%s%s%s; dinorun --help lists them\n", name,
            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return NULL;
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

/* Commands that several processes share. */
static bool takes_ranks(const struct dg_command *command)
{
    return command == &command_train || command == &command_bench || command == &command_features ||
           command == &command_knn || command == &command_linear;
}

static const struct dg_command *running;

static int run_quietly(void)
{
    struct dg_error err = {0};
    if (quiet && quiet_open(&err) != DG_OK) return exit_status(&err);
    int status = running->run();
    return quiet_close(&err) == DG_OK || status ? status : exit_status(&err);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return 2;
    }
    int status = dg_commands_ask(&dinorun, argc, argv);
    if (status >= 0) return status;
    if (is_help(argv[1]) && (argc == 2 || is_help(argv[2]))) {
        print_overview(stdout);
        return 0;
    }
    bool help = is_help(argv[1]); /* dinorun help COMMAND */
    const struct dg_command *command = find_command(argv[1 + help]);
    if (!command) return 2;
    int processes = dg_comm_launched();
    if (processes > 1 && !takes_ranks(command) && !help) {
        fprintf(stderr, "dinorun: dinorun %s is for one process, and %d were started: start it without mpirun\n",
                command->name, processes);
        return 2;
    }
    if (!help) {
        struct dg_command quietly = *command;
        running = command;
        quietly.run = run_quietly;
        return dg_command_run(&quietly, argc - 1, argv + 1);
    }
    dg_command_help(command, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    struct dg_error err = {0};
    command_line = (const char *const *)argv;
    if (dg_log_read_environment(&console.trace, &err) != DG_OK || dg_cpu_level_check(&err) != DG_OK)
        return exit_status(&err);
    return dg_finish_output("dinorun", run(argc, argv));
}

/* dinorun's commands, one file each, and what they share. A command returns the process's exit status: 0, 1 (failed), 2 (asked
 * wrongly). */
#ifndef DINORUN_COMMAND_H
#define DINORUN_COMMAND_H

#include "runtime/base/log.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"

#include <getopt.h>

struct command {
    const char *name, *arguments, *summary; /* for --help */
    const char *flags;                      /* its own help: a line a flag */
    int (*run)(int argc, char **argv);      /* argv[0] is the command's name */
};
extern const struct command command_train, command_crops, command_features, command_knn, command_linear,
    command_attention, command_pca, command_segment_score, command_info, command_bench, command_import, command_export;

/* Says what went wrong, and turns it into an exit status. */
int fail(const struct dg_error *err);
/* A wrong flag: prints the command's own message and how to get help. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
void print_help(const struct command *command);

/* Flags that take numbers. False: reported. */
bool flag_whole(const struct command *command, const char *flag, const char *text, int64_t min, int64_t max,
                int64_t *value);
/* Above 0, at most 1. */
bool flag_share(const struct command *command, const char *flag, const char *text, double *value);
/* Pixels, "480" or "160x240" (height x width). */
bool flag_size(const struct command *command, const char *flag, const char *text, int64_t *height, int64_t *width);

/* --weights-from: teacher or student. */
bool flag_from(const struct command *command, const char *from);

/* getopt_long for a command: the flags of `options`, and --help. Returns the flag's value; 'h' after printing the help, '?'
 * after an error message, -1 at the end. */
int next_flag(const struct command *command, int argc, char **argv, const struct option *options);
/* Room for the values of a flag that may be given again. main frees it in the end (`argc` 0), so that a command may return
 * from anywhere. NULL: out of memory. One such flag a command. */
const char **flag_values(int argc);
/* The one file that follows the flags, `what` it is; NULL: reported. */
const char *file_argument(const struct command *command, int argc, char **argv, const char *what);
const char *plan_argument(const struct command *command, int argc, char **argv);

/* A plan and its knobs, with what --set and --epochs (0: not given) change. Close both, whatever the result; zeroed ones are
 * fine. */
enum dg_status open_plan(const char *path, const char *const *set, int num_sets, int64_t epochs, struct dg_plan *plan,
                         struct dg_knobs *knobs, struct dg_error *err);

/* "12/400 images" over and over on one line, for terminals; and nothing again. */
void show_images(int64_t done, int64_t all);
void clear_images(void);

/* Where the runtime's messages go: what was done to standard output, warnings and traces to standard error. The traces are those
 * that DINOGRAPH_TRACE asks for. */
extern struct dg_log console;
void write_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text);
/* Warnings and traces to standard error, after what is in standard output; for callbacks of a command's own. */
void write_to_stderr(enum dg_log_level level, enum dg_log_topic topic, const char *text);

/* Region by region what a session takes, to standard output. */
void print_memory(const struct dg_session_memory *memory, int64_t loader_bytes);

#endif

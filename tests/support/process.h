/* Programs run as processes, for tests of command lines. Any failure to run one fails the running CMocka test. */
#ifndef DG_TESTS_PROCESS_H
#define DG_TESTS_PROCESS_H

#include <sys/types.h>

enum { PROCESS_TEXT = 1 << 16 };

struct process {
    pid_t pid;
    int status; /* exit status; -N: killed by signal N */
    int out_file, err_file;
    char out[PROCESS_TEXT], err[PROCESS_TEXT]; /* what it printed, cut at the end */
};

/* Starts argv[0] (with a / in it, or found in PATH; argv ends with NULL). Its standard input is empty; its standard output goes
 * to the file `out_path`, or to `out` if NULL. process_wait ends it. */
void process_start(struct process *process, const char *const argv[], const char *out_path);
void process_wait(struct process *process);

/* Both; the result lasts until the next call. */
const struct process *process_run(const char *const argv[], const char *out_path);
#define RUN(...) process_run((const char *const[]){__VA_ARGS__, NULL}, NULL)

/* The last one ended so, and its `out` or `err` has the text. */
void process_assert_status(const struct process *process, int status);
void process_assert_says(const struct process *process, const char *stream, const char *text);

#endif

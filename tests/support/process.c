#include "tests/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Files, not pipes: a program that prints much never waits for its reader. */
static int nameless_file(void)
{
    char path[] = "/tmp/dg-process-XXXXXX";
    int file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    unlink(path);
    return file;
}

void process_start(struct process *process, const char *const argv[], const char *out_path)
{
    process->out[0] = process->err[0] = 0;
    process->out_file = out_path ? open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : nameless_file();
    process->err_file = nameless_file();
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(process->out_file >= 0 && nothing >= 0);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid) {
        close(nothing);
        return;
    }
    dup2(nothing, 0);
    dup2(process->out_file, 1);
    dup2(process->err_file, 2);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void read_back(int file, char text[PROCESS_TEXT])
{
    ssize_t got = pread(file, text, PROCESS_TEXT - 1, 0); /* fails on a device such as /dev/full: then there is none */
    text[got > 0 ? got : 0] = 0;
    close(file);
}

void process_wait(struct process *process)
{
    int status;
    while (waitpid(process->pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    process->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    read_back(process->out_file, process->out);
    read_back(process->err_file, process->err);
    assert_int_not_equal(process->status, 127); /* there is such a program */
}

const struct process *process_run(const char *const argv[], const char *out_path)
{
    static struct process process;
    process_start(&process, argv, out_path);
    process_wait(&process);
    return &process;
}

void process_assert_status(const struct process *process, int status)
{
    if (process->status != status)
        fail_msg("ended with %d, not %d\n%s%s", process->status, status, process->err, process->out);
}

void process_assert_says(const struct process *process, const char *stream, const char *text)
{
    if (!strstr(stream, text)) fail_msg("\"%s\" is not in what it said:\n%s%s", text, process->err, process->out);
}

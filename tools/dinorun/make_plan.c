#include "tools/dinorun/make_plan.h"

#include "tools/dinorun/command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_WORDS = 256, MAX_FILE = DG_MAX_PATH + 24 };

/* dinoc is beside dinorun; else where the shell finds it. */
static void find_dinoc(char path[DG_MAX_PATH])
{
    ssize_t length = readlink("/proc/self/exe", path, DG_MAX_PATH - 16);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash) strcpy(slash + 1, "dinoc");
    if (!slash || access(path, X_OK)) strcpy(path, "dinoc");
}

/* Runs dinoc without its report. Its errors are on standard error. */
static enum dg_status run_dinoc(const struct plan_to_make *make, const char *file, const char *plan,
                                struct dg_error *err)
{
    posix_spawn_file_actions_t files;
    pid_t pid;
    int status = 0, count = 0;
    char dinoc[DG_MAX_PATH];
    const char *words[MAX_WORDS + 8];
    find_dinoc(dinoc);
    words[count++] = dinoc;
    words[count++] = file;
    for (int w = 0; w < MAX_WORDS && make->flags[w]; w++) words[count++] = make->flags[w];
    words[count++] = "-o";
    words[count++] = plan;
    words[count] = NULL;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int problem = posix_spawnp(&pid, dinoc, &files, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&files);
    if (problem) return dg_fail(err, DG_ERR_IO, "cannot run dinoc, which makes %s: %s", make->what, strerror(problem));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "dinoc could not make %s", make->what);
}

static enum dg_status write_text(const char *path, const char *text, struct dg_error *err)
{
    FILE *out = fopen(path, "w");
    bool wrote = out && fputs(text, out) >= 0;
    if (out && fclose(out)) wrote = false;
    return wrote ? DG_OK : dg_fail(err, DG_ERR_IO, "%s: %s", path, strerror(errno));
}

enum dg_status make_plan(const struct plan_to_make *make,
                         enum dg_status (*open)(void *, const char *, struct dg_error *), void *context,
                         struct dg_error *err)
{
    char folder[DG_MAX_PATH], text[MAX_FILE], plan[MAX_FILE];
    const char *temporary = getenv("TMPDIR");
    if (snprintf(folder, sizeof folder, "%s/dinorun-plan-XXXXXX", temporary && *temporary ? temporary : "/tmp") >=
        DG_MAX_PATH)
        return dg_fail(err, DG_ERR_USAGE, "the path of TMPDIR is too long");
    if (!mkdtemp(folder)) return dg_fail(err, DG_ERR_IO, "%s: %s", folder, strerror(errno));
    snprintf(plan, sizeof plan, "%s/plan", folder);
    snprintf(text, sizeof text, "%s/text.yaml", folder);
    if (make->said) dg_log(&console, DG_LOG_INFO, DG_LOG_PLAN, "%s", make->said);
    fflush(stdout); /* before what dinoc may have to say */
    enum dg_status status = make->description ? write_text(text, make->description, err) : DG_OK;
    if (status == DG_OK) status = run_dinoc(make, make->description ? text : make->file, plan, err);
    if (status == DG_OK) status = open(context, plan, err);
    unlink(text);
    unlink(plan); /* what is open stays */
    rmdir(folder);
    return status;
}

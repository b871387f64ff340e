/* The plan of a linear probe on a run's backbone: dinoc makes it of the description in the run's folder. */
#include "tools/dinorun/command.h"

#include "runtime/data/dataset.h"
#include "runtime/layouts/weight_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_WORDS = 256 };

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
static enum dg_status run_dinoc(const char *const *words, struct dg_error *err)
{
    posix_spawn_file_actions_t files;
    pid_t pid;
    int status = 0;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int problem = posix_spawnp(&pid, words[0], &files, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&files);
    if (problem)
        return dg_fail(err, DG_ERR_IO, "cannot run dinoc, which makes the probe's plan of %s: %s", words[1],
                       strerror(problem));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "dinoc could not make the probe's plan of %s", words[1]);
}

/* Of several processes, which all make the plan, one says so. */
static void say_command(const char *recipe, const char *classes, const struct dg_flag_values *set)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    fprintf(out, "dinoc %s --probe --set %s", recipe, classes);
    for (int s = 0; s < set->count; s++) fprintf(out, " --set '%s'", set->value[s]);
    fputs(" makes the probe's plan", out);
    if (!fclose(out)) dg_log(&console, DG_LOG_INFO, DG_LOG_PLAN, "%s", text);
    fflush(stdout);
    free(text);
}

static enum dg_status compile(const char *recipe, int64_t classes, const struct dg_flag_values *set, const char *plan,
                              struct dg_error *err)
{
    char dinoc[DG_MAX_PATH], number[48];
    const char *words[MAX_WORDS];
    int count = 0;
    if (set->count > MAX_WORDS / 2 - 8) return dg_fail(err, DG_ERR_USAGE, "too many --set");
    find_dinoc(dinoc);
    snprintf(number, sizeof number, "classes=%" PRId64, classes);
    const char *const first[] = {dinoc, recipe, "--probe", "--set", number};
    for (size_t w = 0; w < sizeof first / sizeof *first; w++) words[count++] = first[w];
    for (int s = 0; s < set->count; s++) {
        words[count++] = "--set";
        words[count++] = set->value[s];
    }
    say_command(recipe, number, set);
    words[count++] = "-o";
    words[count++] = plan;
    words[count] = NULL;
    return run_dinoc(words, err);
}

bool find_probe_plan(const char *head, char path[DG_MAX_PATH])
{
    const char *slash = strrchr(head, '/');
    int folder = slash ? (int)(slash - head) : 1;
    return snprintf(path, DG_MAX_PATH, "%.*s/run.plan", folder, slash ? head : ".") < DG_MAX_PATH &&
           !access(path, F_OK);
}

enum dg_status count_classes(const struct dg_data *images, const char *head, int64_t *classes, struct dg_error *err)
{
    if (!head) {
        struct dg_dataset *dataset;
        DG_TRY(dg_dataset_open(images, DG_LABELS_NEEDED, NULL, &dataset, err));
        *classes = dg_dataset_classes(dataset);
        dg_dataset_close(dataset);
        return DG_OK;
    }
    struct dg_weight_file *file;
    DG_TRY(dg_weight_file_open(head, NULL, &file, err));
    int weight = dg_weight_file_find(file, "linear.weight");
    enum dg_status status = DG_OK;
    if (weight >= 0 && dg_weight_file_at(file, weight)->ndim == 2)
        *classes = dg_weight_file_at(file, weight)->dim[0];
    else
        status = dg_fail(err, DG_ERR_INPUT,
                         "%s has no linear.weight: a head is what dinorun linear leaves, or a published one", head);
    dg_weight_file_close(file);
    return status;
}

enum dg_status open_probe_plan(struct opened_plan *of, int64_t classes, struct dg_error *err)
{
    of->run = of->path;
    char recipe[DG_MAX_PATH], folder[DG_MAX_PATH], plan[DG_MAX_PATH + 16];
    const char *temporary = getenv("TMPDIR");
    if (snprintf(recipe, sizeof recipe, "%s/recipe.yaml", of->path) >= DG_MAX_PATH)
        return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (access(recipe, F_OK))
        return dg_fail(err, DG_ERR_USAGE,
                       "%s has no recipe.yaml: is it a run's folder? One of 0.1 needs the plan of a probe (dinoc "
                       "DESCRIPTION --probe --set classes=%" PRId64 " -o PLAN) and --weights",
                       of->path, classes);
    if (snprintf(folder, sizeof folder, "%s/dinorun-probe-XXXXXX", temporary && *temporary ? temporary : "/tmp") >=
        DG_MAX_PATH)
        return dg_fail(err, DG_ERR_USAGE, "the path of TMPDIR is too long");
    if (!mkdtemp(folder)) return dg_fail(err, DG_ERR_IO, "%s: %s", folder, strerror(errno));
    snprintf(plan, sizeof plan, "%s/probe.plan", folder);
    enum dg_status status = compile(recipe, classes, &of->set, plan, err);
    const struct dg_flag_values set = of->set; /* they are in the plan */
    of->set = (struct dg_flag_values){0};
    if (status == DG_OK) status = open_plan_file(of, plan, err);
    of->set = set;
    unlink(plan); /* what is open stays */
    rmdir(folder);
    return status;
}

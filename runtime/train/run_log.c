#include "runtime/train/run_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct dg_run_log {
    FILE *file;
    char *path;
};

/* The end of the lines before `step`, up to the first line that is cut. */
static long end_before(FILE *file, int64_t step)
{
    char line[1024];
    long end = 0;
    while (fgets(line, sizeof line, file)) {
        long long at;
        if (!strchr(line, '\n') || sscanf(line, "{\"step\": %lld", &at) != 1 || at >= step) break;
        end = ftell(file);
    }
    return end;
}

enum dg_status dg_run_log_open(const char *path, int64_t step, struct dg_run_log **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_run_log *log = calloc(1, sizeof *log);
    if (log) log->path = strdup(path);
    if (!log || !log->path) {
        dg_run_log_close(log);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    log->file = fopen(path, "a+e");
    bool ok = log->file != NULL;
    if (ok) {
        rewind(log->file);
        ok = !ftruncate(fileno(log->file), step ? end_before(log->file, step) : 0);
    }
    if (!ok) {
        enum dg_status status = dg_fail(err, DG_ERR_IO, "%s: %s", path, strerror(errno));
        dg_run_log_close(log);
        return status;
    }
    *result = log;
    return DG_OK;
}

enum dg_status dg_run_log_line(struct dg_run_log *log, struct dg_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fseek(log->file, 0, SEEK_END);
    vfprintf(log->file, format, args);
    va_end(args);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(log->file, ", \"time\": %lld.%03ld}\n", (long long)now.tv_sec, now.tv_nsec / 1000000);
    if (!fflush(log->file) && !ferror(log->file)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "%s: %s", log->path, strerror(errno));
}

enum dg_status dg_run_log_write(struct dg_run_log *log, const struct dg_step_report *r, struct dg_error *err)
{
    char waited[32] = "";
    if (r->waited >= 0) snprintf(waited, sizeof waited, ", \"waited\": %.4g", r->waited);
    return dg_run_log_line(log, err,
                           "{\"step\": %lld, \"epoch\": %lld, \"loss\": %.9g, \"lr\": %.17g, \"weight_decay\": %.17g, "
                           "\"momentum\": %.17g, \"teacher_temp\": %.17g, \"teacher_entropy\": %.9g, \"kl\": %.9g, "
                           "\"grad_norm\": %.9g, \"images_per_s\": %.4g%s",
                           (long long)r->step, (long long)r->epoch, r->loss, r->lr, r->weight_decay, r->momentum,
                           r->teacher_temp, r->teacher_entropy, r->kl, r->grad_norm, r->images_per_s, waited);
}

enum dg_status dg_run_log_sync(struct dg_run_log *log, struct dg_error *err)
{
    if (!fsync(fileno(log->file)) || errno == EINVAL || errno == EROFS) return DG_OK; /* a device, a pipe */
    return dg_fail(err, DG_ERR_IO, "%s: %s", log->path, strerror(errno));
}

void dg_run_log_close(struct dg_run_log *log)
{
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log->path);
    free(log);
}

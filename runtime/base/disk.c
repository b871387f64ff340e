#include "runtime/base/disk.h"

#include <sys/statvfs.h>

/* Multiples of `every` in (first, end). */
static int64_t multiples(int64_t first, int64_t end, int64_t every)
{
    return every && end > first ? (end - 1) / every - first / every : 0;
}

/* The last one, or -1. */
static int64_t last_multiple(int64_t first, int64_t end, int64_t every)
{
    return multiples(first, end, every) ? (end - 1) / every * every : -1;
}

int64_t dg_disk_need(const struct dg_disk_run *run)
{
    if (run->end <= run->first) return 0;
    /* The folder is largest while the last checkpoint is written: it holds all retained checkpoints, the newest, the
     * `last` before it (unless retained: then they share a file), and the temporary file. Each checkpoint written has
     * removed one of those present at first. With a smaller `last` than before, the folder may be largest while the
     * first checkpoint is written. */
    int64_t copies = multiples(run->first, run->end, run->keep), stay = 0, written = 0;
    for (int64_t at = run->end; written <= run->last; written++) {
        at = dg_max_i64(last_multiple(run->first, at, run->every), last_multiple(run->first, at, run->keep));
        if (at < 0) break;
        stay += !(run->keep && at % run->keep == 0);
    }
    int64_t old = dg_min_i64(run->present, run->last + 1 - written);
    int64_t files = dg_max_i64(copies + stay + old + 1 - run->present, 1);
    int64_t checkpoints, log, all;
    if (!dg_mul_i64(files, run->checkpoint_bytes, &checkpoints) ||
        !dg_mul_i64(run->end - run->first, run->log_bytes, &log) || !dg_add_i64(checkpoints, log, &all))
        return INT64_MAX;
    return all;
}

enum dg_status dg_disk_check(const char *folder, int64_t bytes, const char *what_to_do, struct dg_error *err)
{
    struct statvfs info;
    char need[32], have[32];
    if (statvfs(folder, &info) || !info.f_blocks) return DG_OK;
    double free_bytes = (double)info.f_bavail * (double)info.f_frsize;
    if ((double)bytes <= free_bytes) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "%s: the run will write %s there, and the disk has %s free: %s", folder,
                   dg_format_bytes(need, sizeof need, (double)bytes), dg_format_bytes(have, sizeof have, free_bytes),
                   what_to_do);
}

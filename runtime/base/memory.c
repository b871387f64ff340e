#include "runtime/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* The number in a one-line file, or -1 ("max", no such file). */
static int64_t number_in(const char *path)
{
    FILE *file = fopen(path, "r");
    long long value = -1;
    if (!file) return -1;
    if (fscanf(file, "%lld", &value) != 1) value = -1;
    fclose(file);
    return value;
}

static int64_t machine_available(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    long long kib = -1;
    if (!file) return INT64_MAX;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) break;
    fclose(file);
    return kib < 0 ? INT64_MAX : kib * 1024;
}

/* Memory that control group `path` and its parents leave. Page cache that can be dropped counts as free. */
static int64_t group_available(const char *root, const char *path, const char *limit_file, const char *used_file)
{
    char group[1024], file[1200], stat_file[1200];
    int64_t least = INT64_MAX;
    snprintf(group, sizeof group, "%s%s", root, path);
    for (;;) {
        snprintf(file, sizeof file, "%s/%s", group, limit_file);
        int64_t limit = number_in(file);
        snprintf(file, sizeof file, "%s/%s", group, used_file);
        int64_t used = number_in(file);
        if (limit >= 0 && used >= 0 && limit < INT64_C(1) << 60) {
            long long cache = 0;
            char line[256];
            snprintf(stat_file, sizeof stat_file, "%s/memory.stat", group);
            FILE *stat = fopen(stat_file, "r");
            while (stat && fgets(line, sizeof line, stat))
                if (sscanf(line, "inactive_file %lld", &cache) == 1) break;
            if (stat) fclose(stat);
            least = dg_min_i64(least, dg_max_i64(0, limit - used + cache));
        }
        char *slash = strrchr(group, '/');
        if (!slash || (size_t)(slash - group) < strlen(root)) return least;
        *slash = 0;
    }
}

int64_t dg_memory_available(void)
{
    int64_t available = machine_available();
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[1024];
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        if (!second) continue;
        if (!strncmp(line, "0::", 3))
            available =
                dg_min_i64(available, group_available("/sys/fs/cgroup", second + 1, "memory.max", "memory.current"));
        else if (strstr(first, "memory"))
            available = dg_min_i64(available, group_available("/sys/fs/cgroup/memory", second + 1,
                                                              "memory.limit_in_bytes", "memory.usage_in_bytes"));
    }
    if (file) fclose(file);
    return available;
}

int64_t dg_memory_peak(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

enum { HUGE_PAGE = 2 * 1024 * 1024 };

enum dg_status dg_region_alloc(const char *what, int64_t bytes, void **region, struct dg_error *err)
{
    *region = NULL;
    if (bytes == 0) return DG_OK;
    void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        char size[32];
        return dg_fail(err, DG_ERR_MEMORY, "no memory for %s: %s", what,
                       dg_format_bytes(size, sizeof size, (double)bytes));
    }
    if (bytes >= HUGE_PAGE) madvise(memory, (size_t)bytes, MADV_HUGEPAGE); /* may fail; 4 times faster start-up */
    for (int64_t at = 0; at < bytes; at += 4096) ((volatile unsigned char *)memory)[at] = 0;
    *region = memory;
    return DG_OK;
}

void dg_region_free(void *region, int64_t bytes)
{
    if (region) munmap(region, (size_t)bytes);
}

#include "runtime/base/memory.h"

#include "runtime/base/control_group.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

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

/* Lowers *least to the memory that a group leaves. Page cache that can be dropped counts as free. */
static void visit_group(void *context, enum dg_control_group_version version, const char *folder)
{
    bool second = version == DG_CONTROL_GROUP_V2;
    int64_t *least = context, cache = 0;
    int64_t limit = dg_control_group_number(folder, second ? "memory.max" : "memory.limit_in_bytes");
    int64_t used = dg_control_group_number(folder, second ? "memory.current" : "memory.usage_in_bytes");
    if (limit < 0 || used < 0 || limit >= INT64_C(1) << 60) return;
    char line[256];
    FILE *stat = dg_control_group_file(folder, "memory.stat");
    while (stat && fgets(line, sizeof line, stat))
        if (sscanf(line, "inactive_file %" SCNd64, &cache) == 1) break;
    if (stat) fclose(stat);
    *least = dg_min_i64(*least, dg_max_i64(0, limit - used + cache));
}

int64_t dg_memory_available(void)
{
    int64_t available = machine_available();
    dg_control_groups_visit("", "memory", visit_group, &available);
    return available;
}

int64_t dg_memory_peak(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

enum { PAGE = 4096, HUGE_PAGE = 2 * 1024 * 1024 };

enum dg_status dg_region_map(const char *what, int64_t bytes, void **region, struct dg_error *err)
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
    *region = memory;
    return DG_OK;
}

void dg_region_touch(void *range, int64_t bytes)
{
    volatile unsigned char *byte = range;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < bytes; at += PAGE) byte[at] = 0;
    if (bytes) byte[bytes - 1] = 0; /* a range need not begin with a page */
}

enum dg_status dg_region_alloc(const char *what, int64_t bytes, void **region, struct dg_error *err)
{
    DG_TRY(dg_region_map(what, bytes, region, err));
    dg_region_touch(*region, bytes);
    return DG_OK;
}

void dg_region_free(void *region, int64_t bytes)
{
    if (region) munmap(region, (size_t)bytes);
}

/* Chooses the CPU level once. */
#include "ops/kernels/level.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static bool has_v1(void) { return true; }

#ifdef __x86_64__
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
}

static bool has_v4b(void) { return has_v4() && __builtin_cpu_supports("avx512bf16"); }
#else
/* CMakeLists.txt builds the other levels for x86-64 only. */
static bool has_v3(void) { return false; }
static bool has_v4(void) { return false; }
static bool has_v4b(void) { return false; }
#endif

static const struct {
    const char *name;
    bool (*has)(void);
} levels[DG_CPU_LEVELS] = {
    [DG_CPU_V1] = {"v1", has_v1},
    [DG_CPU_V3] = {"v3", has_v3},
    [DG_CPU_V4] = {"v4", has_v4},
    [DG_CPU_V4B] = {"v4b", has_v4b},
};

const char *dg_cpu_level_name(enum dg_cpu_level level) { return levels[level].name; }

bool dg_cpu_has_level(enum dg_cpu_level level) { return levels[level].has(); }

/* The level of that name, or DG_CPU_LEVELS. */
static enum dg_cpu_level find(const char *name)
{
    enum dg_cpu_level level = DG_CPU_V1;
    while (level < DG_CPU_LEVELS && strcmp(name, levels[level].name)) level++;
    return level;
}

/* What DINOGRAPH_CPU says; NULL if it is not set or empty. */
static const char *limit(void)
{
    const char *name = getenv("DINOGRAPH_CPU");
    return name && *name ? name : NULL;
}

enum dg_status dg_cpu_level_check(struct dg_error *err)
{
    const char *name = limit();
    if (!name || find(name) < DG_CPU_LEVELS) return DG_OK;
    char list[64] = "";
    for (int level = 0; level < DG_CPU_LEVELS; level++) {
        if (level) strcat(list, ", ");
        strcat(list, levels[level].name);
    }
    return dg_fail(err, DG_ERR_USAGE, "DINOGRAPH_CPU: there is no level %s; there are %s", name, list);
}

static enum dg_cpu_level chosen;
static bool named;

static void choose(void)
{
    const char *name = limit();
    enum dg_cpu_level highest = name ? find(name) : DG_CPU_LEVELS;
    for (enum dg_cpu_level level = DG_CPU_V1; level < DG_CPU_LEVELS && level <= highest; level++)
        if (levels[level].has()) chosen = level;
    named = chosen == highest;
}

enum dg_cpu_level dg_cpu_level(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen;
}

bool dg_cpu_level_is_named(void) { return dg_cpu_level() < DG_CPU_LEVELS && named; }

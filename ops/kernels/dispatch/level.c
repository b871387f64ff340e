/* Chooses the CPU level once. */
#include "ops/kernels/level.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/* AMX-TILE and AMX-BF16 of the CPU, their state among what the kernel saves, and the kernel's permission for this process. */
static bool has_v5(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, XTILE = 3 << 17, ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    unsigned a, b, c, d, saved, upper;
    if (!has_v4b() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d & AMX_BF16) || !(d & AMX_TILE)) return false;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
    return (saved & XTILE) == XTILE && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#else
/* CMakeLists.txt builds the other levels for x86-64 only. */
static bool has_v3(void) { return false; }
static bool has_v4(void) { return false; }
static bool has_v4b(void) { return false; }
static bool has_v5(void) { return false; }
#endif

static bool has_emulation(void) { return true; }

static const struct {
    const char *name;
    bool (*has)(void);
} levels[DG_CPU_LEVELS] = {
    [DG_CPU_V1] = {"v1", has_v1}, [DG_CPU_V3] = {"v3", has_v3},
    [DG_CPU_V4] = {"v4", has_v4}, [DG_CPU_V4B] = {"v4b", has_v4b},
    [DG_CPU_V5] = {"v5", has_v5}, [DG_CPU_AMX_EMULATED] = {"amx-emulated", has_emulation},
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

enum dg_cpu_level dg_cpu_highest_level(enum dg_cpu_level most)
{
    enum dg_cpu_level level = most < DG_CPU_V5 ? most : DG_CPU_V5;
    while (!levels[level].has()) level--;
    return level;
}

static enum dg_cpu_level chosen;
static bool named;

static void choose(void)
{
    enum dg_cpu_level asked = limit() ? find(limit()) : DG_CPU_LEVELS;
    chosen = asked == DG_CPU_AMX_EMULATED ? asked : dg_cpu_highest_level(asked);
    named = chosen == asked;
}

enum dg_cpu_level dg_cpu_level(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen;
}

bool dg_cpu_level_is_named(void) { return dg_cpu_level() < DG_CPU_LEVELS && named; }

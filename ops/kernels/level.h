/* CPU levels: which instructions our own loops may use. A level includes all that the levels before it have;
 * the last one emulates instructions. */
#ifndef DG_OPS_KERNELS_LEVEL_H
#define DG_OPS_KERNELS_LEVEL_H

#include "ops/base/base.h"

#include <stdbool.h>

enum dg_cpu_level {
    DG_CPU_V1,           /* the baseline of the architecture: SSE2 on x86-64 */
    DG_CPU_V3,           /* AVX2, FMA, BMI2 */
    DG_CPU_V4,           /* AVX-512 F, BW, DQ, VL, CD */
    DG_CPU_V4B,          /* AVX-512 BF16 */
    DG_CPU_V5,           /* AMX-TILE, AMX-BF16, which the kernel of the system must permit as well */
    DG_CPU_AMX_EMULATED, /* the kernels of V5 with tiles in plain C (amx.h), for tests; others are the highest level's */
    DG_CPU_LEVELS        /* their number */
};

/* The level that this process runs at: the highest that the CPU has, but none above the one that DINOGRAPH_CPU names. The
 * emulation is there on any CPU, and chosen only where DINOGRAPH_CPU names it. The first call decides; any thread may call. */
enum dg_cpu_level dg_cpu_level(void);

/* Whether DINOGRAPH_CPU named that level. */
bool dg_cpu_level_is_named(void);

/* DG_ERR_USAGE where DINOGRAPH_CPU names no level; the text lists the levels. dg_cpu_level() disregards such a value, so
 * whoever opens a session or starts a program asks here first. */
enum dg_status dg_cpu_level_check(struct dg_error *err);

/* Whether this CPU and this build have the level, whatever DINOGRAPH_CPU says. */
bool dg_cpu_has_level(enum dg_cpu_level level);

/* The highest level up to `most` that the CPU has; never the emulation. */
enum dg_cpu_level dg_cpu_highest_level(enum dg_cpu_level most);

/* "v1", "v3", "v4", "v4b", "v5" or "amx-emulated": the values of DINOGRAPH_CPU. */
const char *dg_cpu_level_name(enum dg_cpu_level level);

#endif

/* What the header of a family of kernels is made of.
 *
 * A family is a struct of pointers to functions, e.g. struct dg_gelu_kernels in gelu.h. Its source file, gelu.c, is compiled once
 * per CPU level (CMakeLists.txt) and defines one such table, DG_KERNELS(gelu). dispatch/dispatch.c picks the table of this
 * process's level, so binaries are portable and no flag is -march=native; callers write dg_gelu_kernels()->forward(...).
 * list.h names all families and kernels; README.md says how to add one. */
#ifndef DG_OPS_KERNELS_FAMILY_H
#define DG_OPS_KERNELS_FAMILY_H

#include "ops/kernels/level.h"

#include <stdbool.h>
#include <stdint.h>

/* Declares the accessors of a family: its kernels at the level of this process, and at any level that the CPU has (for tests).
 * A kernel that a level has no code for is that of the level below. Any thread may call. */
#define DG_KERNEL_FAMILY(family)                                                                                       \
    const struct dg_##family##_kernels *dg_##family##_kernels(void);                                                   \
    const struct dg_##family##_kernels *dg_##family##_kernels_at(enum dg_cpu_level level)

/* Begins the definition of a family's table at the level that is being compiled. Kernels that are not named are inherited. */
#define DG_KERNELS_PASTE(family, level) dg_##family##_kernels_##level
#define DG_KERNELS_EXPAND(family, level) DG_KERNELS_PASTE(family, level)
#define DG_KERNELS(family)                                                                                             \
    extern const struct dg_##family##_kernels DG_KERNELS_EXPAND(family, DG_KERNEL_LEVEL);                              \
    const struct dg_##family##_kernels DG_KERNELS_EXPAND(family, DG_KERNEL_LEVEL)

#endif

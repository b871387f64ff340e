/* Chooses the kernel table once. */
#include "ops/kernels/kernels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_kernel_table dg_kernel_table_v1;
#if defined(__x86_64__)
extern const struct dg_kernel_table dg_kernel_table_v3;
extern const struct dg_kernel_table dg_kernel_table_v4;
extern const struct dg_kernel_table dg_kernel_table_v4b;
#endif

const struct dg_kernel_table *dg_kernels(void)
{
    static const struct dg_kernel_table *chosen; /* racing first calls choose the same table */
    if (chosen) return chosen;
    const struct dg_kernel_table *best = &dg_kernel_table_v1;
#if defined(__x86_64__)
    const char *limit = getenv("DINOGRAPH_CPU");
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512cd");
    if (v3 && !(limit && !strcmp(limit, "v1"))) best = &dg_kernel_table_v3;
    bool v4b = v4 && __builtin_cpu_supports("avx512bf16");
    if (v4 && !(limit && (!strcmp(limit, "v1") || !strcmp(limit, "v3")))) best = &dg_kernel_table_v4;
    if (v4b && best == &dg_kernel_table_v4 && !(limit && !strcmp(limit, "v4"))) best = &dg_kernel_table_v4b;
#endif
    return chosen = best;
}

/* Gives each family's kernels at each CPU level: those that the level has code for, else those of the level below. */
#include "ops/kernels/activation.h"
#include "ops/kernels/add.h"
#include "ops/kernels/attention.h"
#include "ops/kernels/batch_norm.h"
#include "ops/kernels/class_attention.h"
#include "ops/kernels/column_sum.h"
#include "ops/kernels/convert.h"
#include "ops/kernels/cross_covariance.h"
#include "ops/kernels/dino.h"
#include "ops/kernels/dino_tile.h"
#include "ops/kernels/drop_path.h"
#include "ops/kernels/gelu.h"
#include "ops/kernels/grad_weights.h"
#include "ops/kernels/im2col.h"
#include "ops/kernels/layer_norm.h"
#include "ops/kernels/mul.h"
#include "ops/kernels/optimizer.h"
#include "ops/kernels/pool.h"
#include "ops/kernels/prototypes.h"
#include "ops/kernels/rates.h"
#include "ops/kernels/relu.h"
#include "ops/kernels/softmax.h"
#include "ops/kernels/weight_norm.h"
#include "ops/kernels/winograd.h"

#include <pthread.h>
#include <stdio.h>

/* The tables that the families' files define, NULL where a level has none of a family. The emulation of AMX has two: for the
 * baseline, and for a CPU of the level v4b. */
enum { AMX_EMULATED_V4B = DG_CPU_LEVELS, NUM_TABLES };
#ifdef __x86_64__
#define TABLES_V4(family)                                                                                              \
    [DG_CPU_V1] = &dg_##family##_kernels_v1, [DG_CPU_V3] = &dg_##family##_kernels_v3,                                  \
    [DG_CPU_V4] = &dg_##family##_kernels_v4
#define TABLES_V4B(family) TABLES_V4(family), [DG_CPU_V4B] = &dg_##family##_kernels_v4b
#define TABLES_V5(family)                                                                                              \
    TABLES_V4B(family), [DG_CPU_V5] = &dg_##family##_kernels_v5,                                                       \
                        [DG_CPU_AMX_EMULATED] = &dg_##family##_kernels_amx_v1,                                         \
                        [AMX_EMULATED_V4B] = &dg_##family##_kernels_amx_v4b
#else
#define TABLES_V4(family) [DG_CPU_V1] = &dg_##family##_kernels_v1
#define TABLES_V4B(family) TABLES_V4(family)
#define TABLES_V5(family) TABLES_V4(family), [DG_CPU_AMX_EMULATED] = &dg_##family##_kernels_amx_v1
#endif
#define DECLARE(family, highest, by_products)                                                                          \
    extern const struct dg_##family##_kernels dg_##family##_kernels_v1, dg_##family##_kernels_v3,                      \
        dg_##family##_kernels_v4, dg_##family##_kernels_v4b, dg_##family##_kernels_v5, dg_##family##_kernels_amx_v1,   \
        dg_##family##_kernels_amx_v4b;                                                                                 \
    static const struct dg_##family##_kernels *const family##_own[NUM_TABLES] = {TABLES_##highest(family)};            \
    static struct dg_##family##_kernels family##_at[DG_CPU_LEVELS], family##_here;                                     \
    enum { family##_by_products = by_products };
#define DG_FAMILY(family, highest) DECLARE(family, highest, 0)
#define DG_PRODUCT_FAMILY(family, highest) DECLARE(family, highest, 1)
#include "ops/kernels/list.h"

/* list.h names every member of every family. */
enum {
#define DG_KERNEL(family, kernel) LISTED_##family##_##kernel,
#include "ops/kernels/list.h"
    NUM_KERNELS
};
_Static_assert(NUM_KERNELS * sizeof(void (*)(void)) == 0
#define DG_FAMILY(family, highest) +sizeof(struct dg_##family##_kernels)
#include "ops/kernels/list.h"
               ,
               "a family has a kernel that list.h does not name");

/* Which of a family's tables is the level's. */
static int table_of(enum dg_cpu_level level)
{
    return level == DG_CPU_AMX_EMULATED && dg_cpu_has_level(DG_CPU_V4B) ? AMX_EMULATED_V4B : (int)level;
}

static void inherit(void)
{
    for (enum dg_cpu_level level = DG_CPU_V1; level < DG_CPU_LEVELS; level++) {
        const int table = table_of(level);
        const enum dg_cpu_level below = level == DG_CPU_AMX_EMULATED ? dg_cpu_highest_level(DG_CPU_V5) : level - 1;
#define DG_FAMILY(family, highest)                                                                                     \
    if (family##_own[table]) family##_at[level] = *family##_own[table];
#define DG_KERNEL(family, kernel)                                                                                      \
    if (level && !family##_at[level].kernel) family##_at[level].kernel = family##_at[below].kernel;
#include "ops/kernels/list.h"
    }
}

/* The code of v4b that stands on vdpbf16ps is left out where that is slow, unless DINOGRAPH_CPU names the level. */
static bool leaves_out_vdpbf16ps(void)
{
    return dg_cpu_level() >= DG_CPU_V4B && !dg_cpu_level_is_named() && !dg_product_pays(DG_PRODUCT_VDPBF16PS);
}

static void choose(void)
{
    const bool leaves_out = leaves_out_vdpbf16ps();
    for (enum dg_cpu_level level = DG_CPU_V1; level <= dg_cpu_level(); level++) {
        const int table = table_of(level);
        const bool without_products = leaves_out && level == DG_CPU_V4B;
        if (!dg_cpu_has_level(level)) continue; /* between the CPU's highest level and the emulation */
#define DG_KERNEL(family, kernel)                                                                                      \
    if (family##_own[table] && family##_own[table]->kernel && !(without_products && family##_by_products))             \
        family##_here.kernel = family##_own[table]->kernel;
#include "ops/kernels/list.h"
    }
}

struct dg_kernels_name dg_kernels_name(void)
{
    struct dg_kernels_name name;
    snprintf(name.text, sizeof name.text, "%s%s", dg_cpu_level_name(dg_cpu_level()),
             leaves_out_vdpbf16ps() ? " without vdpbf16ps" : "");
    return name;
}

static pthread_once_t inherited = PTHREAD_ONCE_INIT, chosen = PTHREAD_ONCE_INIT;

#define DG_FAMILY(family, highest)                                                                                     \
    const struct dg_##family##_kernels *dg_##family##_kernels_at(enum dg_cpu_level level)                              \
    {                                                                                                                  \
        pthread_once(&inherited, inherit);                                                                             \
        return &family##_at[level];                                                                                    \
    }                                                                                                                  \
    const struct dg_##family##_kernels *dg_##family##_kernels(void)                                                    \
    {                                                                                                                  \
        pthread_once(&chosen, choose);                                                                                 \
        return &family##_here;                                                                                         \
    }
#include "ops/kernels/list.h"

/* The memory planner: intervals in, offsets out. It knows nothing of graphs. */
#ifndef DG_COMPILER_PLAN_PACK_H
#define DG_COMPILER_PLAN_PACK_H

#include "compiler/base/arena.h"

#include <stdint.h>

struct dg_interval {
    uint32_t first, last; /* in use from one to the other, both included; last < 2^31 (memory and time grow with it) */
    uint64_t bytes;       /* a multiple of the alignment wanted of offsets; the sum of all below 2^63 */
    uint64_t offset;      /* out */
};

struct dg_memory_plan {
    uint64_t peak;  /* largest offset + bytes */
    uint64_t bound; /* largest sum of live bytes: no plan can be smaller */
    uint64_t naive; /* sum of all bytes */
};

/* Places all intervals so that none that are live together overlap. Deterministic; training steps come within 1 % of the
 * bound. Takes about 0.1 s at most for a few thousand intervals, usually a few ms. */
struct dg_memory_plan dg_plan_memory(struct dg_arena *arena, struct dg_interval *interval, uint32_t count);

/* The bound alone, in a fraction of the time. */
uint64_t dg_memory_bound(struct dg_arena *arena, const struct dg_interval *interval, uint32_t count);

#endif

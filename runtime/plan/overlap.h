/* The independent check of a memory plan: after planning and whenever a plan is opened. */
#ifndef DG_RUNTIME_PLAN_OVERLAP_H
#define DG_RUNTIME_PLAN_OVERLAP_H

#include "ops/base/base.h"

struct dg_placed {
    uint32_t first, last;
    uint64_t offset, bytes;
    uint32_t tag; /* the caller's: which tensor */
};

/* True if no two of the `count` rectangles (time x bytes) overlap; otherwise false and the tags of two that do. Sorts
 * `placed`. Offsets and sizes must not overflow when added. */
bool dg_plan_check(struct dg_placed *placed, uint32_t count, uint32_t clash[2]);

#endif

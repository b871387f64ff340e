/* A sweep over bytes, where the planner sweeps over time: rectangles are sorted by offset, and each is compared with those
 * above it that begin before it ends. */
#include "runtime/plan/overlap.h"

#include <stdlib.h>

static int by_offset(const void *a, const void *b)
{
    const struct dg_placed *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

bool dg_plan_check(struct dg_placed *placed, uint32_t count, uint32_t clash[2])
{
    qsort(placed, count, sizeof *placed, by_offset);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count && placed[j].offset < placed[i].offset + placed[i].bytes; j++)
            if (placed[j].bytes && placed[i].first <= placed[j].last && placed[j].first <= placed[i].last) {
                clash[0] = placed[i].tag;
                clash[1] = placed[j].tag;
                return false;
            }
    return true;
}

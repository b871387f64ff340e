/* Where every value of an entry lies in memory. */
#ifndef DG_COMPILER_PLAN_LAYOUT_H
#define DG_COMPILER_PLAN_LAYOUT_H

#include "compiler/plan/entry.h"
#include "compiler/plan/lifetimes.h"

struct dg_layout {
    /* By value: lifetime, the value whose bytes it shares, and of that one the offset in its region. */
    const struct dg_life *life;
    const bool *used;           /* by value: it is in the plan */
    uint64_t bytes[DG_REGIONS]; /* of each region */
    uint64_t sums; /* of the sums over slices, which processes exchange: at the beginning of DG_REGION_STEP */
    struct dg_memory_plan step; /* of DG_REGION_STEP: peak, lower bound, and the sum without sharing */
};

/* Lays out all values of an entry whose graph is final: verifies the graph, finds lifetimes, places the step's values so that none
 * that live together overlap, and checks that. Arrays are in the graph's arena. DG_ERR_INTERNAL: the graph or the placing is
 * broken. */
enum dg_status dg_lay_out(const struct dg_entry *entry, struct dg_layout *layout, struct dg_error *err);

/* The lower bound of the step's bytes alone: the largest sum of bytes that live together. Much faster than dg_lay_out. */
enum dg_status dg_layout_bound(const struct dg_entry *entry, uint64_t *bound, struct dg_error *err);

/* Sum of all regions, in bytes. */
uint64_t dg_layout_bytes(const struct dg_layout *layout);

#endif

/* Offline packing of intervals (dynamic storage allocation). One placement puts the intervals one after the other, in some
 * order, each into a gap between those already placed that are live at the same time: the lowest gap that holds it, or the
 * smallest (after Pisarchyk and Lee, 2020). No order is best for all graphs, so several are tried. Intervals that are live
 * at the fullest moments, and among them the long ones, go first in most of them: there is no slack there.
 *
 * Where the best of those is not near the bound, each is improved by moving what sticks out above the bound to earlier places
 * in the order. All work is counted in visits of placed intervals, never in time, so that every machine finds the same
 * plan. */
#include "compiler/plan/pack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VISITS = 50000000 }; /* about 60 ms */

enum gap { LOWEST_GAP, SMALLEST_GAP, GAPS };

struct planner {
    struct dg_interval *interval;
    uint32_t count;
    uint32_t *order;
    uint32_t *placed; /* by offset */
    enum gap gap;
    uint64_t bound, visits;
    uint64_t peak, *best_offset; /* of all placements */
    uint64_t here, *here_offset; /* of the search under way */
    uint32_t *here_order;
};

/* Bytes live at each moment, 0 to *last. */
static uint64_t *count_live(struct dg_arena *arena, const struct dg_interval *interval, uint32_t count, uint32_t *last)
{
    *last = 0;
    for (uint32_t i = 0; i < count; i++)
        if (interval[i].last > *last) *last = interval[i].last;
    uint64_t *live = dg_arena_alloc(arena, ((size_t)*last + 2) * sizeof *live);
    for (uint32_t i = 0; i < count; i++) {
        live[interval[i].first] += interval[i].bytes;
        live[interval[i].last + 1] -= interval[i].bytes; /* modulo 2^64: the sums below come out right */
    }
    for (uint32_t t = 1; t <= *last; t++) live[t] += live[t - 1];
    return live;
}

uint64_t dg_memory_bound(struct dg_arena *arena, const struct dg_interval *interval, uint32_t count)
{
    uint32_t last;
    uint64_t bound = 0, *live = count_live(arena, interval, count, &last);
    for (uint32_t t = 0; t <= last; t++)
        if (live[t] > bound) bound = live[t];
    return bound;
}

/* Places all in p->order; returns the peak, or UINT64_MAX as soon as it exceeds `limit`. */
static uint64_t place(struct planner *p, uint64_t limit)
{
    uint64_t peak = 0;
    for (uint32_t n = 0; n < p->count; n++) {
        struct dg_interval *now = &p->interval[p->order[n]];
        uint64_t end = 0; /* of the live bytes below the gap under consideration */
        uint64_t found = UINT64_MAX, smallest = UINT64_MAX;
        for (uint32_t k = 0; k < n; k++) {
            const struct dg_interval *other = &p->interval[p->placed[k]];
            if (other->last < now->first || now->last < other->first) continue;
            if (other->offset >= end && other->offset - end >= now->bytes && other->offset - end < smallest) {
                found = end;
                smallest = p->gap == LOWEST_GAP ? 0 : other->offset - end;
                if (!smallest) break;
            }
            if (other->offset + other->bytes > end) end = other->offset + other->bytes;
        }
        p->visits += n;
        now->offset = found == UINT64_MAX ? end : found;
        if (now->offset + now->bytes > peak) peak = now->offset + now->bytes;
        if (peak > limit) return UINT64_MAX;
        uint32_t low = 0, high = n; /* keep `placed` sorted by offset */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (p->interval[p->placed[middle]].offset <= now->offset)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(p->placed + low + 1, p->placed + low, (n - low) * sizeof *p->placed);
        p->placed[low] = p->order[n];
    }
    return peak;
}

/* Keeps the order if it is as good as the search's so far: sideways moves lead it off plateaus. */
static void try_order(struct planner *p)
{
    uint64_t peak = place(p, p->here);
    if (peak > p->here) return;
    p->here = peak;
    memcpy(p->here_order, p->order, p->count * sizeof *p->order);
    for (uint32_t i = 0; i < p->count; i++) p->here_offset[i] = p->interval[i].offset;
    if (peak >= p->peak) return;
    p->peak = peak;
    memcpy(p->best_offset, p->here_offset, p->count * sizeof *p->best_offset);
}

/* First by key[0], then key[1], key[2], larger first. */
struct ranked {
    double key[3];
    uint32_t index;
};

static int larger_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    for (int k = 0; k < 3; k++)
        if (x->key[k] != y->key[k]) return x->key[k] > y->key[k] ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

enum { ORDERS = 6 };

static struct ranked rank(const struct dg_interval *interval, uint32_t index, double load, int order)
{
    double bytes = (double)interval->bytes, length = (double)(interval->last - interval->first) + 1;
    switch (order) {
    case 0: return (struct ranked){{load, length, bytes}, index};
    case 1: return (struct ranked){{load, bytes, length}, index};
    case 2: return (struct ranked){{bytes, length}, index};
    case 3: return (struct ranked){{load, interval->last, bytes}, index};
    case 4: return (struct ranked){{load, -(double)interval->first, bytes}, index};
    default: return (struct ranked){{bytes * length, bytes}, index};
    }
}

/* Any number in [0, limit): the same ones in every compile. */
static uint32_t some_number(uint32_t *state, uint32_t limit)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)*state * limit >> 32);
}

/* From p->here_order on, until `visits` are used up. */
static void improve(struct planner *p, uint64_t visits)
{
    uint32_t state = 1;
    uint64_t enough = p->bound + p->bound / 512;
    while (p->peak > enough && p->visits <= visits) {
        uint32_t high = 0;
        for (uint32_t n = 0; n < p->count; n++) {
            uint32_t i = p->here_order[n];
            if (p->here_offset[i] + p->interval[i].bytes > p->bound)
                p->placed[high++] = n; /* borrowed: place() fills it */
        }
        uint32_t from = p->placed[some_number(&state, high)], to = some_number(&state, from + 1);
        memcpy(p->order, p->here_order, p->count * sizeof *p->order);
        memmove(p->order + to + 1, p->order + to, (from - to) * sizeof *p->order);
        p->order[to] = p->here_order[from];
        p->visits += p->count; /* so that the loop ends even when placements are cut short */
        try_order(p);
    }
}

/* One search from each sorted order and kind of gap: first all starts, then, where the best is not near the bound, further. */
static void search(struct planner *p, struct dg_arena *arena, const uint64_t *live)
{
    struct ranked *ranked = dg_arena_alloc(arena, (size_t)p->count * sizeof *ranked);
    double *load =
        dg_arena_alloc(arena, (size_t)p->count * sizeof *load); /* bytes live at the fullest moment of each */
    for (uint32_t i = 0; i < p->count; i++)
        for (uint32_t t = p->interval[i].first; t <= p->interval[i].last; t++)
            if ((double)live[t] > load[i]) load[i] = (double)live[t];
    for (int further = 0; further < 2; further++)
        for (int start = 0; start < ORDERS * GAPS && p->peak > p->bound; start++) {
            if (p->peak != UINT64_MAX && p->visits > MAX_VISITS) return;
            if (start % GAPS == 0) {
                for (uint32_t i = 0; i < p->count; i++) ranked[i] = rank(&p->interval[i], i, load[i], start / GAPS);
                qsort(ranked, p->count, sizeof *ranked, larger_first);
            }
            for (uint32_t i = 0; i < p->count; i++) p->order[i] = ranked[i].index;
            p->gap = (enum gap)(start % GAPS);
            p->here = UINT64_MAX;
            try_order(p);
            uint64_t left = p->visits < MAX_VISITS ? MAX_VISITS - p->visits : 0;
            if (further) improve(p, p->visits + left / (uint64_t)(ORDERS * GAPS - start));
        }
}

struct dg_memory_plan dg_plan_memory(struct dg_arena *arena, struct dg_interval *interval, uint32_t count)
{
    struct planner p = {.interval = interval, .count = count, .peak = UINT64_MAX};
    struct dg_memory_plan plan = {0};
    if (!count) return plan;
    p.order = dg_arena_alloc(arena, (size_t)count * sizeof *p.order);
    p.here_order = dg_arena_alloc(arena, (size_t)count * sizeof *p.here_order);
    p.here_offset = dg_arena_alloc(arena, (size_t)count * sizeof *p.here_offset);
    p.placed = dg_arena_alloc(arena, ((size_t)count + 1) * sizeof *p.placed);
    p.best_offset = dg_arena_alloc(arena, (size_t)count * sizeof *p.best_offset);
    uint32_t last;
    uint64_t *live = count_live(arena, interval, count, &last);
    for (uint32_t t = 0; t <= last; t++)
        if (live[t] > p.bound) p.bound = live[t];
    for (uint32_t i = 0; i < count; i++) plan.naive += interval[i].bytes;

    search(&p, arena, live);
    for (uint32_t i = 0; i < count; i++) interval[i].offset = p.best_offset[i];
    plan.bound = p.bound;
    plan.peak = p.peak;
    return plan;
}

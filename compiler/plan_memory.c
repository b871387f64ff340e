/* Offline packing of intervals. One placement puts the intervals one after the other, in some order, each into the lowest
 * gap between those already placed that are live at the same time (after Pisarchyk and Lee, 2020). No order is best for all
 * graphs, so several are tried, and the best of them is improved by moving what sticks out at the top to the front. */
#include "compiler/plan_memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct planner {
    struct dg_interval *interval;
    uint32_t count;
    uint32_t *order, *best_order;
    uint32_t *placed; /* by offset */
    uint64_t *best_offset;
    uint64_t peak, bound;
};

static uint64_t lower_bound(struct planner *p, struct dg_arena *arena)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->interval[i].last > end) end = p->interval[i].last;
    int64_t *change = dg_arena_alloc(arena, ((size_t)end + 2) * sizeof *change);
    for (uint32_t i = 0; i < p->count; i++) {
        change[p->interval[i].first] += (int64_t)p->interval[i].bytes;
        change[p->interval[i].last + 1] -= (int64_t)p->interval[i].bytes;
    }
    int64_t live = 0, most = 0;
    for (uint32_t t = 0; t <= end; t++) {
        live += change[t];
        if (live > most) most = live;
    }
    return (uint64_t)most;
}

/* Places all in p->order; returns the peak, or UINT64_MAX as soon as it reaches `limit`. */
static uint64_t place(struct planner *p, uint64_t limit)
{
    uint64_t peak = 0;
    uint32_t placed = 0;
    for (uint32_t n = 0; n < p->count; n++) {
        struct dg_interval *now = &p->interval[p->order[n]];
        uint64_t end = 0; /* of the live bytes below the gap under consideration */
        for (uint32_t k = 0; k < placed; k++) {
            const struct dg_interval *other = &p->interval[p->placed[k]];
            if (other->last < now->first || now->last < other->first) continue;
            if (other->offset >= end && other->offset - end >= now->bytes) break;
            if (other->offset + other->bytes > end) end = other->offset + other->bytes;
        }
        now->offset = end;
        if (end + now->bytes > peak) peak = end + now->bytes;
        if (peak >= limit) return UINT64_MAX;
        uint32_t low = 0, high = placed; /* keep `placed` sorted by offset */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (p->interval[p->placed[middle]].offset <= end)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(p->placed + low + 1, p->placed + low, (placed - low) * sizeof *p->placed);
        p->placed[low] = p->order[n];
        placed++;
    }
    return peak;
}

static void try_order(struct planner *p)
{
    uint64_t peak = place(p, p->peak);
    if (peak >= p->peak) return;
    p->peak = peak;
    memcpy(p->best_order, p->order, p->count * sizeof *p->order);
    for (uint32_t i = 0; i < p->count; i++) p->best_offset[i] = p->interval[i].offset;
}

enum key { BY_SIZE, BY_AREA, BY_LENGTH, BY_FIRST, BY_LAST, KEYS };

static double key_of(const struct dg_interval *i, enum key key)
{
    double length = (double)(i->last - i->first) + 1;
    switch (key) {
    case BY_SIZE: return (double)i->bytes;
    case BY_AREA: return (double)i->bytes * length;
    case BY_LENGTH: return length;
    case BY_FIRST: return -(double)i->first;
    default: return (double)i->last;
    }
}

struct sort_item {
    double key;
    uint64_t bytes;
    uint32_t index;
};

static int larger_first(const void *a, const void *b)
{
    const struct sort_item *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

struct dg_memory_plan dg_plan_memory(struct dg_arena *arena, struct dg_interval *interval, uint32_t count)
{
    struct planner p = {.interval = interval, .count = count, .peak = UINT64_MAX};
    struct dg_memory_plan plan = {0};
    if (!count) return plan;
    size_t words = (size_t)count * sizeof(uint32_t);
    p.order = dg_arena_alloc(arena, words);
    p.best_order = dg_arena_alloc(arena, words);
    p.placed = dg_arena_alloc(arena, words + sizeof(uint32_t));
    p.best_offset = dg_arena_alloc(arena, (size_t)count * sizeof *p.best_offset);
    struct sort_item *item = dg_arena_alloc(arena, (size_t)count * sizeof *item);
    for (uint32_t i = 0; i < count; i++) plan.naive += interval[i].bytes;
    plan.bound = p.bound = lower_bound(&p, arena);

    for (int key = 0; key < KEYS && p.peak > p.bound; key++) {
        for (uint32_t i = 0; i < count; i++)
            item[i] = (struct sort_item){key_of(&interval[i], (enum key)key), interval[i].bytes, i};
        qsort(item, count, sizeof *item, larger_first);
        for (uint32_t i = 0; i < count; i++) p.order[i] = item[i].index;
        try_order(&p);
    }
    /* Improve: whatever ends above the bound is placed first next time. Work is bounded by count^2, not by time. */
    uint64_t enough = p.bound + p.bound / 200;
    int rounds = (int)(40000000u / ((uint64_t)count * count + 1));
    for (int round = 0; round < rounds && round < 200 && p.peak > enough; round++) {
        uint32_t front = 0, back = 0;
        for (uint32_t n = 0; n < count; n++) {
            uint32_t i = p.best_order[n];
            bool high = p.best_offset[i] + interval[i].bytes > p.bound - p.bound / 100 * (uint64_t)(round % 20);
            if (high)
                p.order[front++] = i;
            else
                p.placed[back++] = i; /* borrowed: place() rewrites it */
        }
        memcpy(p.order + front, p.placed, back * sizeof *p.order);
        try_order(&p);
    }
    for (uint32_t i = 0; i < count; i++) interval[i].offset = p.best_offset[i];
    plan.peak = p.peak;
    return plan;
}

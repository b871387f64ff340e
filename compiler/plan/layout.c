#include "compiler/plan/layout.h"

#include "compiler/graph/verify.h"
#include "runtime/plan/overlap.h"

#include <stdlib.h>

/* Lifetimes of all values; also of inputs that no node reads, and of values that others are initialised from. */
struct lives {
    struct dg_life *life;
    bool *used;
    struct dg_interval *interval; /* values of the step that need bytes of their own */
    dg_value *value;              /* which they are */
    uint32_t count;
};

static enum dg_status find_lives(const struct dg_entry *entry, struct lives *l, struct dg_error *err)
{
    struct dg_graph *graph = entry->graph;
    size_t room = (size_t)graph->num_values + 1;
    l->life = dg_arena_alloc(graph->arena, room * sizeof *l->life);
    l->used = dg_arena_alloc(graph->arena, room);
    l->interval = dg_arena_alloc(graph->arena, room * sizeof *l->interval);
    l->value = dg_arena_alloc(graph->arena, room * sizeof *l->value);
    dg_value output[DG_SLOTS];
    int num_outputs = dg_entry_outputs(entry, output);
    DG_TRY(dg_lifetimes(graph, output, num_outputs, l->life, l->used, err));
    for (int s = 0; s < DG_SLOTS; s++)
        if (entry->slots.of[s] != DG_NO_VALUE) l->used[entry->slots.of[s]] = true;
    for (uint32_t v = 0; v < graph->num_values; v++)
        if (l->used[v] && graph->value[v].init_from != DG_PLAN_NONE) l->used[graph->value[v].init_from] = true;
    l->count = dg_live_intervals(graph, l->life, l->used, l->interval, l->value);
    return DG_OK;
}

/* Regions that outlive the step, one value behind the other. */
static void place_lasting(const struct dg_graph *graph, const struct lives *l, struct dg_layout *layout)
{
    for (uint32_t v = 0; v < graph->num_values; v++) {
        enum dg_region region = graph->value[v].region;
        if (!l->used[v] || l->life[v].root != v || region == DG_REGION_STEP) continue;
        l->life[v].offset = layout->bytes[region];
        layout->bytes[region] += l->life[v].bytes;
    }
}

/* A sum over slices, and the last op of the loop that adds to it. */
struct sum {
    dg_value value;
    uint32_t last_writer;
};

static int by_last_writer(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;
    if (x->last_writer != y->last_writer) return x->last_writer < y->last_writer ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Moves the sums over slices out of the intervals to the beginning of the step's region, in the order in which they are complete, so
 * that processes exchange few and long ranges. Returns their bytes. */
static uint64_t place_sums(struct dg_graph *graph, struct lives *l)
{
    struct sum *sum = dg_arena_alloc(graph->arena, ((size_t)l->count + 1) * sizeof *sum);
    uint32_t *writer = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *writer); /* by root */
    uint32_t first, loop, count = 0, left = 0;
    dg_graph_loop(graph, &first, &loop);
    for (uint32_t n = first; n < first + loop; n++)
        for (int o = 0; o < graph->node[n].num_outputs; o++) writer[l->life[graph->node[n].output[o]].root] = n;
    for (uint32_t i = 0; i < l->count; i++) {
        if (graph->value[l->value[i]].collects) {
            sum[count++] = (struct sum){l->value[i], writer[l->value[i]]};
            continue;
        }
        l->interval[left] = l->interval[i];
        l->value[left++] = l->value[i];
    }
    l->count = left;
    qsort(sum, count, sizeof *sum, by_last_writer);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        l->life[sum[i].value].offset = bytes;
        bytes += l->life[sum[i].value].bytes;
    }
    return bytes;
}

static enum dg_status place_step(struct dg_graph *graph, struct lives *l, struct dg_layout *layout,
                                 struct dg_error *err)
{
    uint64_t sums = layout->sums;
    layout->step = dg_plan_memory(graph->arena, l->interval, l->count);
    layout->step.peak += sums;
    layout->step.bound += sums;
    layout->step.naive += sums;
    layout->bytes[DG_REGION_STEP] = layout->step.peak;
    struct dg_placed *placed = dg_arena_alloc(graph->arena, ((size_t)l->count + 1) * sizeof *placed);
    for (uint32_t i = 0; i < l->count; i++) {
        const struct dg_interval *in = &l->interval[i];
        l->life[l->value[i]].offset = sums + in->offset;
        placed[i] = (struct dg_placed){in->first, in->last, in->offset, in->bytes, l->value[i]};
    }
    uint32_t clash[2];
    if (dg_plan_check(placed, l->count, clash)) return DG_OK;
    return dg_fail(err, DG_ERR_INTERNAL, "internal: the memory planner let %s and %s overlap; please report this",
                   graph->value[clash[0]].name, graph->value[clash[1]].name);
}

enum dg_status dg_lay_out(const struct dg_entry *entry, struct dg_layout *layout, struct dg_error *err)
{
    struct lives lives;
    *layout = (struct dg_layout){0};
    DG_TRY(dg_graph_verify(entry->graph, 0, err));
    DG_TRY(find_lives(entry, &lives, err));
    layout->life = lives.life;
    layout->used = lives.used;
    place_lasting(entry->graph, &lives, layout);
    if (entry->ranks > 1) layout->sums = place_sums(entry->graph, &lives);
    return place_step(entry->graph, &lives, layout, err);
}

enum dg_status dg_layout_bound(const struct dg_entry *entry, uint64_t *bound, struct dg_error *err)
{
    struct dg_arena_mark mark = dg_arena_mark(entry->graph->arena);
    struct lives lives;
    enum dg_status status = find_lives(entry, &lives, err);
    uint64_t sums = status == DG_OK && entry->ranks > 1 ? place_sums(entry->graph, &lives) : 0;
    if (status == DG_OK) *bound = sums + dg_memory_bound(entry->graph->arena, lives.interval, lives.count);
    dg_arena_release(entry->graph->arena, mark);
    return status;
}

uint64_t dg_layout_bytes(const struct dg_layout *layout)
{
    uint64_t sum = 0;
    for (int r = 0; r < DG_REGIONS; r++) sum += layout->bytes[r];
    return sum;
}

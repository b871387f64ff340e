#include "compiler/plan/layout.h"

#include "compiler/graph/verify.h"
#include "runtime/plan/overlap.h"

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

static enum dg_status place_step(const struct dg_graph *graph, const struct lives *l, struct dg_layout *layout,
                                 struct dg_error *err)
{
    layout->step = dg_plan_memory(graph->arena, l->interval, l->count);
    layout->bytes[DG_REGION_STEP] = layout->step.peak;
    struct dg_placed *placed = dg_arena_alloc(graph->arena, ((size_t)l->count + 1) * sizeof *placed);
    for (uint32_t i = 0; i < l->count; i++) {
        const struct dg_interval *in = &l->interval[i];
        l->life[l->value[i]].offset = in->offset;
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
    return place_step(entry->graph, &lives, layout, err);
}

enum dg_status dg_layout_bound(const struct dg_entry *entry, uint64_t *bound, struct dg_error *err)
{
    struct dg_arena_mark mark = dg_arena_mark(entry->graph->arena);
    struct lives lives;
    enum dg_status status = find_lives(entry, &lives, err);
    if (status == DG_OK) *bound = dg_memory_bound(entry->graph->arena, lives.interval, lives.count);
    dg_arena_release(entry->graph->arena, mark);
    return status;
}

uint64_t dg_layout_bytes(const struct dg_layout *layout)
{
    uint64_t sum = 0;
    for (int r = 0; r < DG_REGIONS; r++) sum += layout->bytes[r];
    return sum;
}

/* The candidates form chains: one for each number of slices and each order of the resolutions. Along a chain recomputation grows,
 * each time where it lowers the lower bound of the step's memory most, so memory falls and, as a rule, time rises. The first plan
 * of a chain that fits is therefore the chain's best, and the fastest of these is taken. Neither chains nor estimates depend on the
 * budget: with less memory the choice moves on among the same candidates, to slower and smaller ones. */
#include "compiler/step/budget.h"

#include "compiler/graph/cost.h"
#include "compiler/language/program.h"
#include "compiler/plan/layout.h"
#include "compiler/step/compile_step.h"

#include <stdio.h>
#include <string.h>

/* The machine that times are estimated for: FLOPs that take as long as a byte moved, and as an op's own overhead; twice as many
 * in bf16. What counts is the order of candidates; README says how to measure a plan. */
static const double flops_a_byte = 12, flops_an_op = 1e6;

/* What the node reads and writes to pack its weights for itself. */
static double packing_bytes(struct dg_graph *graph, const struct dg_graph_node *node, bool bf16)
{
    if (!node->op->packing || node->input[dg_op_input_index(node->op, "packed")] != DG_NO_VALUE) return 0;
    struct dg_op_call call = dg_graph_call(graph, node, NULL);
    call.bf16 = bf16;
    return node->op->packing(&call).op ? 2 * dg_graph_bytes(graph, node, dg_op_input_index(node->op, "weight")) : 0;
}

static double seconds_like(struct dg_graph *graph, bool bf16)
{
    double sum = 0, rate = bf16 ? 2 : 1;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        struct dg_op_call call = dg_graph_call(graph, node, NULL);
        double bytes = packing_bytes(graph, node, bf16);
        for (int i = 0; i < node->num_inputs; i++) bytes += dg_graph_bytes(graph, node, i);
        for (int o = 0; o < node->num_outputs; o++)
            if (call.output_wanted[o]) bytes += dg_graph_bytes(graph, node, node->num_inputs + o);
        sum +=
            dg_graph_cost(graph, node).flops / rate + (double)dg_slices(&call) * (bytes * flops_a_byte + flops_an_op);
    }
    return sum;
}

struct search {
    const struct dg_step_request *from;
    uint64_t room;             /* bytes that the plan may take */
    uint64_t lasting;          /* bytes of all regions but the step */
    double base;               /* estimated time of the default choice */
    struct dg_train_step step; /* the ops that forbid cutting: the same in every form */
    bool found;
    struct dg_budget_result best;
    double best_time;
    struct dg_budget_result smallest; /* by the bound */
    uint64_t smallest_bound;
};

/* Choices of one form, with more and more recomputation. */
struct chain {
    struct dg_entry built; /* the form's step, on which no entry pass has run */
    struct dg_budget_result now;
    uint64_t bound;
    double time;
    int parts, highest[DG_MAX_RECOMPUTE_PARTS];
};

/* A copy of the chain's step with some recomputation, finished as dg_compile_step would. */
static enum dg_status finish(const struct search *s, const struct chain *chain,
                             const struct dg_recompute_levels *levels, struct dg_entry *entry, struct dg_error *err)
{
    *entry = chain->built;
    entry->graph = dg_graph_copy(chain->built.graph);
    if (dg_finish_entry(s->from, levels, entry)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "a form of the step could not be built");
}

/* The largest sum of live bytes of a chain's step with some recomputation, and its time. */
static enum dg_status measure(const struct search *s, const struct chain *chain,
                              const struct dg_recompute_levels *levels, uint64_t *bound, double *time,
                              struct dg_error *err)
{
    struct dg_arena *arena = chain->built.graph->arena;
    struct dg_arena_mark mark = dg_arena_mark(arena);
    struct dg_entry entry;
    DG_TRY(finish(s, chain, levels, &entry, err));
    enum dg_status status = dg_layout_bound(&entry, bound, err);
    *time = seconds_like(entry.graph, entry.bf16);
    dg_arena_release(arena, mark);
    return status;
}

/* The planned bytes of a chain's step as it is now. */
static enum dg_status plan(const struct search *s, const struct chain *chain, struct dg_layout *layout,
                           struct dg_error *err)
{
    struct dg_arena *arena = chain->built.graph->arena;
    struct dg_arena_mark mark = dg_arena_mark(arena);
    struct dg_entry entry;
    DG_TRY(finish(s, chain, &chain->now.choice.recompute, &entry, err));
    enum dg_status status = dg_lay_out(&entry, layout, err);
    layout->life = NULL; /* freed with the graph */
    layout->used = NULL;
    dg_arena_release(arena, mark);
    return status;
}

/* Tries `levels` as the next link: *next becomes it if that lowers the bound. */
static enum dg_status try_link(struct search *s, const struct chain *chain, const struct dg_recompute_levels *levels,
                               struct chain *next, struct dg_error *err)
{
    uint64_t bound;
    double time;
    DG_TRY(measure(s, chain, levels, &bound, &time, err));
    if (bound >= next->bound) return DG_OK;
    next->bound = bound;
    next->time = time;
    next->now.choice.recompute = *levels;
    return DG_OK;
}

/* Tries a level in all parts that are below it. */
static enum dg_status try_level(struct search *s, const struct chain *chain, int level, struct chain *next,
                                struct dg_error *err)
{
    struct dg_recompute_levels all = chain->now.choice.recompute;
    for (int p = 0; p < chain->parts; p++) {
        int highest = level < chain->highest[p] ? level : chain->highest[p];
        if (all.level[p] < highest) all.level[p] = highest;
    }
    return try_link(s, chain, &all, next, err);
}

/* The next link: one level more in the part where that lowers the bound most, or no packed weights where that does; where no single part does, the lowest level that
 * does in all. */
static enum dg_status step_on(struct search *s, struct chain *chain, bool *ended, struct dg_error *err)
{
    struct chain next = *chain;
    for (int p = 0; p < chain->parts; p++) {
        struct dg_recompute_levels one = chain->now.choice.recompute;
        if (one.level[p] == chain->highest[p]) continue;
        one.level[p]++;
        DG_TRY(try_link(s, chain, &one, &next, err));
    }
    if (!chain->now.choice.recompute.packing) {
        struct dg_recompute_levels each = chain->now.choice.recompute;
        each.packing = true;
        DG_TRY(try_link(s, chain, &each, &next, err));
    }
    for (int level = 2; next.bound == chain->bound && level <= DG_MAX_RECOMPUTE; level++)
        DG_TRY(try_level(s, chain, level, &next, err));
    *ended = next.bound == chain->bound;
    *chain = next;
    return DG_OK;
}

static enum dg_status walk(struct search *s, struct chain *chain, struct dg_error *err)
{
    DG_TRY(measure(s, chain, &chain->now.choice.recompute, &chain->bound, &chain->time, err));
    for (bool ended = false; !ended && !(s->found && chain->time >= s->best_time);) {
        chain->now.extra = chain->time / s->base - 1;
        if (chain->bound < s->smallest_bound) {
            s->smallest_bound = chain->bound;
            s->smallest = chain->now;
        }
        if (s->lasting + chain->bound <= s->room) {
            struct dg_layout layout;
            DG_TRY(plan(s, chain, &layout, err));
            if (dg_layout_bytes(&layout) <= s->room) {
                s->found = true;
                s->best = chain->now;
                s->best_time = chain->time;
                return DG_OK;
            }
        }
        DG_TRY(step_on(s, chain, &ended, err));
    }
    return DG_OK;
}

static enum dg_status open_chain(struct search *s, const struct dg_step_choice *choice, struct chain *chain,
                                 struct dg_error *err)
{
    *chain = (struct chain){.now.choice = *choice};
    if (!dg_build_step(s->from, choice, &chain->built, &s->step))
        return dg_fail(err, DG_ERR_INPUT, "a form of the step could not be built");
    chain->parts = dg_recompute_parts(chain->built.graph, chain->highest);
    return DG_OK;
}

/* Every number of slices the batch can be cut into, in every order; from the fastest on, so that slower ones end early. */
static enum dg_status walk_all(struct search *s, struct dg_error *err)
{
    const struct dg_train_step *step = &s->step;
    bool uncut = step->coupling || step->uncut;
    int64_t most = s->from->coupled ? s->from->ranks : uncut ? 1 : s->from->recipe->batch;
    for (int64_t slices = 1; slices <= most; slices++) {
        if (s->from->recipe->batch % slices || (s->from->ranks > 1 && slices % s->from->ranks)) continue;
        bool two = !step->coupling && step->slots.of[DG_SLOT_CROPS_LOCAL] != DG_NO_VALUE;
        for (int order = s->from->ranks > 1 && two; order < 1 + two; order++) {
            struct chain chain;
            struct dg_step_choice choice = {
                .slices = slices, .smallest_first = order, .recompute = dg_recompute_cheap()};
            DG_TRY(open_chain(s, &choice, &chain, err));
            DG_TRY(walk(s, &chain, err));
        }
    }
    return DG_OK;
}

/* "needs at least X, because of Y". */
static enum dg_status nothing_fits(struct search *s, struct dg_error *err)
{
    struct chain chain;
    struct dg_layout layout;
    DG_TRY(open_chain(s, &s->smallest.choice, &chain, err));
    chain.now = s->smallest;
    DG_TRY(plan(s, &chain, &layout, err));
    const uint64_t *bytes = layout.bytes;
    uint64_t models = bytes[DG_REGION_PARAM] + bytes[DG_REGION_STATE];
    char part[3][32], most[160], cut[256] = "";
    dg_format_bytes(part[0], sizeof part[0], (double)models);
    dg_format_bytes(part[1], sizeof part[1], (double)bytes[DG_REGION_STEP]);
    dg_format_bytes(part[2], sizeof part[2], (double)bytes[DG_REGION_INPUT]);
    if (models >= bytes[DG_REGION_STEP] && models >= bytes[DG_REGION_INPUT])
        snprintf(most, sizeof most, "student, teacher and optimiser state alone take %s", part[0]);
    else if (bytes[DG_REGION_STEP] >= bytes[DG_REGION_INPUT])
        snprintf(most, sizeof most, "activations and gradients take %s", part[1]);
    else
        snprintf(most, sizeof most, "the crops of a batch take %s", part[2]);
    const struct dg_train_step *step = &s->step;
    const struct dg_graph_node *op = step->uncut ? step->uncut : step->coupling;
    if (op)
        snprintf(cut, sizeof cut, "; %s (%s, %s:%d) sees all rows at once, so the batch cannot be cut", op->origin.path,
                 op->op->name, op->origin.file, op->origin.line);
    uint64_t all = dg_layout_bytes(&layout); /* rounded up, so that what the message says can be given */
    int shift = all >> 26 ? 20 : 10;
    return dg_fail(err, DG_ERR_INPUT, "--memory: a step of %lld images needs at least %llu%c, because %s%s",
                   (long long)s->from->recipe->batch, (unsigned long long)((all + (UINT64_C(1) << shift) - 1) >> shift),
                   shift == 20 ? 'M' : 'K', most, cut);
}

enum dg_status dg_budget_search(const struct dg_step_request *from, int64_t bytes, struct dg_budget_result *result,
                                struct dg_error *err)
{
    struct dg_pipeline silent = *from->pipeline; /* what is tried is not dumped */
    silent.dump = NULL;
    struct dg_step_request source = *from;
    source.pipeline = &silent;
    struct search s = {.from = &source, .room = (uint64_t)bytes, .smallest_bound = UINT64_MAX};
    struct dg_step_choice choice = dg_default_choice(&source);
    struct chain chain;
    struct dg_entry entry;
    struct dg_layout layout;
    DG_TRY(open_chain(&s, &choice, &chain, err));
    DG_TRY(finish(&s, &chain, &choice.recompute, &entry, err));
    DG_TRY(dg_lay_out(&entry, &layout, err));
    s.base = seconds_like(entry.graph, entry.bf16);
    s.lasting = dg_layout_bytes(&layout) - layout.bytes[DG_REGION_STEP];
    DG_TRY(walk_all(&s, err));
    if (!s.found) return nothing_fits(&s, err);
    *result = s.best;
    return DG_OK;
}

void dg_budget_report(struct dg_text *text, const struct dg_budget_result *result, int64_t batch)
{
    const struct dg_step_choice *choice = &result->choice;
    bool recomputes = false;
    for (int p = 0; p < DG_MAX_RECOMPUTE_PARTS; p++) recomputes |= choice->recompute.level[p] > 0;
    dg_text_add(text, "  --memory: ");
    if (choice->slices > 1)
        dg_text_add(text, "the batch in %lld slices of %lld", (long long)choice->slices,
                    (long long)(batch / choice->slices));
    else
        dg_text_add(text, "the batch in one piece");
    if (choice->smallest_first) dg_text_add(text, ", the smaller resolution first");
    dg_text_add(text, "%s%s; estimated %.0f %% more time than without a limit\n",
                recomputes ? ", some activations computed again" : "",
                choice->recompute.packing ? ", weights packed for each product" : "", result->extra * 100);
}

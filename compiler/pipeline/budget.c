/* Candidates are chains: for each number of slices and each order of the resolutions, more and more recomputation, a step of
 * it wherever it lowers the fullest moment most. Along a chain memory falls and, as a rule, time rises, so the first plan of a
 * chain that fits is the chain's best, and the fastest of these is taken. Neither a chain nor an estimate depends on the
 * budget: with less memory the choice moves on among the same candidates, to slower and smaller ones. */
#include "compiler/pipeline/budget.h"

#include "compiler/plan/lifetimes.h"

#include <stdio.h>
#include <string.h>

/* The machine that times are estimated for: FLOPs that take as long as a byte moved, and as an op's own overhead; twice as many
 * in bf16. What counts is the order of candidates; README says how to measure a plan. */
static const double flops_a_byte = 12, flops_an_op = 1e6;

static double seconds_like(struct dg_graph *graph, bool bf16)
{
    double sum = 0, rate = bf16 ? 2 : 1;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        struct dg_op_call call = dg_graph_call(graph, node, NULL);
        double bytes = 0;
        for (int i = 0; i < node->num_inputs; i++) bytes += dg_graph_bytes(graph, node, i);
        for (int o = 0; o < node->num_outputs; o++)
            if (call.output_wanted[o]) bytes += dg_graph_bytes(graph, node, node->num_inputs + o);
        sum +=
            dg_graph_cost(graph, node).flops / rate + (double)dg_slices(&call) * (bytes * flops_a_byte + flops_an_op);
    }
    return sum;
}

struct fit {
    struct dg_arena *arena;
    const struct dg_budget *budget;
    uint64_t lasting; /* bytes of all regions but the step */
    double plain;     /* the unconstrained step's time */
    bool found;
    struct dg_budget_choice best;
    double best_time;
    struct dg_budget_choice smallest; /* by the bound */
    uint64_t smallest_bound;
};

struct chain {
    struct dg_emit_entry entry;
    struct dg_budget_choice now;
    uint64_t bound;
    double time;
    int parts, highest[DG_MAX_PARTS];
};

static struct dg_graph *remade(const struct fit *fit, const struct chain *chain, const struct dg_remake *remake)
{
    struct dg_graph *graph = dg_graph_copy(chain->entry.graph);
    if (fit->budget->plain)
        dg_pass_recompute(graph, remake);
    else
        dg_pass_finish(graph, remake, chain->entry.output, chain->entry.num_outputs);
    return graph;
}

/* The largest sum of live bytes of a chain's step with some recomputation, and its time. */
static enum dg_status measure(struct fit *fit, const struct chain *chain, const struct dg_remake *remake,
                              uint64_t *bound, double *time, struct dg_error *err)
{
    struct dg_arena_mark mark = dg_arena_mark(fit->arena);
    struct dg_graph *graph = remade(fit, chain, remake);
    struct dg_life *life = dg_arena_alloc(fit->arena, ((size_t)graph->num_values + 1) * sizeof *life);
    struct dg_interval *interval = dg_arena_alloc(fit->arena, ((size_t)graph->num_values + 1) * sizeof *interval);
    dg_value *value = dg_arena_alloc(fit->arena, ((size_t)graph->num_values + 1) * sizeof *value);
    bool *used = dg_arena_alloc(fit->arena, (size_t)graph->num_values + 1);
    enum dg_status status = dg_lifetimes(graph, chain->entry.output, chain->entry.num_outputs, life, used, err);
    if (status == DG_OK) {
        uint32_t count = dg_live_intervals(graph, life, used, interval, value);
        *bound = dg_memory_bound(fit->arena, interval, count);
        *time = seconds_like(graph, chain->entry.bf16);
    }
    dg_arena_release(fit->arena, mark);
    return status;
}

/* The planned bytes of the step. */
static enum dg_status plan(struct fit *fit, const struct chain *chain, uint64_t *peak, struct dg_error *err)
{
    struct dg_arena_mark mark = dg_arena_mark(fit->arena);
    struct dg_emit_entry entry = chain->entry;
    struct dg_emit_input in = {.entry = &entry, .num_entries = 1, .recipe = "", .source = ""};
    uint64_t size;
    entry.graph = remade(fit, chain, &chain->now.remake);
    enum dg_status status = dg_plan_emit(fit->arena, &in, NULL, &size, err);
    *peak = entry.step.peak;
    dg_arena_release(fit->arena, mark);
    return status;
}

/* Tries `remake` as the next link; keeps it in *next if its bound is lower than what is there. */
static enum dg_status try_link(struct fit *fit, const struct chain *chain, const struct dg_remake *remake,
                               struct chain *next, struct dg_error *err)
{
    uint64_t bound;
    double time;
    DG_TRY(measure(fit, chain, remake, &bound, &time, err));
    if (bound >= next->bound) return DG_OK;
    next->bound = bound;
    next->time = time;
    next->now.remake = *remake;
    return DG_OK;
}

/* Tries a level in all parts that are below it. */
static enum dg_status try_level(struct fit *fit, const struct chain *chain, int level, struct chain *next,
                                struct dg_error *err)
{
    struct dg_remake all = chain->now.remake;
    for (int p = 0; p < chain->parts; p++) {
        int highest = level < chain->highest[p] ? level : chain->highest[p];
        if (all.level[p] < highest) all.level[p] = highest;
    }
    return try_link(fit, chain, &all, next, err);
}

/* The next link: one level more in the part where that lowers the bound most; where no single part does, the lowest level that
 * does in all. */
static enum dg_status step_on(struct fit *fit, struct chain *chain, bool *ended, struct dg_error *err)
{
    struct chain next = *chain;
    for (int p = 0; p < chain->parts; p++) {
        struct dg_remake one = chain->now.remake;
        if (one.level[p] == chain->highest[p]) continue;
        one.level[p]++;
        DG_TRY(try_link(fit, chain, &one, &next, err));
    }
    for (int level = 2; next.bound == chain->bound && level <= DG_MAX_REMAKE; level++)
        DG_TRY(try_level(fit, chain, level, &next, err));
    *ended = next.bound == chain->bound;
    *chain = next;
    return DG_OK;
}

static enum dg_status walk(struct fit *fit, struct chain *chain, struct dg_error *err)
{
    uint64_t room = (uint64_t)fit->budget->bytes;
    DG_TRY(measure(fit, chain, &chain->now.remake, &chain->bound, &chain->time, err));
    for (bool ended = false; !ended && !(fit->found && chain->time >= fit->best_time);) {
        chain->now.extra = chain->time / fit->plain - 1;
        if (chain->bound < fit->smallest_bound) {
            fit->smallest_bound = chain->bound;
            fit->smallest = chain->now;
        }
        if (fit->lasting + chain->bound <= room) {
            uint64_t peak;
            DG_TRY(plan(fit, chain, &peak, err));
            if (fit->lasting + peak <= room) {
                fit->found = true;
                fit->best = chain->now;
                fit->best_time = chain->time;
                return DG_OK;
            }
        }
        DG_TRY(step_on(fit, chain, &ended, err));
    }
    return DG_OK;
}

static enum dg_status open_chain(struct fit *fit, const struct dg_step_form *form, struct chain *chain,
                                 struct dg_error *err)
{
    *chain = (struct chain){.now = {.form = *form, .remake = dg_remake_cheap()}};
    if (!fit->budget->build(fit->budget->context, form, &chain->entry))
        return dg_fail(err, DG_ERR_INPUT, "a form of the step could not be built");
    chain->parts = dg_remake_parts(chain->entry.graph, chain->highest);
    return DG_OK;
}

/* Every number of slices the batch can be cut into, in every order; from the fastest on, so that slower ones end early. */
static enum dg_status walk_all(struct fit *fit, struct dg_error *err)
{
    const struct dg_train_step *step = fit->budget->step;
    bool whole = step->coupling || step->uncut;
    for (int64_t slices = 1; slices <= (whole ? 1 : fit->budget->batch); slices++) {
        if (fit->budget->batch % slices) continue;
        for (int order = 0; order < (step->coupling || step->num_inputs < 2 ? 1 : 2); order++) {
            struct chain chain;
            struct dg_step_form form = {.slices = slices, .smallest_first = order};
            DG_TRY(open_chain(fit, &form, &chain, err));
            DG_TRY(walk(fit, &chain, err));
        }
    }
    return DG_OK;
}

static uint64_t sum_regions(const uint64_t bytes[DG_REGIONS])
{
    uint64_t sum = 0;
    for (int r = 0; r < DG_REGIONS; r++) sum += bytes[r];
    return sum;
}

/* "needs at least X, because of Y". */
static enum dg_status nothing_fits(struct fit *fit, const struct dg_emit_entry *entry, struct dg_error *err)
{
    struct chain chain;
    uint64_t bytes[DG_REGIONS], models;
    DG_TRY(open_chain(fit, &fit->smallest.form, &chain, err));
    chain.now = fit->smallest;
    memcpy(bytes, entry->region_bytes, sizeof bytes);
    DG_TRY(plan(fit, &chain, &bytes[DG_REGION_STEP], err));
    models = bytes[DG_REGION_PARAM] + bytes[DG_REGION_STATE];
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
    const struct dg_train_step *step = fit->budget->step;
    const struct dg_graph_node *op = step->uncut ? step->uncut : step->coupling;
    if (op)
        snprintf(cut, sizeof cut, "; %s (%s, %s:%d) sees all rows at once, so the batch cannot be cut", op->origin.path,
                 op->op->name, op->origin.file, op->origin.line);
    uint64_t all = sum_regions(bytes); /* rounded up, so that what the message says can be given */
    int shift = all >> 26 ? 20 : 10;
    return dg_fail(err, DG_ERR_INPUT, "--memory: a step of %lld images needs at least %llu%c, because %s%s",
                   (long long)fit->budget->batch, (unsigned long long)((all + (UINT64_C(1) << shift) - 1) >> shift),
                   shift == 20 ? 'M' : 'K', most, cut);
}

enum dg_status dg_budget_fit(struct dg_arena *arena, const struct dg_budget *budget, struct dg_emit_entry *entry,
                             struct dg_budget_choice *choice, struct dg_error *err)
{
    struct fit fit = {.arena = arena,
                      .budget = budget,
                      .smallest_bound = UINT64_MAX,
                      .plain = seconds_like(entry->graph, entry->bf16)};
    struct dg_emit_input in = {.entry = entry, .num_entries = 1, .recipe = "", .source = ""};
    uint64_t size;
    DG_TRY(dg_plan_emit(arena, &in, NULL, &size, err));
    fit.lasting = sum_regions(entry->region_bytes) - entry->region_bytes[DG_REGION_STEP];
    DG_TRY(walk_all(&fit, err));
    if (!fit.found) return nothing_fits(&fit, entry, err);
    struct chain chain;
    DG_TRY(open_chain(&fit, &fit.best.form, &chain, err));
    *choice = fit.best;
    *entry = chain.entry;
    entry->graph = remade(&fit, &chain, &fit.best.remake);
    return DG_OK;
}

void dg_budget_report(struct dg_text *text, const struct dg_budget *budget, const struct dg_budget_choice *choice)
{
    bool again = false;
    for (int p = 0; p < DG_MAX_PARTS; p++) again |= choice->remake.level[p] > 0;
    dg_text_add(text, "  --memory: ");
    if (choice->form.slices > 1)
        dg_text_add(text, "the batch in %lld slices of %lld", (long long)choice->form.slices,
                    (long long)(budget->batch / choice->form.slices));
    else
        dg_text_add(text, "the batch in one piece");
    if (choice->form.smallest_first) dg_text_add(text, ", the smaller resolution first");
    dg_text_add(text, "%s; estimated %.0f %% more time than without a limit\n",
                again ? ", some activations computed again" : "", choice->extra * 100);
}

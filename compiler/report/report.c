#include "compiler/report/report.h"
#include "compiler/graph/cost.h"
#include "compiler/step/step.h"
#include "runtime/plan/view.h"

static void line(struct dg_text *text, const char *what, uint64_t bytes, const char *note)
{
    char size[32];
    dg_text_add(text, "    %-26s %10s%s%s\n", what, dg_format_bytes(size, sizeof size, (double)bytes),
                *note ? "   " : "", note);
}

void dg_report_coupling(struct dg_text *text, const struct dg_train_step *step, bool shared)
{
    const struct dg_graph_node *head = step->coupling, *backbone = step->uncut;
    if (head)
        dg_text_add(text,
                    "  head: %s (%s, %s:%d) sees all crops at once: both backbone forwards come first, both backwards "
                    "last, and their activations coexist\n",
                    head->origin.path, head->op->name, head->origin.file, head->origin.line);
    if (backbone && !shared)
        dg_text_add(text, "  %s: %s (%s, %s:%d) sees a resolution's crops at once: a batch cannot be cut into slices\n",
                    step->uncut_in, backbone->origin.path, backbone->op->name, backbone->origin.file,
                    backbone->origin.line);
}

/* What processes that share the entry exchange in a step. */
static void report_ranks(struct dg_text *text, const struct dg_entry *entry, uint64_t sums)
{
    struct dg_graph *graph = entry->graph;
    int64_t slices = graph->slices / entry->ranks, joins = 0, bytes = 0;
    char size[32];
    dg_text_add(
        text, "    %lld processes of %lld slice%s of %lld images; each sends and receives %s a step\n",
        (long long)entry->ranks, (long long)slices, slices == 1 ? "" : "s", (long long)(entry->batch / graph->slices),
        dg_format_bytes(size, sizeof size, 2.0 * (double)(entry->ranks - 1) / (double)entry->ranks * (double)sums));
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        if (dg_node_ranks(graph, &graph->node[n]) < 2) continue;
        struct dg_op_call call = dg_graph_call(graph, &graph->node[n], NULL);
        struct dg_joins of = call.op->joins(&call);
        bytes += of.bytes;
        joins += of.times;
    }
    if (joins)
        dg_text_add(text,
                    "    operations see the rows of all: %lld times a step each sends moments, sums or rows, %s to "
                    "each other\n",
                    (long long)joins, dg_format_bytes(size, sizeof size, (double)bytes));
}

void dg_report(struct dg_text *text, const struct dg_entry *entry, const struct dg_layout *layout, int num_entries)
{
    for (int e = 0; e < num_entries; e++) {
        const struct dg_entry *en = &entry[e];
        const struct dg_layout *l = &layout[e];
        double flops = 0;
        for (uint32_t n = 0; n < en->graph->num_nodes; n++)
            flops += dg_graph_cost(en->graph, &en->graph->node[n]).flops;
        char naive[32], bound[32];
        dg_text_add(text, "  entry %s: batch %lld, %u operations, %.1f GFLOP\n", dg_entry_name(en->role),
                    (long long)en->batch, en->graph->num_nodes, flops / 1e9);
        if (en->ranks > 1) report_ranks(text, en, l->sums);
        line(text, "parameters", l->bytes[DG_REGION_PARAM], "");
        if (l->bytes[DG_REGION_STATE]) line(text, "optimiser state", l->bytes[DG_REGION_STATE], "");
        double over = l->step.bound ? 100.0 * (double)(l->step.peak - l->step.bound) / (double)l->step.bound : 0;
        line(text, en->constant_params ? "activations" : "activations and gradients", l->step.peak,
             dg_arena_printf(text->arena, "%s if each had its own place; %.2f %% above the lower bound of %s",
                             dg_format_bytes(naive, sizeof naive, (double)l->step.naive), over,
                             dg_format_bytes(bound, sizeof bound, (double)l->step.bound)));
        line(text, "inputs", l->bytes[DG_REGION_INPUT], "");
        line(text, "planned, total", dg_layout_bytes(l), "");
    }
    dg_text_add(text,
                "  dinorun adds scratch, packed weights and the loader, and prints them when it opens the plan\n");
}

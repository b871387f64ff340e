#include "compiler/plan/lifetimes.h"

/* A value's own reads; what it shares bytes with is not known yet. */
static void find_lives(struct dg_graph *graph, const dg_value *outputs, int num_outputs, struct dg_life *life)
{
    uint32_t end = graph->num_nodes ? graph->num_nodes - 1 : 0;
    for (uint32_t v = 0; v < graph->num_values; v++)
        life[v] = (struct dg_life){.root = v,
                                   .bytes = (uint64_t)dg_round_up(dg_desc_bytes(&graph->value[v].desc), DG_PLAN_ALIGN)};
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++) {
            dg_value v = graph->node[n].input[i];
            if (v == DG_NO_VALUE) continue;
            life[v].reads++;
            life[v].last = n;
        }
    uint32_t first, count;
    dg_graph_loop(graph, &first, &count);
    for (uint32_t n = first; n < first + count; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++) {
            dg_value v = graph->node[n].input[i];
            bool before = v != DG_NO_VALUE && graph->value[v].producer < first;
            if (before && !graph->value[v].collects) life[v].last = first + count; /* the next slice reads it too */
        }
    for (int o = 0; o < num_outputs; o++) {
        life[outputs[o]].output = true;
        life[outputs[o]].last = end;
    }
    for (uint32_t v = 0; v < graph->num_values; v++)
        if (graph->value[v].region != DG_REGION_STEP) life[v].last = end; /* there before the step and after it */
}

bool dg_output_absent(const struct dg_graph_node *node, int o, const struct dg_life *life)
{
    const struct dg_life *l = &life[node->output[o]];
    return !l->reads && !l->output && dg_is_optional_output(&node->op->outputs[o]);
}

/* Decides which outputs live in the bytes of an input: views always, in-place outputs where the input dies here. */
static void find_aliases(struct dg_graph *graph, struct dg_life *life)
{
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        uint32_t claimed[DG_MAX_OUTPUTS];
        int claims = 0;
        for (int o = 0; o < node->num_outputs; o++) {
            dg_value v = node->output[o];
            int source = dg_reused_input(&node->op->outputs[o]);
            bool view = dg_is_view(&node->op->outputs[o]);
            life[v].first = n;
            if (life[v].last < n) life[v].last = n;
            if (dg_output_absent(node, o, life) || source < 0 || source >= node->num_inputs ||
                node->input[source] == DG_NO_VALUE)
                continue;
            uint32_t root = life[node->input[source]].root;
            bool free_here = !dg_op_moves(node->op, dg_node_row_map(node) != DG_NO_VALUE, source, o) &&
                             graph->value[root].region == DG_REGION_STEP && life[root].last == n &&
                             life[v].bytes == life[root].bytes &&
                             graph->value[v].desc.dtype == graph->value[node->input[source]].desc.dtype;
            for (int i = 0; i < node->num_inputs; i++)
                free_here =
                    free_here && (i == source || node->input[i] == DG_NO_VALUE || life[node->input[i]].root != root);
            for (int c = 0; c < claims; c++) free_here = free_here && claimed[c] != root;
            if (!view && !free_here) continue;
            claimed[claims++] = root;
            life[v].root = root;
            if (life[v].last > life[root].last) life[root].last = life[v].last;
        }
    }
}

/* A value made in the loop over slices ends in it, unless each process runs it once, and a sum over slices stays in the same bytes. */
static enum dg_status check_loop(const struct dg_graph *graph, const struct dg_life *life, struct dg_error *err)
{
    uint32_t first, count;
    dg_graph_loop(graph, &first, &count);
    for (dg_value v = 0; count && v < graph->num_values; v++) {
        const struct dg_graph_value *value = &graph->value[v];
        uint32_t producer = value->producer;
        if (producer == DG_PLAN_NONE || life[v].root != v) continue;
        bool before = producer < first, in = !before && producer < first + count, lasts = life[v].last >= first + count;
        if ((in && lasts && !graph->coupled) || (before && life[v].last >= first && !lasts))
            return dg_fail(err, DG_ERR_INTERNAL, "internal: %s of a slice %s; please report this", value->name,
                           in ? "is read after it" : "is no sum");
    }
    return DG_OK;
}

enum dg_status dg_lifetimes(struct dg_graph *graph, const dg_value *output, int num_outputs, struct dg_life *life,
                            bool *used, struct dg_error *err)
{
    find_lives(graph, output, num_outputs, life);
    find_aliases(graph, life);
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        for (int i = 0; i < node->num_inputs; i++)
            if (node->input[i] != DG_NO_VALUE) used[node->input[i]] = true;
        for (int o = 0; o < node->num_outputs; o++)
            if (!dg_output_absent(node, o, life)) used[node->output[o]] = true;
    }
    return check_loop(graph, life, err);
}

uint32_t dg_live_intervals(const struct dg_graph *graph, const struct dg_life *life, const bool *used,
                           struct dg_interval *interval, dg_value *value)
{
    uint32_t count = 0;
    for (dg_value v = 0; v < graph->num_values; v++) {
        if (!used[v] || life[v].root != v || graph->value[v].region != DG_REGION_STEP) continue;
        value[count] = v;
        interval[count++] = (struct dg_interval){.first = life[v].first, .last = life[v].last, .bytes = life[v].bytes};
    }
    return count;
}

/* Fusion: a node whose only reader its op can do as well takes that reader over, and makes its result directly. What may be
 * taken over is each op's own knowledge (struct dg_op, absorb); here is only who reads what. */
#include "compiler/passes/pass.h"

#include <string.h>

/* By value, the node that alone reads it; DG_PLAN_NONE where there is none, or several, or the value leaves the graph. */
static uint32_t *index_readers(struct dg_graph *graph, const uint32_t *reads)
{
    uint32_t *reader = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *reader);
    for (uint32_t v = 0; v < graph->num_values; v++) reader[v] = DG_PLAN_NONE;
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++) {
            dg_value v = graph->node[n].input[i];
            if (v != DG_NO_VALUE && reads[v] == 1) reader[v] = n;
        }
    return reader;
}

/* Is all that the reader reads there where node n stands, but for what n makes? */
static bool ready(const struct dg_graph *graph, uint32_t n, const struct dg_graph_node *reader)
{
    for (int i = 0; i < reader->num_inputs; i++)
        if (!dg_graph_there(graph, reader->input[i], n + 1)) return false;
    return true;
}

bool dg_fuse(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    uint32_t *reads = dg_graph_reads(graph, c->keep, c->num_keep), *reader = index_readers(graph, reads);
    bool *gone = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    for (uint32_t n = c->first; n < graph->num_nodes; n++) {
        struct dg_graph_node *node = &graph->node[n];
        while (!gone[n] && node->op->absorb) {
            dg_value made = node->output[0];
            uint32_t r = reader[made];
            if (r == DG_PLAN_NONE || graph->node[r].application != node->application) break; /* another application */
            const struct dg_graph_node *next = &graph->node[r];
            if (!ready(graph, n, next)) break;
            dg_value *input =
                dg_arena_alloc(graph->arena, (size_t)(node->num_inputs + next->num_inputs) * sizeof *input);
            memcpy(input, node->input, (size_t)node->num_inputs * sizeof *input);
            struct dg_fusion f = {.op = node->op,
                                  .train = node->train,
                                  .constant_params = c->constant_params,
                                  .attr = node->attr,
                                  .input = input,
                                  .num_inputs = node->num_inputs,
                                  .made = made,
                                  .next = next->op,
                                  .next_attr = next->attr,
                                  .next_input = next->input,
                                  .next_num_inputs = next->num_inputs,
                                  .next_wanted = dg_graph_wanted(next, reads)};
            if (!node->op->absorb(&f)) break;
            node->op = f.op;
            node->input = input;
            node->num_inputs = f.num_inputs;
            node->output[0] = next->output[0];
            graph->value[node->output[0]].producer = n;
            graph->value[made].producer = DG_PLAN_NONE;
            for (int o = 1; o < next->num_outputs; o++) graph->value[next->output[o]].producer = DG_PLAN_NONE;
            gone[r] = true;
        }
    }
    dg_graph_drop(graph, gone);
    return true;
}

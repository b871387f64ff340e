/* Joining: a node also makes what the first that reads its result makes of it, where its op can do so while it has that result
 * at hand. Others may go on reading it; what to make is each op's own knowledge (struct dg_op, join). This comes last, when
 * nothing is differentiated or made again any more: the graph that is left is for running only. */
#include "compiler/passes/pass.h"

#include <string.h>

/* By value, the first node that reads it; DG_PLAN_NONE where there is none. */
static uint32_t *index_first_readers(struct dg_graph *graph)
{
    uint32_t *reader = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *reader);
    for (uint32_t v = 0; v < graph->num_values; v++) reader[v] = DG_PLAN_NONE;
    for (uint32_t n = graph->num_nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].num_inputs; i++)
            if (graph->node[n].input[i] != DG_NO_VALUE) reader[graph->node[n].input[i]] = n;
    return reader;
}

/* Run in the same breath, so that one can do the other's work. */
static bool alike(const struct dg_graph_node *a, const struct dg_graph_node *b)
{
    return a->phase == b->phase && a->train == b->train && a->role == b->role && a->role != DG_ROLE_COMMIT;
}

/* Node n takes outputs of `next` over, as its op said in f. */
static void take(struct dg_graph *graph, uint32_t n, struct dg_graph_node *next, const struct dg_fusion *f)
{
    struct dg_graph_node *node = &graph->node[n];
    node->op = f->op;
    memcpy(node->attr, f->attr, sizeof node->attr);
    node->input = f->input;
    node->num_inputs = f->num_inputs;
    node->kept = f->kept != DG_NO_VALUE;
    if (node->kept) node->input[node->num_inputs++] = f->kept;
    next->input = f->next_input;
    for (int o = 0; o < next->num_outputs; o++) {
        if (!(f->takes >> o & 1)) continue;
        dg_value taken = next->output[o];
        next->output[o] = dg_graph_value_like(graph, taken); /* nobody reads it */
        graph->value[next->output[o]].producer = DG_PLAN_NONE;
        graph->value[taken].producer = n;
        graph->value[taken].output = (uint32_t)node->num_outputs;
        node->output[node->num_outputs++] = taken;
    }
}

bool dg_fuse_late(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    uint32_t *reader = index_first_readers(graph), *reads = dg_graph_reads(graph, c->keep, c->num_keep);
    bool *gone = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        struct dg_graph_node *node = &graph->node[n];
        uint32_t r = gone[n] || !node->op->join ? DG_PLAN_NONE : reader[node->output[0]];
        if (r == DG_PLAN_NONE || !alike(node, &graph->node[r])) continue;
        struct dg_graph_node *next = &graph->node[r];
        union dg_attr attr[DG_MAX_ATTRS];
        memcpy(attr, node->attr, sizeof attr);
        struct dg_fusion f = {.op = node->op,
                              .train = node->train,
                              .attr = attr,
                              .num_inputs = node->num_inputs - node->kept,
                              .kept = node->kept ? node->input[node->num_inputs - 1] : DG_NO_VALUE,
                              .made = node->output[0],
                              .next = next->op,
                              .next_attr = next->attr,
                              .next_num_inputs = next->num_inputs - next->kept,
                              .next_wanted = dg_graph_wanted(next, reads),
                              .next_kept = next->kept ? next->input[next->num_inputs - 1] : DG_NO_VALUE};
        f.input = dg_arena_alloc(graph->arena, (size_t)(node->num_inputs + next->num_inputs + 2) * sizeof *f.input);
        f.next_input = dg_arena_alloc(graph->arena, (size_t)next->num_inputs * sizeof *f.next_input);
        memcpy(f.input, node->input, (size_t)node->num_inputs * sizeof *f.input);
        memcpy(f.next_input, next->input, (size_t)next->num_inputs * sizeof *f.next_input);
        bool ready = node->op->join(&f);
        for (int i = 0; ready && i < f.num_inputs; i++) ready = dg_graph_there(graph, f.input[i], n);
        if (!ready) continue;
        take(graph, n, next, &f);
        gone[r] = !(f.next_wanted & ~f.takes);
    }
    dg_graph_drop(graph, gone);
    return true;
}

/* Fusion: one node in the place of two, a producer and the first reader of its output 0, where a rewrite says so. What may be
 * fused and into what is the rewrites' knowledge (ops/op_rewrite.h); who reads what is known here. */
#include "compiler/passes/pass.h"
#include "ops/op_rewrite.h"

#include <string.h>

struct fusing {
    struct dg_graph *graph;
    uint32_t *reads;        /* by value: how often it is read; leaving the graph counts as one */
    uint32_t *first_reader; /* by value: the first node that reads it; DG_PLAN_NONE: none does */
    bool *gone;             /* nodes that are fused into others */
};

static uint32_t *index_first_readers(struct dg_graph *graph)
{
    uint32_t *reader = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *reader);
    for (uint32_t v = 0; v < graph->num_values; v++) reader[v] = DG_PLAN_NONE;
    for (uint32_t n = graph->num_nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].num_inputs; i++)
            if (graph->node[n].input[i] != DG_NO_VALUE) reader[graph->node[n].input[i]] = n;
    return reader;
}

/* --- what a rewrite sees --- */

static struct dg_match_node view_of(const struct fusing *f, uint32_t n)
{
    const struct dg_graph_node *node = &f->graph->node[n];
    bool *wanted = dg_arena_alloc(f->graph->arena, (size_t)node->num_outputs + 1);
    for (int o = 0; o < node->num_outputs; o++) wanted[o] = f->reads[node->output[o]] > 0;
    return (struct dg_match_node){.op = node->op,
                                  .attr = node->attr,
                                  .input = node->input,
                                  .num_inputs = node->num_inputs,
                                  .output = node->output,
                                  .wanted = wanted,
                                  .train = node->train};
}

static bool find_maker(const struct dg_match *match, dg_value value, struct dg_match_node *maker)
{
    const struct fusing *f = match->compiler;
    uint32_t n = value == DG_NO_VALUE ? DG_PLAN_NONE : f->graph->value[value].producer;
    if (n == DG_PLAN_NONE) return false;
    *maker = view_of(f, n);
    return true;
}

/* --- which pairs may fuse --- */

/* The two nodes run under the same conditions, so one kernel may compute both. */
static bool run_together(const struct dg_graph_node *a, const struct dg_graph_node *b)
{
    return a->phase == b->phase && a->train == b->train && a->role == b->role && a->role != DG_ROLE_COMMIT;
}

/* The consumer that the rewrite takes for node n; DG_PLAN_NONE: none. */
static uint32_t find_consumer(const struct fusing *f, const struct dg_rewrite *rewrite, uint32_t n)
{
    const struct dg_graph_node *node = &f->graph->node[n];
    uint32_t r = node->op == rewrite->producer ? f->first_reader[node->output[DG_RESULT]] : DG_PLAN_NONE;
    if (r == DG_PLAN_NONE || f->gone[r] || f->graph->node[r].op != rewrite->consumer) return DG_PLAN_NONE;
    if (!run_together(node, &f->graph->node[r])) return DG_PLAN_NONE;
    if (!rewrite->keeps_producer_output && f->reads[node->output[DG_RESULT]] != 1) return DG_PLAN_NONE;
    /* Before it is differentiated, a node of an application stays one. */
    bool crosses = f->graph->node[r].application != node->application && !rewrite->at_consumer;
    return crosses && rewrite->phase != DG_FUSE_LATE ? DG_PLAN_NONE : r;
}

/* Are all inputs of the fused node made before node n? */
static bool inputs_there(const struct dg_graph *graph, const struct dg_new_node *made, uint32_t n)
{
    for (int i = 0; i < dg_op_num_inputs(made->op); i++)
        if (!dg_graph_made_before(graph, made->input[i], n)) return false;
    return true;
}

/* --- the fused node --- */

static bool makes(const struct dg_new_node *made, dg_value value)
{
    for (int o = 0; o < dg_op_num_outputs(made->op); o++)
        if (made->output[o] == value) return true;
    return false;
}

/* The consumer stays for its other outputs. It gets new values, which nothing reads, for those that the fused node makes; and an
 * optional input that its op would add to such an output becomes absent. */
static void release_outputs(struct dg_graph *graph, struct dg_graph_node *node, const struct dg_new_node *made)
{
    dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node->num_inputs + 1) * sizeof *input);
    memcpy(input, node->input, (size_t)node->num_inputs * sizeof *input);
    node->input = input;
    for (int o = 0; o < node->num_outputs; o++) {
        if (!makes(made, node->output[o])) continue;
        int source = dg_reused_input(&node->op->outputs[o]);
        if (source >= 0 && node->op->inputs[source].flags & DG_OPTIONAL) node->input[source] = DG_NO_VALUE;
        node->output[o] = dg_graph_value_like(graph, node->output[o]);
        graph->value[node->output[o]].producer = DG_PLAN_NONE;
    }
}

static void orphan_outputs(struct dg_graph *graph, const struct dg_graph_node *node)
{
    for (int o = 0; o < node->num_outputs; o++) graph->value[node->output[o]].producer = DG_PLAN_NONE;
}

/* Puts the fused node in the place of node n. */
static void put(struct dg_graph *graph, uint32_t n, const struct dg_new_node *made)
{
    struct dg_graph_node *node = &graph->node[n];
    node->op = made->op;
    memcpy(node->attr, made->attr, sizeof node->attr);
    node->num_inputs = dg_op_num_inputs(made->op);
    node->input = dg_arena_alloc(graph->arena, ((size_t)node->num_inputs + 1) * sizeof *node->input);
    memcpy(node->input, made->input, (size_t)node->num_inputs * sizeof *node->input);
    node->num_outputs = dg_op_num_outputs(made->op);
    for (int o = 0; o < node->num_outputs; o++) {
        node->output[o] = made->output[o];
        graph->value[made->output[o]].producer = n;
        graph->value[made->output[o]].output = (uint32_t)o;
    }
}

/* Fuses node n with the reader of its result; false where the rewrite does not fit. */
static bool apply(struct fusing *f, const struct dg_rewrite *rewrite, uint32_t n)
{
    struct dg_graph *graph = f->graph;
    uint32_t r = find_consumer(f, rewrite, n), at = rewrite->at_consumer ? r : n;
    if (r == DG_PLAN_NONE) return false;
    struct dg_match match = {view_of(f, n), view_of(f, r), find_maker, f};
    struct dg_new_node made = {0};
    for (int i = 0; i < DG_MAX_FUSED_INPUTS; i++) made.input[i] = DG_NO_VALUE;
    for (int o = 0; o < DG_MAX_FUSED_OUTPUTS; o++) made.output[o] = DG_NO_VALUE;
    if (!rewrite->build(&match, &made) || !inputs_there(graph, &made, at)) return false;
    bool stays = false; /* the consumer, for outputs that are read and that the fused node does not make */
    for (int o = 0; o < graph->node[r].num_outputs; o++)
        stays |= match.consumer.wanted[o] && !makes(&made, graph->node[r].output[o]);
    if (stays && !rewrite->keeps_producer_output) return false;
    if (stays)
        release_outputs(graph, &graph->node[r], &made);
    else
        orphan_outputs(graph, &graph->node[r]);
    orphan_outputs(graph, &graph->node[n]);
    f->gone[r] = !stays;
    f->gone[n] = true;
    f->gone[at] = false;
    put(graph, at, &made);
    return true;
}

/* --- the passes --- */

static bool is_tried(const struct dg_rewrite *rewrite, bool late, bool constant_params)
{
    if (rewrite->phase == DG_FUSE_LATE) return late;
    return !late && (rewrite->phase == DG_FUSE_FORWARD || constant_params);
}

static bool fuse(struct dg_pass_context *c, bool late)
{
    struct dg_graph *graph = c->graph;
    struct fusing f = {graph, dg_graph_reads(graph, c->keep, c->num_keep), index_first_readers(graph),
                       dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1)};
    for (uint32_t n = c->first; n < graph->num_nodes; n++)
        for (int i = 0; !f.gone[n] && i < dg_rewrite_count(); i++) {
            const struct dg_rewrite *rewrite = dg_rewrite_at(i);
            if (is_tried(rewrite, late, c->constant_params) && apply(&f, rewrite, n))
                i = -1; /* the new node may fuse on */
        }
    dg_graph_drop(graph, f.gone);
    return true;
}

bool dg_fuse(struct dg_pass_context *c) { return fuse(c, false); }
bool dg_fuse_late(struct dg_pass_context *c) { return fuse(c, true); }

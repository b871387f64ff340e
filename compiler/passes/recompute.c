/* Recomputation trades time for memory. A value that the backward reads occupies its bytes from the forward on. A copy of its node
 * right before the first backward node that reads it frees them as soon as the forward has read the value. */
#include "compiler/passes/pass.h"

static bool reads_step(const struct dg_graph *graph, dg_value v)
{
    return v != DG_NO_VALUE && graph->value[v].region == DG_REGION_STEP;
}

/* Forward nodes of the student: their results are what the backward reads. The loss is not among them: it adds to sums. */
static bool eligible(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return node->role == DG_ROLE_FORWARD && node->op->run &&
           graph->application[node->application].network == DG_STUDENT;
}

/* --- parts and blocks --- */

/* The applications that have a level, in order of execution; and of each the blocks that have eligible nodes, in order. */
struct parts {
    int count;
    int *of; /* by application: the part; -1: none */
    struct {
        int blocks;
        int *place; /* by the block's id: its place among these; -1: it has no eligible node */
    } part[DG_MAX_RECOMPUTE_PARTS];
};

static int *fill(struct dg_arena *arena, uint32_t count, int value)
{
    int *array = dg_arena_alloc(arena, ((size_t)count + 1) * sizeof *array);
    for (uint32_t i = 0; i <= count; i++) array[i] = value;
    return array;
}

static int part_of(const struct parts *parts, const struct dg_graph_node *node) { return parts->of[node->application]; }

/* The place of the node's block in part p; -1: it is in none. */
static int block_of(const struct parts *parts, int p, const struct dg_graph_node *node)
{
    return node->block == DG_NO_BLOCK ? -1 : parts->part[p].place[node->block];
}

static struct parts find_parts(const struct dg_graph *graph)
{
    struct parts parts = {.of = fill(graph->arena, graph->num_applications, -1)};
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (!eligible(graph, node)) continue;
        int p = part_of(&parts, node);
        if (p < 0 && parts.count == DG_MAX_RECOMPUTE_PARTS) continue;
        if (p < 0) {
            p = parts.of[node->application] = parts.count++;
            parts.part[p].place = fill(graph->arena, graph->application[node->application].num_blocks, -1);
        }
        if (node->block != DG_NO_BLOCK && block_of(&parts, p, node) < 0)
            parts.part[p].place[node->block] = parts.part[p].blocks++;
    }
    return parts;
}

struct dg_recompute_levels dg_recompute_cheap(void)
{
    struct dg_recompute_levels levels = {0};
    for (int p = 0; p < DG_MAX_RECOMPUTE_PARTS; p++) levels.level[p] = 1;
    return levels;
}

int dg_recompute_parts(const struct dg_graph *graph, int highest[DG_MAX_RECOMPUTE_PARTS])
{
    struct parts parts = find_parts(graph);
    for (int p = 0; p < parts.count; p++) highest[p] = parts.part[p].blocks ? DG_MAX_RECOMPUTE : 1;
    return parts.count;
}

/* --- what is recomputed --- */

/* Level 1 recomputes chains of at most this many cheap ops from a saved value. Two would reach from the result of a residual block
 * to the norm of the next one, over the sum; four let the result of every other block go, too. */
enum { MAX_SWEEPS = 4 };

/* The unit that a node is in, a block or two; -1: it is in none. */
static int unit_of(const struct parts *parts, const struct dg_recompute_levels *levels,
                   const struct dg_graph_node *node)
{
    int p = dg_is_backward(node) ? -1 : part_of(parts, node), b = p < 0 ? -1 : block_of(parts, p, node);
    return b >= 0 && levels->level[p] == DG_RECOMPUTE_PAIRS ? b / 2 : b;
}

/* By node: is its result recomputed for the backward? */
static bool *choose(const struct dg_graph *graph, const struct dg_recompute_levels *levels)
{
    struct parts parts = find_parts(graph);
    bool *recomputed = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    bool *saved = dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1); /* read by a backward node */
    bool *crosses =
        dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1); /* read by a node outside of its unit */
    int *unit = dg_arena_alloc(graph->arena, ((size_t)graph->num_nodes + 1) * sizeof *unit);
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        unit[n] = unit_of(&parts, levels, node);
        for (int i = 0; i < node->num_inputs; i++) {
            dg_value v = node->input[i];
            if (!reads_step(graph, v)) continue;
            uint32_t maker = graph->value[v].producer;
            saved[v] |= dg_is_backward(node);
            crosses[v] |= !dg_is_backward(node) &&
                          (node->application != graph->node[maker].application || unit[n] != unit[maker]);
        }
    }
    int *cheap = dg_arena_alloc(graph->arena, ((size_t)graph->num_nodes + 1) * sizeof *cheap);
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        int p = eligible(graph, node) ? part_of(&parts, node) : -1, level = p < 0 ? 0 : levels->level[p];
        if (!level) continue;
        int b = block_of(&parts, p, node);
        bool in_block = b >= 0 && b * DG_RECOMPUTE_SHARES < (level - 1) * parts.part[p].blocks;
        int sweeps = node->op->cost ? MAX_SWEEPS + 1 : 1;
        for (int i = 0; i < node->num_inputs; i++) {
            dg_value v = node->input[i];
            if (!reads_step(graph, v)) continue;
            uint32_t maker = graph->value[v].producer;
            int before = !recomputed[maker] && saved[v] ? 0 : cheap[maker] ? cheap[maker] : MAX_SWEEPS;
            if (before + 1 > sweeps) sweeps = before + 1;
        }
        cheap[n] = sweeps <= MAX_SWEEPS ? sweeps : 0;
        /* The other outputs of such an op, moments, are saved in any case, and may be read anywhere. */
        int made = node->op->recompute && level != DG_RECOMPUTE_NORMS ? 1 : node->num_outputs;
        for (int o = 0; o < made; o++) in_block = in_block && !crosses[node->output[o]];
        recomputed[n] = in_block || cheap[n];
    }
    return recomputed;
}

/* --- the new order --- */

struct rewriting {
    struct dg_graph *graph;
    const struct dg_graph_node *node; /* before the pass */
    const uint32_t *maker;            /* by value: its node before the pass */
    const bool *recomputed;           /* by that node */
    dg_value *copy;  /* by value: what the backward reads in its place; DG_NO_VALUE: not computed yet */
    dg_value *stack; /* values whose copies wait for those of their inputs */
};

/* Does the backward read a copy in place of v? Of an op with `recompute` only output 0 is computed again. */
static bool is_recomputed(const struct rewriting *r, dg_value v)
{
    if (!reads_step(r->graph, v) || r->maker[v] == DG_PLAN_NONE || !r->recomputed[r->maker[v]]) return false;
    return !(r->node[r->maker[v]].op->recompute && r->graph->value[v].output);
}

/* The first input of v's node whose copy is not there yet; DG_NO_VALUE: all are. */
static dg_value missing_input(const struct rewriting *r, dg_value v)
{
    const struct dg_graph_node *node = &r->node[r->maker[v]];
    for (int i = 0; i < node->num_inputs; i++)
        if (is_recomputed(r, node->input[i]) && r->copy[node->input[i]] == DG_NO_VALUE) return node->input[i];
    return DG_NO_VALUE;
}

/* Appends the copy of v's node; those of its inputs are there. */
static void append_copy(struct rewriting *r, dg_value v, enum dg_phase phase)
{
    struct dg_graph *graph = r->graph;
    struct dg_graph_node node = r->node[r->maker[v]];
    dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node.num_inputs + 1) * sizeof *input);
    for (int i = 0; i < node.num_inputs; i++)
        input[i] = is_recomputed(r, node.input[i]) ? r->copy[node.input[i]] : node.input[i];
    node.input = input;
    if (node.op->recompute) {
        struct dg_recompute a = {node.train, input, node.num_inputs, node.output};
        node.op->recompute(&a);
        node.train = a.train;
    }
    node.role = DG_ROLE_RECOMPUTED;
    node.phase = phase;
    for (int o = 0; o < node.num_outputs; o++) {
        dg_value made = dg_graph_value_like(graph, node.output[o]);
        r->copy[node.output[o]] = made;
        node.output[o] = made;
    }
    dg_graph_append(graph, &node);
}

/* What a backward node of `phase` reads in place of v; nodes that compute it are appended, inputs first. */
static dg_value backward_input(struct rewriting *r, dg_value v, enum dg_phase phase)
{
    if (!is_recomputed(r, v)) return v;
    uint32_t depth = 0;
    r->stack[depth++] = v;
    while (depth) {
        dg_value top = r->stack[depth - 1], missing = missing_input(r, top);
        if (missing != DG_NO_VALUE) {
            r->stack[depth++] = missing;
            continue;
        }
        if (r->copy[top] == DG_NO_VALUE) append_copy(r, top, phase);
        depth--;
    }
    return r->copy[v];
}

bool dg_recompute(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    uint32_t num_nodes = graph->num_nodes, num_values = graph->num_values;
    uint32_t *maker = dg_arena_alloc(graph->arena, ((size_t)num_values + 1) * sizeof *maker);
    struct rewriting r = {
        .graph = graph, .node = graph->node, .maker = maker, .recomputed = choose(graph, &c->recompute)};
    r.copy = dg_arena_alloc(graph->arena, ((size_t)num_values + 1) * sizeof *r.copy);
    r.stack = dg_arena_alloc(graph->arena, ((size_t)num_nodes + 1) * sizeof *r.stack);
    for (dg_value v = 0; v < num_values; v++) {
        maker[v] = graph->value[v].producer;
        r.copy[v] = DG_NO_VALUE;
    }
    graph->num_nodes = 0;
    graph->node_capacity = (size_t)num_nodes * 5 / 4;
    graph->node = dg_arena_alloc(graph->arena, (graph->node_capacity + 1) * sizeof *graph->node);
    for (uint32_t n = 0; n < num_nodes; n++) {
        struct dg_graph_node node = r.node[n];
        if (dg_is_backward(&node)) {
            dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node.num_inputs + 1) * sizeof *input);
            for (int i = 0; i < node.num_inputs; i++) input[i] = backward_input(&r, node.input[i], node.phase);
            node.input = input;
        }
        dg_graph_append(graph, &node);
    }
    return true;
}

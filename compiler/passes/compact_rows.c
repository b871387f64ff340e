/* Drop path multiplies what a residual branch makes of some images by zero, and so their gradients. If only the residual sum
 * reads the branch, it is run on the surviving images alone, forward and backward, packed to the front of each tensor. What an op
 * can do with such tensors it says itself (operands with DG_COMPACT). The unit is one residual branch: from the op that first
 * leaves images out (a norm on the residual stream) to the sum, with the backward and the recomputation of its nodes. */
#include "compiler/passes/pass.h"

#include <string.h>

/* The probability with which an op that leaves out images does so. */
static double drop_rate(const struct dg_graph_node *node) { return node->attr[dg_op_attr(node->op, "rate")].f; }

/* A parameter has no images. */
static bool compact_input(const struct dg_graph *graph, const struct dg_graph_node *node, int i)
{
    return dg_op_input_has(node->op, node->num_inputs, i, DG_COMPACT) && node->input[i] != DG_NO_VALUE &&
           graph->value[node->input[i]].region != DG_REGION_PARAM;
}

static bool compact_output(const struct dg_graph_node *node, int o) { return node->op->outputs[o].flags & DG_COMPACT; }

/* Lists of nodes, by a key: list[start[key]] to list[start[key + 1] - 1]. */
struct index {
    uint32_t *start, *list;
};

struct compaction {
    struct dg_graph *graph;
    uint32_t num_nodes;    /* before any was added */
    struct index together; /* by id of a forward node: it, its backward and its recomputation */
    struct index readers;  /* by value */
    bool *leaves;          /* by value: it leaves the graph */
    uint32_t *begin;       /* by application and phase: its first node */
    uint32_t *before;      /* by added node: the node that it is put in front of */
    /* The current branch. A mark is the number of a branch, so that marks of earlier ones do not count. */
    uint32_t branch, sum;
    uint32_t *forward, *member; /* marks by node */
    uint32_t *packed;           /* marks by value: it has the surviving images only */
    uint32_t *list, count;      /* the members */
    uint32_t *found, num_found; /* the forward nodes among them, from the sum back */
};

/* --- which nodes belong together --- */

static struct index make_index(const struct dg_graph *graph, uint32_t keys, bool by_value)
{
    struct dg_arena *arena = graph->arena;
    struct index index = {dg_arena_alloc(arena, ((size_t)keys + 3) * sizeof(uint32_t)), NULL};
    uint32_t *start = index.start + 1; /* counts, then starts, then ends, which are the next key's starts */
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t n = 0; n < graph->num_nodes; n++) {
            const struct dg_graph_node *node = &graph->node[n];
            for (int i = 0; i < (by_value ? node->num_inputs : 1); i++) {
                uint32_t key = by_value ? node->input[i] : node->forward_of;
                if (key == DG_NO_VALUE) continue;
                if (fill)
                    index.list[start[key]++] = n;
                else
                    start[key + 1]++;
            }
        }
        if (fill) break;
        for (uint32_t k = 0; k <= keys; k++) start[k + 1] += start[k];
        index.list = dg_arena_alloc(arena, ((size_t)start[keys + 1] + 1) * sizeof(uint32_t));
    }
    return index;
}

static uint32_t place(const struct dg_graph_node *node) { return node->application * 3 + (uint32_t)node->phase; }

static struct compaction begin(const struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    struct dg_arena *arena = graph->arena;
    size_t nodes = (size_t)graph->num_nodes + 1, values = (size_t)graph->num_values + 1;
    struct compaction p = {.graph = graph,
                           .num_nodes = graph->num_nodes,
                           .together = make_index(graph, graph->num_forward, false),
                           .readers = make_index(graph, graph->num_values, true),
                           .leaves = dg_arena_alloc(arena, values),
                           .begin = dg_arena_alloc(arena, 3 * (size_t)graph->num_applications * sizeof(uint32_t)),
                           .before = dg_arena_alloc(arena, nodes * sizeof(uint32_t)),
                           .forward = dg_arena_alloc(arena, nodes * sizeof(uint32_t)),
                           .member = dg_arena_alloc(arena, nodes * sizeof(uint32_t)),
                           .packed = dg_arena_alloc(arena, values * sizeof(uint32_t)),
                           .list = dg_arena_alloc(arena, nodes * sizeof(uint32_t)),
                           .found = dg_arena_alloc(arena, nodes * sizeof(uint32_t))};
    for (int k = 0; k < c->num_keep; k++) p.leaves[c->keep[k]] = true;
    for (uint32_t n = graph->num_nodes; n-- > 0;) p.begin[place(&graph->node[n])] = n;
    return p;
}

/* --- one branch --- */

/* Adds a forward node, its backward and its recomputation to the members. */
static void add_members(struct compaction *p, const struct dg_graph_node *node)
{
    for (uint32_t t = p->together.start[node->forward_of]; t < p->together.start[node->forward_of + 1]; t++) {
        uint32_t m = p->together.list[t];
        if (p->member[m] != p->branch) p->list[p->count++] = m;
        p->member[m] = p->branch;
    }
}

static void add_forward(struct compaction *p, uint32_t n)
{
    if (p->forward[n] == p->branch) return;
    p->forward[n] = p->branch;
    p->found[p->num_found++] = n;
}

/* From the sum's packed inputs back to where all images are: the forward nodes of the branch, and what goes with them. False: it
 * begins nowhere. */
static bool find_members(struct compaction *p)
{
    const struct dg_graph *graph = p->graph;
    add_forward(p, p->sum);
    for (uint32_t f = 0; f < p->num_found; f++) {
        const struct dg_graph_node *node = &graph->node[p->found[f]];
        add_members(p, node);
        for (int i = 0; i < node->num_inputs; i++) {
            if (!compact_input(graph, node, i)) continue;
            const struct dg_graph_value *value = &graph->value[node->input[i]];
            uint32_t maker = value->producer;
            if (maker == DG_PLAN_NONE || !compact_output(&graph->node[maker], (int)value->output)) return false;
            add_forward(p, maker);
        }
    }
    return true;
}

/* Can the node be run on the surviving images of the branch? */
static bool fits(const struct compaction *p, const struct dg_graph_node *node)
{
    const struct dg_graph *graph = p->graph;
    const struct dg_graph_node *sum = &graph->node[p->sum];
    if (node->role == DG_ROLE_COMMIT || dg_op_row_map(node->op) < 0 || dg_node_row_map(node) != DG_NO_VALUE)
        return false;
    if (node->input[DG_DATA] == DG_NO_VALUE) return false;
    return graph->value[node->input[DG_DATA]].desc.dim[0] == graph->value[sum->output[DG_RESULT]].desc.dim[0] &&
           node->application == sum->application && node->phase == sum->phase;
}

/* Does nothing outside of the branch read the packed value? */
static bool stays_inside(const struct compaction *p, dg_value v)
{
    for (uint32_t r = p->readers.start[v]; r < p->readers.start[v + 1]; r++)
        if (p->member[p->readers.list[r]] != p->branch) return false;
    return !p->leaves[v];
}

/* Does every member find its packed inputs packed, and nothing else read these? */
static bool is_closed(struct compaction *p)
{
    const struct dg_graph *graph = p->graph;
    for (uint32_t m = 0; m < p->count; m++) {
        const struct dg_graph_node *node = &graph->node[p->list[m]];
        if (!fits(p, node)) return false;
        for (int o = 0; o < node->num_outputs; o++)
            if (compact_output(node, o)) p->packed[node->output[o]] = p->branch;
    }
    for (uint32_t m = 0; m < p->count; m++) {
        const struct dg_graph_node *node = &graph->node[p->list[m]];
        for (int i = 0; i < node->num_inputs; i++) {
            dg_value v = node->input[i];
            if (v != DG_NO_VALUE && (p->packed[v] == p->branch) != compact_input(graph, node, i)) return false;
        }
        for (int o = 0; o < node->num_outputs; o++)
            if (compact_output(node, o) && !stays_inside(p, node->output[o])) return false;
    }
    return true;
}

static void set_row_map(struct dg_graph *graph, struct dg_graph_node *node, dg_value rows)
{
    dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node->num_inputs + 1) * sizeof *input);
    memcpy(input, node->input, (size_t)node->num_inputs * sizeof *input);
    input[dg_op_row_map(node->op)] = rows;
    node->input = input;
}

/* Adds the node that draws which images survive, which all of the branch reads. It will stand where the application begins: the
 * sum in front of the branch can then also compute the norm that the branch begins with. */
static void compact(struct compaction *p)
{
    struct dg_graph *graph = p->graph;
    struct dg_graph_node sum = graph->node[p->sum]; /* a copy: the array moves */
    union dg_attr attr[] = {{.f = drop_rate(&sum)}, {.i = graph->value[sum.output[DG_RESULT]].desc.dim[0]}};
    struct dg_node_options options = {.train = true,
                                      .stream = sum.stream,
                                      .rows = sum.rows,
                                      .application = sum.application,
                                      .block = sum.block,
                                      .origin = sum.origin};
    options.origin.path = dg_arena_printf(graph->arena, "%s.rows", sum.origin.path);
    dg_value rows[DG_MAX_OUTPUTS];
    struct dg_error err; /* any number of images has room for itself */
    if (dg_graph_node(graph, &(struct dg_op_use){sum.op->draws_rows, attr, NULL, 0}, &options, rows, &err) != DG_OK)
        return;
    uint32_t added = graph->num_nodes - 1;
    graph->node[added].phase = sum.phase;
    p->before[added - p->num_nodes] = p->begin[place(&sum)];
    for (uint32_t m = 0; m < p->count; m++) set_row_map(graph, &graph->node[p->list[m]], rows[0]);
}

/* Puts the added nodes, which are at the end, where they belong. */
static void sort_in(struct compaction *p)
{
    struct dg_graph *graph = p->graph;
    uint32_t all = graph->num_nodes, to = 0;
    struct dg_graph_node *sorted = dg_arena_alloc(graph->arena, ((size_t)all + 1) * sizeof *sorted);
    for (uint32_t n = 0; n < p->num_nodes; n++) {
        if (p->begin[place(&graph->node[n])] == n)
            for (uint32_t a = p->num_nodes; a < all; a++)
                if (p->before[a - p->num_nodes] == n) sorted[to++] = graph->node[a];
        sorted[to++] = graph->node[n];
    }
    memcpy(graph->node, sorted, all * sizeof *sorted);
    for (uint32_t n = 0; n < all; n++)
        for (int o = 0; o < graph->node[n].num_outputs; o++) graph->value[graph->node[n].output[o]].producer = n;
}

bool dg_compact_rows(struct dg_pass_context *c)
{
    struct compaction p = begin(c);
    for (uint32_t n = 0; n < p.num_nodes; n++) {
        const struct dg_graph_node *node = &p.graph->node[n];
        if (!node->op->draws_rows || dg_node_row_map(node) != DG_NO_VALUE || node->role != DG_ROLE_FORWARD ||
            !(drop_rate(node) > 0))
            continue;
        p.branch++;
        p.sum = n;
        p.count = p.num_found = 0;
        if (find_members(&p) && is_closed(&p)) compact(&p);
    }
    sort_in(&p);
    return true;
}

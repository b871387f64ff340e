/* Drop path multiplies what a residual branch makes of some images by zero, and so their gradients. Where nobody else reads
 * these, they need not be made: the branch is run for the kept images, which stand one behind the other in its tensors. What an
 * op can do with such tensors it says itself (operands with DG_COMPACT); a branch is taken as a whole, from
 * the op that first leaves images out (a norm on the residual stream) to the sum, with all that belongs to it: its backward, and
 * what is made again. */
#include "compiler/passes/pass.h"

#include <string.h>

static bool compact_input(const struct dg_graph_node *node, int i)
{
    return dg_op_input_has(node->op, node->num_inputs, i, DG_COMPACT);
}

static bool compact_output(const struct dg_graph_node *node, int o) { return node->op->outputs[o].flags & DG_COMPACT; }

struct branch {
    struct dg_graph *graph;
    const dg_value *keep;
    int num_keep;
    uint32_t sum;  /* the node that adds it */
    bool *forward; /* nodes of it */
    bool *member;  /* and their backward and recomputation */
    bool *packed;  /* values that have the kept images only */
};

/* From node n's packed inputs back to where all images are. */
static bool walk_back(struct branch *b, uint32_t n)
{
    const struct dg_graph_node *node = &b->graph->node[n];
    for (int i = 0; i < node->num_inputs; i++) {
        if (!compact_input(node, i)) continue;
        const struct dg_graph_value *value = &b->graph->value[node->input[i]];
        uint32_t maker = value->producer;
        if (maker == DG_PLAN_NONE || !compact_output(&b->graph->node[maker], (int)value->output)) return false;
        if (b->forward[maker]) continue;
        b->forward[maker] = true;
        if (!walk_back(b, maker)) return false;
    }
    return true;
}

/* With the forward nodes go their backward and recomputation. */
static void add_companions(struct branch *b)
{
    const struct dg_graph *graph = b->graph;
    bool *of = dg_arena_alloc(graph->arena, (size_t)graph->num_forward + 1);
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        if (b->forward[n]) of[graph->node[n].forward_of] = true;
    for (uint32_t n = 0; n < graph->num_nodes; n++) b->member[n] = of[graph->node[n].forward_of];
}

/* Does every member find its packed inputs packed, and nobody else read these? */
static bool closed(struct branch *b)
{
    const struct dg_graph *graph = b->graph;
    int64_t images = graph->value[graph->node[b->sum].output[0]].desc.dim[0];
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (!b->member[n]) continue;
        if (node->kept || node->role == DG_ROLE_COMMIT || !dg_op_any_has(node->op, DG_COMPACT)) return false;
        if (node->input[0] == DG_NO_VALUE || graph->value[node->input[0]].desc.dim[0] != images) return false;
        if (node->application != graph->node[b->sum].application || node->phase != graph->node[b->sum].phase)
            return false;
        for (int o = 0; o < node->num_outputs; o++) b->packed[node->output[o]] = compact_output(node, o);
    }
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++) {
            dg_value v = graph->node[n].input[i];
            bool wants = b->member[n] && compact_input(&graph->node[n], i);
            if (v != DG_NO_VALUE && b->packed[v] != wants) return false;
        }
    for (int k = 0; k < b->num_keep; k++)
        if (b->packed[b->keep[k]]) return false;
    return true;
}

static bool find_branch(struct branch *b)
{
    struct dg_graph *graph = b->graph;
    b->forward = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    b->member = dg_arena_alloc(graph->arena, (size_t)graph->num_nodes + 1);
    b->packed = dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1);
    b->forward[b->sum] = true;
    if (!walk_back(b, b->sum)) return false;
    add_companions(b);
    return closed(b);
}

/* A value that says which images are kept, read by all of the branch. It is made where the application begins: the sum in front
 * of the branch can then make the norm that the branch begins with (compiler/passes/fuse_late.c). */
static bool skip(struct branch *b)
{
    struct dg_graph *graph = b->graph;
    struct dg_graph_node sum = graph->node[b->sum]; /* a copy: the array moves */
    union dg_attr attr[] = {{.f = sum.attr[0].f}, {.i = graph->value[sum.output[0]].desc.dim[0]}};
    struct dg_node_options options = {.train = true,
                                      .stream = sum.stream,
                                      .rows = sum.rows,
                                      .application = sum.application,
                                      .block = sum.block,
                                      .origin = sum.origin};
    options.origin.path = dg_arena_printf(graph->arena, "%s.kept", sum.origin.path);
    dg_value kept[DG_MAX_OUTPUTS];
    struct dg_error err; /* any number of images has room for itself */
    if (dg_graph_node(graph, sum.op->draws_rows, attr, NULL, 0, &options, kept, &err) != DG_OK) return false;
    uint32_t first = 0;
    while (graph->node[first].application != sum.application || graph->node[first].phase != sum.phase ||
           dg_op_draws_rows(graph->node[first].op))
        first++;
    struct dg_graph_node made = graph->node[graph->num_nodes - 1];
    made.phase = sum.phase;
    memmove(graph->node + first + 1, graph->node + first, (graph->num_nodes - 1 - first) * sizeof *graph->node);
    graph->node[first] = made;
    for (uint32_t n = first; n < graph->num_nodes; n++) {
        struct dg_graph_node *node = &graph->node[n];
        for (int o = 0; o < node->num_outputs; o++) graph->value[node->output[o]].producer = n;
        if (n == first || !b->member[n - 1]) continue;
        dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node->num_inputs + 1) * sizeof *input);
        memcpy(input, node->input, (size_t)node->num_inputs * sizeof *input);
        input[node->num_inputs++] = kept[0];
        node->input = input;
        node->kept = true;
    }
    return true;
}

bool dg_compact_rows(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (!node->op->draws_rows || node->kept || node->role != DG_ROLE_FORWARD || !(node->attr[0].f > 0)) continue;
        struct branch b = {.graph = graph, .keep = c->keep, .num_keep = c->num_keep, .sum = n};
        if (find_branch(&b) && skip(&b)) n++; /* skip() has inserted a node in front of it */
    }
    return true;
}

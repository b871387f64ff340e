/* A product packs its weights in each run (ops/dense/packed_weights.h). Weights that a step multiplies by more than once, for the
 * crops of each resolution or slice after slice, are packed by a node of their own before the first of these products, which all
 * read what it makes. Parameters stay what they are until the commit. */
#include "compiler/passes/pass.h"

/* The op that packs, and by weight what is known of it. */
struct packing {
    const struct dg_op *op;
    int64_t *uses;    /* products of a step that pack the weight */
    double *rows;     /* what they multiply it by, in all */
    dg_value *packed; /* DG_NO_VALUE: not made yet */
};
enum { MAX_PACKINGS = 4 }; /* ops that pack */

struct packings {
    struct dg_graph *graph;
    bool bf16;
    enum dg_math math;
    struct packing of[MAX_PACKINGS];
    int count;
};

/* Packing takes as long as the product with some dozen rows, 50 in f32 and 200 in bf16 on a CPU with AMX, and packed weights take
 * memory from their first product to the last. With more rows than these packing is a few percent of the product at most. */
static const double most_rows_f32 = 2048, most_rows_bf16 = 16384;

/* --- what is packed how often --- */

static struct packing *packing_of(struct packings *all, const struct dg_op *op)
{
    for (int k = 0; k < all->count; k++)
        if (all->of[k].op == op) return &all->of[k];
    if (all->count == MAX_PACKINGS) return NULL;
    struct dg_arena *arena = all->graph->arena;
    size_t values = (size_t)all->graph->num_values + 1;
    struct packing *one = &all->of[all->count++];
    *one = (struct packing){.op = op,
                            .uses = dg_arena_alloc(arena, values * sizeof *one->uses),
                            .rows = dg_arena_alloc(arena, values * sizeof *one->rows),
                            .packed = dg_arena_alloc(arena, values * sizeof *one->packed)};
    for (size_t v = 0; v < values; v++) one->packed[v] = DG_NO_VALUE;
    return one;
}

/* Where the node has a parameter that it packs: how; `call` receives the node's. NULL: it packs none. */
static struct packing *find_packing(struct packings *all, const struct dg_graph_node *node, struct dg_packing *use,
                                    dg_value *weight)
{
    if (!node->op->packing) return NULL;
    struct dg_op_call call = dg_graph_call(all->graph, node, NULL);
    call.bf16 = all->bf16;
    call.math = all->math;
    *use = node->op->packing(&call);
    *weight = node->input[dg_op_input_index(node->op, "weight")];
    use->rows *= dg_slices(&call);
    return use->op && all->graph->value[*weight].region == DG_REGION_PARAM ? packing_of(all, use->op) : NULL;
}

static void count_uses(struct packings *all)
{
    struct dg_packing use;
    dg_value weight;
    for (uint32_t n = 0; n < all->graph->num_nodes; n++) {
        const struct dg_graph_node *node = &all->graph->node[n];
        struct packing *one = find_packing(all, node, &use, &weight);
        if (!one) continue;
        one->uses[weight] += node->phase == DG_PHASE_LOOP ? all->graph->slices : 1;
        one->rows[weight] += (double)use.rows;
    }
}

static bool pays(const struct packings *all, const struct packing *one, dg_value weight)
{
    double most = all->bf16 ? most_rows_bf16 : most_rows_f32;
    return one->uses[weight] > 1 && one->rows[weight] <= most * (double)one->uses[weight];
}

/* --- the new nodes --- */

/* Appends the node that packs the weight for `user`, its first product; before the loop over slices if that is in it. */
static bool append_packing(struct dg_pass_context *c, struct packings *all, const struct packing *one, dg_value weight,
                           const struct dg_graph_node *user)
{
    struct dg_graph *graph = c->graph;
    struct dg_error err = {0};
    struct dg_node_options options = {.train = user->train,
                                      .role = user->role,
                                      .application = user->application,
                                      .block = user->block,
                                      .forward_of = user->role == DG_ROLE_FORWARD ? 0 : user->forward_of,
                                      .origin = user->origin};
    graph->phase = user->phase == DG_PHASE_LOOP ? DG_PHASE_BEFORE : user->phase;
    if (dg_graph_node(graph, &(struct dg_op_use){one->op, NULL, &weight, 1}, &options, &one->packed[weight], &err) !=
        DG_OK) {
        dg_diag_error(c->diag, &user->origin, "%s", err.text);
        return false;
    }
    if (all->bf16) graph->value[one->packed[weight]].desc.dtype = DG_BF16;
    return true;
}

bool dg_pack_weights(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    struct packings all = {.graph = graph, .bf16 = c->bf16, .math = c->math};
    uint32_t num_nodes = graph->num_nodes;
    const struct dg_graph_node *before = graph->node;
    if (c->constant_params || c->recompute.packing) return true; /* a session packs such weights once */
    count_uses(&all);
    graph->num_nodes = 0;
    graph->node_capacity = (size_t)num_nodes * 5 / 4;
    graph->node = dg_arena_alloc(graph->arena, (graph->node_capacity + 1) * sizeof *graph->node);
    for (uint32_t n = 0; n < num_nodes; n++) {
        struct dg_graph_node node = before[n];
        struct dg_packing use;
        dg_value weight;
        struct packing *one = find_packing(&all, &node, &use, &weight);
        if (one && pays(&all, one, weight)) {
            if (one->packed[weight] == DG_NO_VALUE && !append_packing(c, &all, one, weight, &node)) return false;
            dg_value *input = dg_arena_alloc(graph->arena, ((size_t)node.num_inputs + 1) * sizeof *input);
            for (int i = 0; i < node.num_inputs; i++) input[i] = node.input[i];
            input[dg_op_input_index(node.op, "packed")] = one->packed[weight];
            node.input = input;
        }
        dg_graph_append(graph, &node);
    }
    dg_graph_sort_phases(graph);
    return true;
}

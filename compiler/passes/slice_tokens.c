/* DINO's network ends in one token, the class token, and the other tokens of its last block are read by nothing. If only one token
 * of a value is read, and its op computes each token from the same token of its inputs, the token is sliced from the inputs
 * instead. Attention still reads all tokens, for that one query (ops/fused/class_attention.c).
 *
 * What an op does with tokens is its own knowledge (struct dg_op, reach and token_attr); here is only who reads what. */
#include "compiler/passes/pass.h"

#include <string.h>

enum { UNREAD = -2, SEVERAL = -1 }; /* or the one token that is read */

struct taking {
    struct dg_graph *graph;
    const struct dg_op *take; /* the op that takes a token, as it was met */
    int64_t *read;            /* by value: what is read of it */
    bool *sliced;             /* by value: its node computes that token alone */
    dg_value *taken;          /* by value: a token of it, once that is made; DG_NO_VALUE */
    int64_t *token;           /* by value: which */
    int64_t *wanted;          /* by value: the token of it that a node for one token reads; UNREAD */
};

static void note(struct taking *t, dg_value v, int64_t token)
{
    if (v == DG_NO_VALUE) return;
    t->read[v] = t->read[v] == UNREAD || t->read[v] == token ? token : SEVERAL;
}

static bool has_tokens(const struct dg_graph *graph, dg_value v)
{
    return v != DG_NO_VALUE && graph->value[v].region == DG_REGION_STEP && graph->value[v].desc.ndim == 3;
}

/* Is each row of its result computed from the same row of this input? */
static bool rows_of(const struct dg_graph *graph, const struct dg_graph_node *node, int i)
{
    return node->op->reach == DG_REACH_ROW && !node->op->token_attr && has_tokens(graph, node->input[i]);
}

/* Can the node compute one token's row of its result from that row of its inputs, and from what all rows share? */
static bool works_on_one(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    if (node->op->reach != DG_REACH_ROW || node->op->token_attr) return false;
    int64_t tokens = graph->value[node->output[DG_RESULT]].desc.dim[1];
    for (int i = 0; i < node->num_inputs; i++) {
        if (node->input[i] == DG_NO_VALUE || dg_op_input_has(node->op, node->num_inputs, i, DG_PARAM)) continue;
        const struct dg_desc *desc = &graph->value[node->input[i]].desc;
        if (has_tokens(graph, node->input[i]) ? desc->dim[1] != tokens : dg_desc_rows(desc) > 1) return false;
    }
    return true;
}

/* Does it take one token out of all? */
static bool takes_token(const struct dg_op *op) { return op->reach == DG_REACH_ROW && op->token_attr; }

/* Can it compute one token's result of all tokens? */
static bool has_query(const struct dg_op *op) { return op->reach == DG_REACH_IMAGE && op->token_attr; }

static int token_attr(const struct dg_op *op) { return dg_op_attr(op, op->token_attr); }

/* Called from the last node to the first: notes what the node reads of its inputs. Returns false if nothing reads the node. */
static bool look_at(struct taking *t, const struct dg_graph_node *node)
{
    bool read = node->role == DG_ROLE_COMMIT || (node->op->commit && node->train), others = false;
    for (int o = 0; o < node->num_outputs; o++) {
        read |= t->read[node->output[o]] != UNREAD;
        others |= o && t->read[node->output[o]] != UNREAD;
    }
    if (!read) return false;
    int64_t token = t->read[node->output[DG_RESULT]];
    bool alone = token >= 0 && !others && has_tokens(t->graph, node->output[DG_RESULT]) &&
                 (has_query(node->op) || works_on_one(t->graph, node));
    t->sliced[node->output[DG_RESULT]] = alone;
    if (takes_token(node->op)) t->take = node->op;
    for (int i = 0; i < node->num_inputs; i++) {
        bool row = alone && rows_of(t->graph, node, i);
        if (takes_token(node->op))
            note(t, node->input[i], node->attr[token_attr(node->op)].i);
        else
            note(t, node->input[i], row ? token : SEVERAL);
        if (row) t->wanted[node->input[i]] = token;
    }
    return true;
}

/* Adds a node with that op, attributes, inputs and place; its first output. DG_NO_VALUE with err. */
static dg_value add_node(struct taking *t, const struct dg_graph_node *node, struct dg_error *err)
{
    const struct dg_op_use use = {node->op, node->attr, node->input, node->num_inputs};
    struct dg_node_options options = {.train = node->train,
                                      .stream = node->stream,
                                      .rows = node->rows,
                                      .application = node->application,
                                      .block = node->block,
                                      .origin = node->origin};
    dg_value output[DG_MAX_OUTPUTS];
    return dg_graph_node(t->graph, &use, &options, output, err) == DG_OK ? output[DG_RESULT] : DG_NO_VALUE;
}

/* The one token of v that is read, for a node like `like`. */
static dg_value token_of(struct taking *t, const struct dg_graph_node *like, dg_value v, int64_t token,
                         struct dg_error *err)
{
    if (t->taken[v] == DG_NO_VALUE || t->token[v] != token) {
        struct dg_graph_node node = *like; /* a token taken between two blocks is a block of its own */
        if (node.block != DG_NO_BLOCK) node.block = ++t->graph->application[like->application].num_blocks;
        node.op = t->take;
        node.attr[token_attr(t->take)].i = token;
        node.input = &v;
        node.num_inputs = 1;
        node.origin.path = dg_arena_printf(t->graph->arena, "token:%s", t->graph->value[v].name);
        t->taken[v] = add_node(t, &node, err);
        t->token[v] = token;
    }
    return t->taken[v];
}

/* Adds the node for one token alone. */
static dg_value slice(struct taking *t, const struct dg_graph_node *node, struct dg_error *err)
{
    int64_t token = t->read[node->output[DG_RESULT]];
    struct dg_graph_node sliced = *node;
    dg_value *input = dg_arena_alloc(t->graph->arena, ((size_t)node->num_inputs + 1) * sizeof *input);
    for (int i = 0; i < node->num_inputs; i++) {
        input[i] = rows_of(t->graph, node, i) ? token_of(t, node, node->input[i], token, err) : node->input[i];
        if (input[i] == DG_NO_VALUE && node->input[i] != DG_NO_VALUE) return DG_NO_VALUE;
    }
    sliced.input = input;
    if (has_query(node->op)) sliced.attr[token_attr(node->op)].i = token;
    return add_node(t, &sliced, err);
}

/* Appends the node as it was, with inputs that have become others replaced. A token that is read of its result is sliced right
 * behind it, so that nodes which read that token may follow. */
static bool restore(struct taking *t, struct dg_graph_node node, const dg_value *now, struct dg_error *err)
{
    dg_value *input = dg_arena_alloc(t->graph->arena, ((size_t)node.num_inputs + 1) * sizeof *input),
             v = node.output[DG_RESULT];
    for (int i = 0; i < node.num_inputs; i++)
        input[i] = node.input[i] == DG_NO_VALUE ? DG_NO_VALUE : now[node.input[i]];
    node.input = input;
    dg_graph_append(t->graph, &node);
    return t->wanted[v] == UNREAD || token_of(t, &node, v, t->wanted[v], err) != DG_NO_VALUE;
}

/* A node that could not be made for one token. */
static bool failed(struct dg_diagnostics *diag, const struct dg_graph_node *node, const struct dg_error *err)
{
    dg_diag_error(diag, &node->origin, "internal: one token of node %s: %s; please report this", node->origin.path,
                  err->text);
    return false;
}

bool dg_slice_tokens(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    struct dg_error err = {0};
    uint32_t num_nodes = graph->num_nodes, num_values = graph->num_values;
    size_t room = (size_t)num_values + 1;
    struct taking t = {.graph = graph,
                       .read = dg_arena_alloc(graph->arena, room * sizeof *t.read),
                       .sliced = dg_arena_alloc(graph->arena, room * sizeof *t.sliced),
                       .taken = dg_arena_alloc(graph->arena, room * sizeof *t.taken),
                       .token = dg_arena_alloc(graph->arena, room * sizeof *t.token),
                       .wanted = dg_arena_alloc(graph->arena, room * sizeof *t.wanted)};
    dg_value *now = dg_arena_alloc(graph->arena, room * sizeof *now);
    for (dg_value v = 0; v < num_values; v++) {
        t.read[v] = t.wanted[v] = UNREAD;
        t.taken[v] = DG_NO_VALUE;
        now[v] = v;
    }
    struct dg_graph_node *node = dg_arena_alloc(graph->arena, ((size_t)num_nodes + 1) * sizeof *node);
    if (num_nodes) memcpy(node, graph->node, num_nodes * sizeof *node);
    bool *read = dg_arena_alloc(graph->arena, (size_t)num_nodes + 1);
    for (int k = 0; k < c->num_keep; k++) note(&t, c->keep[k], SEVERAL);
    for (uint32_t n = num_nodes; n-- > c->first;) read[n] = look_at(&t, &node[n]);
    graph->num_nodes = c->first;
    for (uint32_t n = c->first; n < num_nodes; n++) {
        dg_value made = node[n].output[DG_RESULT];
        for (int o = 0; o < node[n].num_outputs; o++) graph->value[node[n].output[o]].producer = DG_PLAN_NONE;
        if (!read[n]) continue;
        if (t.sliced[made]) {
            t.taken[made] = slice(&t, &node[n], &err);
            t.token[made] = t.read[made];
            if (t.taken[made] == DG_NO_VALUE) return failed(c->diag, &node[n], &err);
        } else if (takes_token(node[n].op) && t.sliced[node[n].input[DG_DATA]]) {
            now[made] = t.taken[node[n].input[DG_DATA]];
        } else if (!restore(&t, node[n], now, &err)) {
            return failed(c->diag, &node[n], &err);
        }
    }
    for (int k = 0; k < c->num_keep; k++) c->keep[k] = now[c->keep[k]];
    return true;
}

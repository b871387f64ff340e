/* Chooses which values of a bf16 plan are stored as bf16. A value is, if its op can make bf16, all ops that read it can read bf16,
 * and it does not leave the graph. A transformer's residual stream, statistics, parameters, their gradients and the loss stay f32
 * because an op that makes or reads them says so, not because of their names. */
#include "compiler/passes/pass.h"

static bool may_read(const struct dg_graph_node *node, int i)
{
    return dg_op_input_has(node->op, node->num_inputs, i, DG_BF16_OK);
}
static bool may_make(const struct dg_graph_node *node, int o) { return node->op->outputs[o].flags & DG_BF16_OK; }

/* A view is what its input is, and some ops want all their values alike: where one cannot be bf16, none can. True: something
 * changed. */
static bool agree(const struct dg_graph_node *node, bool *bf16)
{
    const struct dg_op *op = node->op;
    dg_value one[DG_MAX_OUTPUTS + 64];
    int count = 0;
    bool views = false;
    for (int o = 0; o < node->num_outputs; o++) views |= dg_is_view(&op->outputs[o]);
    if (!op->bf16_alike && !views) return false;
    for (int o = 0; o < node->num_outputs; o++)
        if (may_make(node, o) && (op->bf16_alike || dg_is_view(&op->outputs[o]))) one[count++] = node->output[o];
    for (int i = 0; i < node->num_inputs; i++) {
        bool seen = op->bf16_alike;
        for (int o = 0; o < node->num_outputs; o++)
            seen |= dg_is_view(&op->outputs[o]) && dg_reused_input(&op->outputs[o]) == i;
        if (may_read(node, i) && seen && node->input[i] != DG_NO_VALUE) one[count++] = node->input[i];
    }
    bool all = true, any = false;
    for (int k = 0; k < count; k++) {
        all &= bf16[one[k]];
        any |= bf16[one[k]];
    }
    for (int k = 0; k < count; k++) bf16[one[k]] = all;
    return any && !all;
}

bool dg_assign_bf16(struct dg_pass_context *c)
{
    struct dg_graph *graph = c->graph;
    bool *bf16 = dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1);
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int o = 0; o < graph->node[n].num_outputs; o++) {
            dg_value v = graph->node[n].output[o];
            bf16[v] = graph->value[v].desc.dtype == DG_F32 && may_make(&graph->node[n], o);
        }
    for (int k = 0; k < c->num_keep; k++) bf16[c->keep[k]] = false;
    for (uint32_t n = 0; n < graph->num_nodes; n++)
        for (int i = 0; i < graph->node[n].num_inputs; i++) {
            dg_value v = graph->node[n].input[i];
            if (v != DG_NO_VALUE && !may_read(&graph->node[n], i)) bf16[v] = false;
        }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t n = graph->num_nodes; n-- > 0;) changed |= agree(&graph->node[n], bf16);
    }
    for (uint32_t v = 0; v < graph->num_values; v++)
        if (bf16[v]) graph->value[v].desc.dtype = DG_BF16;
    return true;
}

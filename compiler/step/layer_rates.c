/* Layer-wise decay of the learning rate. Layers of the student's backbone: what comes before its first repeated block is layer 0, each
 * block is one more, and what follows the blocks is the last, whose rate is the recipe's, as is the head's. */
#include "compiler/step/builder.h"

extern const struct dg_op dg_op_layer_rate;

enum { BEHIND = -1 }; /* the last layer, while it is not known how many blocks there are */

/* By value: the first node that reads it. */
static uint32_t *index_readers(struct dg_graph *graph)
{
    uint32_t *reader = dg_arena_alloc(graph->arena, ((size_t)graph->num_values + 1) * sizeof *reader);
    for (uint32_t v = 0; v < graph->num_values; v++) reader[v] = UINT32_MAX;
    for (uint32_t n = graph->num_nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].num_inputs; i++)
            if (graph->node[n].input[i] != DG_NO_VALUE) reader[graph->node[n].input[i]] = n;
    return reader;
}

/* The layer's rate; a node for each layer that has a parameter. DG_NO_VALUE: reported. */
static dg_value add_rate(struct dg_step_builder *b, int power)
{
    const char *path = dg_arena_printf(b->graph->arena, "lr %d from the end", power);
    struct dg_node_options options = dg_builder_options(b, path, "check", DG_ROLE_FORWARD);
    dg_value output[DG_MAX_OUTPUTS],
        input[] = {dg_graph_control(b->graph, "lr"), dg_graph_control(b->graph, "optim.layer_decay")};
    if (!dg_builder_add(b, &dg_op_layer_rate, (union dg_attr[]){{.i = power}}, input, 2, &options, output))
        return DG_NO_VALUE;
    return output[DG_RESULT];
}

bool dg_build_layer_rates(struct dg_step_builder *b, dg_value *rate)
{
    struct dg_instance *backbone = b->network[DG_STUDENT].backbone;
    struct dg_graph *graph = b->graph;
    int count = dg_instance_num_params(backbone), layers = 0;
    uint32_t *reader = index_readers(graph), block = DG_NO_BLOCK;
    int *layer = dg_arena_alloc(graph->arena, ((size_t)count + 1) * sizeof *layer);
    for (int i = 0; i < count; i++) {
        uint32_t n = reader[dg_instance_param(backbone, i)], in = n == UINT32_MAX ? DG_NO_BLOCK : graph->node[n].block;
        layers += in != DG_NO_BLOCK && in != block;
        if (in != DG_NO_BLOCK) block = in;
        bool behind = in == DG_NO_BLOCK && layers;
        layer[i] = behind ? BEHIND : layers;
    }
    dg_value *of_power = dg_arena_alloc(graph->arena, ((size_t)layers + 2) * sizeof *of_power);
    for (int p = 0; p < layers + 2; p++) of_power[p] = DG_NO_VALUE;
    for (int i = 0; i < count; i++) {
        int power = layer[i] == BEHIND ? 0 : layers + 1 - layer[i];
        if (of_power[power] == DG_NO_VALUE) of_power[power] = add_rate(b, power);
        if (of_power[power] == DG_NO_VALUE) return false;
        rate[i] = of_power[power];
    }
    return true;
}

#include "compiler/graph/identity.h"

#include <string.h>

static uint64_t add_text(uint64_t hash, const char *text) { return dg_fnv1a(hash, text, strlen(text) + 1); }

static uint64_t add_attributes(uint64_t hash, const struct dg_graph_node *node, bool train)
{
    const struct dg_attr_spec *spec = node->op->attrs;
    for (int a = 0; spec && spec[a].name; a++) {
        /* A parameter that an attribute names is an input. */
        if (spec[a].internal || spec[a].type == DG_ATTR_PARAM || (spec[a].training && !train)) continue;
        hash = add_text(hash, spec[a].name);
        if (spec[a].type == DG_ATTR_FLOAT)
            hash = dg_fnv1a(hash, &node->attr[a].f, sizeof node->attr[a].f);
        else
            hash = dg_fnv1a(hash, &node->attr[a].i, sizeof node->attr[a].i);
    }
    return hash;
}

uint64_t dg_graph_identity(const struct dg_graph *graph, dg_value output, bool train)
{
    uint64_t *of = dg_arena_alloc(graph->arena, (graph->num_values + 1) * sizeof *of);
    for (uint32_t v = 0; v < graph->num_values; v++) /* of those that no node makes */
        of[v] = add_text(DG_FNV_BASIS, graph->value[v].region == DG_REGION_PARAM ? graph->value[v].name : "input");
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        uint64_t hash = add_attributes(add_text(DG_FNV_BASIS, node->op->name), node, train);
        for (int i = 0; i < node->num_inputs; i++) {
            uint64_t input = node->input[i] == DG_NO_VALUE ? 0 : of[node->input[i]];
            hash = dg_fnv1a(hash, &input, sizeof input);
        }
        for (int o = 0; o < node->num_outputs; o++)
            if (node->output[o] != DG_NO_VALUE) of[node->output[o]] = dg_fnv1a(hash, &o, sizeof o);
    }
    return of[output];
}

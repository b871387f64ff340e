/* dinoc --explain: the shapes, parameters, bytes and origin of a node, or of all nodes below a path. */
#include "compiler/graph/cost.h"
#include "compiler/graph/dump.h"
#include "compiler/report/report.h"
#include "runtime/plan/view.h"

static void value_line(struct dg_text *text, const struct dg_graph *graph, const char *role, dg_value v)
{
    if (v == DG_NO_VALUE) return;
    const struct dg_graph_value *value = &graph->value[v];
    char desc[96], bytes[32];
    dg_text_add(text, "    %-7s %-44s %-26s %s\n", role, dg_value_title(graph, v),
                dg_desc_text(desc, sizeof desc, &value->desc),
                dg_format_bytes(bytes, sizeof bytes, (double)dg_desc_bytes(&value->desc)));
}

static const char *node_path(const void *context, int index)
{
    const struct dg_graph *graph = context;
    return graph->node[index].origin.path;
}

bool dg_explain(struct dg_text *text, const struct dg_entry *entry, int num_entries, const char *node)
{
    bool found = false;
    for (int e = 0; e < num_entries; e++) {
        struct dg_graph *graph = entry[e].graph;
        double all_flops = 0;
        int count = 0;
        for (uint32_t n = 0; n < graph->num_nodes; n++) {
            const struct dg_graph_node *g = &graph->node[n];
            if (!dg_node_is_below(graph, g, node)) continue;
            if (!count++) dg_text_add(text, "entry %s\n", dg_entry_name(entry[e].role));
            dg_text_add(text, "  %s: %s, in %s, from %s:%d:%d\n", dg_node_title(graph, g), g->op->name,
                        dg_node_label(graph, g), g->origin.file, g->origin.line, g->origin.column);
            for (int a = 0; a < dg_op_num_attrs(g->op); a++) {
                const struct dg_attr_spec *spec = &g->op->attrs[a];
                if (spec->type == DG_ATTR_FLOAT)
                    dg_text_add(text, "    %-7s %s = %g\n", "with", spec->name, g->attr[a].f);
                else if (spec->type != DG_ATTR_PARAM)
                    dg_text_add(text, "    %-7s %s = %lld\n", "with", spec->name, (long long)g->attr[a].i);
            }
            for (int i = 0; i < g->num_inputs; i++)
                value_line(text, graph,
                           g->input[i] != DG_NO_VALUE && graph->value[g->input[i]].region == DG_REGION_PARAM ? "param"
                                                                                                             : "in",
                           g->input[i]);
            for (int o = 0; o < g->num_outputs; o++) value_line(text, graph, "out", g->output[o]);
            if (!g->op->cost) continue;
            struct dg_op_call call = dg_graph_call(graph, g, NULL);
            double flops = dg_graph_cost(graph, g).flops;
            dg_text_add(text, "    %-7s %.3f GFLOP%s%s\n", "work", flops / 1e9,
                        call.slices > 1 ? dg_arena_printf(text->arena, " in %lld slices", (long long)call.slices) : "",
                        dg_node_row_map(g) != DG_NO_VALUE ? " on average, of the images that survive drop path" : "");
            all_flops += flops;
        }
        if (count > 1) dg_text_add(text, "  %d nodes, %.3f GFLOP\n", count, all_flops / 1e9);
        found |= count > 0;
    }
    if (!found && num_entries) {
        const char *near = dg_nearest_name(node, node_path, entry[0].graph, (int)entry[0].graph->num_nodes);
        if (near) dg_text_add(text, "%s", near);
    }
    return found;
}

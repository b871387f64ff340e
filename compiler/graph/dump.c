#include "compiler/graph/dump.h"

#include <string.h>

static bool is_below(const char *name, const char *path)
{
    size_t length = strlen(path);
    return !strncmp(name, path, length) && (!name[length] || name[length] == '.');
}

bool dg_node_is_below(const struct dg_graph *graph, const struct dg_graph_node *node, const char *path)
{
    bool below = node->origin.path && is_below(node->origin.path, path);
    for (int o = 0; o < node->num_outputs; o++) below |= is_below(graph->value[node->output[o]].name, path);
    return below;
}

static void add_outputs(struct dg_text *text, const struct dg_graph *graph, const struct dg_graph_node *node,
                        const uint32_t *reads)
{
    for (int o = 0; o < node->num_outputs; o++) {
        dg_value v = node->output[o];
        char desc[96];
        dg_text_add(text, "%s", o ? ", " : "");
        if (!reads[v] && dg_is_optional_output(&node->op->outputs[o]))
            dg_text_add(text, "-");
        else
            dg_text_add(text, "%%%u %s", v, dg_desc_text(desc, sizeof desc, &graph->value[v].desc));
    }
    if (node->num_outputs) dg_text_add(text, " = ");
}

static void add_inputs(struct dg_text *text, const struct dg_graph *graph, const struct dg_graph_node *node)
{
    dg_text_add(text, "%s(", node->op->name);
    int count = node->num_inputs;
    while (count && node->input[count - 1] == DG_NO_VALUE) count--;
    for (int i = 0; i < count; i++) {
        dg_value v = node->input[i];
        dg_text_add(text, "%s", i ? ", " : "");
        if (v == DG_NO_VALUE)
            dg_text_add(text, "-");
        else if (graph->value[v].region == DG_REGION_STEP)
            dg_text_add(text, "%%%u", v);
        else
            dg_text_add(text, "%s", graph->value[v].name);
    }
    dg_text_add(text, ")");
}

static void add_attributes(struct dg_text *text, const struct dg_graph_node *node)
{
    for (int a = 0; a < dg_op_num_attrs(node->op); a++) {
        const struct dg_attr_spec *spec = &node->op->attrs[a];
        if (spec->type == DG_ATTR_FLOAT)
            dg_text_add(text, " %s=%g", spec->name, node->attr[a].f);
        else if (spec->type != DG_ATTR_PARAM)
            dg_text_add(text, " %s=%lld", spec->name, (long long)node->attr[a].i);
    }
}

/* "student.backbone(global), backward, for each slice" */
static const char *section(const struct dg_graph *graph, const struct dg_graph_node *node)
{
    return dg_arena_printf(graph->arena, "%s%s%s", dg_node_label(graph, node),
                           node->role == DG_ROLE_RECOMPUTED ? ", recomputed"
                           : node->role == DG_ROLE_BACKWARD ? ", backward"
                                                            : "",
                           node->phase == DG_PHASE_LOOP ? ", for each slice" : "");
}

void dg_graph_dump(struct dg_text *text, struct dg_graph *graph, uint32_t first, const dg_value *keep, int num_keep,
                   const char *path)
{
    const uint32_t *reads = dg_graph_reads(graph, keep, num_keep);
    const char *last = "";
    bool any = false;
    for (uint32_t n = first; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (path && !dg_node_is_below(graph, node, path)) continue;
        const char *now = section(graph, node);
        if (strcmp(now, last)) dg_text_add(text, "  %s\n", now);
        last = now;
        any = true;
        dg_text_add(text, "    ");
        add_outputs(text, graph, node, reads);
        add_inputs(text, graph, node);
        add_attributes(text, node);
        dg_text_add(text, " | %s\n", dg_node_title(graph, node));
    }
    if (path && !any) dg_text_add(text, "  (no node is at %s or below it)\n", path);
}

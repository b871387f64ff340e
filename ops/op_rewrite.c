#include "ops/op_rewrite.h"

#include <string.h>

union dg_attr dg_attr_of(const struct dg_match_node *node, const char *name)
{
    int a = dg_op_attr(node->op, name);
    return a < 0 ? (union dg_attr){0} : node->attr[a];
}

dg_value dg_input_of(const struct dg_match_node *node, const char *name)
{
    int i = dg_op_input_index(node->op, name);
    return i < 0 || i >= node->num_inputs ? DG_NO_VALUE : node->input[i];
}

dg_value dg_output_of(const struct dg_match_node *node, const char *name)
{
    int o = dg_op_output_index(node->op, name);
    return o < 0 ? DG_NO_VALUE : node->output[o];
}

bool dg_is_wanted(const struct dg_match_node *node, const char *output)
{
    int o = dg_op_output_index(node->op, output);
    return o >= 0 && node->wanted[o];
}

void dg_set_attr(struct dg_new_node *made, const char *name, union dg_attr value)
{
    int a = dg_op_attr(made->op, name);
    if (a >= 0) made->attr[a] = value;
}

void dg_set_input(struct dg_new_node *made, const char *name, dg_value value)
{
    int i = dg_op_input_index(made->op, name);
    if (i >= 0) made->input[i] = value;
}

void dg_set_output(struct dg_new_node *made, const char *name, dg_value value)
{
    int o = dg_op_output_index(made->op, name);
    if (o >= 0) made->output[o] = value;
}

void dg_copy_match(struct dg_new_node *made, const struct dg_match_node *node)
{
    made->op = node->op;
    memcpy(made->attr, node->attr, (size_t)dg_op_num_attrs(node->op) * sizeof *made->attr);
    memcpy(made->input, node->input, (size_t)node->num_inputs * sizeof *made->input);
    memcpy(made->output, node->output, (size_t)dg_op_num_outputs(node->op) * sizeof *made->output);
}

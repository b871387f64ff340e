#include "compiler/step/builder.h"

bool dg_builder_add(struct dg_step_builder *b, const struct dg_op *op, const union dg_attr *attr, const dg_value *input,
                    int num_inputs, const struct dg_node_options *options, dg_value *output)
{
    struct dg_error err = {0};
    const struct dg_train_recipe *recipe = b->recipe;
    if (dg_graph_node(b->graph, &(struct dg_op_use){op, attr, input, num_inputs}, options, output, &err) == DG_OK)
        return true;
    dg_diag_error(b->from->diag, &recipe->model.origin, "%s of recipe %s: %s", options->origin.path, recipe->model.name,
                  err.text);
    return false;
}

struct dg_node_options dg_builder_options(const struct dg_step_builder *b, const char *path, const char *label,
                                          enum dg_node_role role)
{
    struct dg_node_options options = {.train = true,
                                      .role = role,
                                      .application = dg_graph_trainer(b->graph, label),
                                      .origin = b->recipe->model.origin};
    options.origin.path = path;
    options.rows.batch = (int)b->images;
    return options;
}

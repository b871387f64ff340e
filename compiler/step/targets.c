/* The ops between the networks of a training step: what the teacher's logits become, and what the student's cost beside that. The
 * published choice is dino_target and dino_loss, which fuse with the prototype layers (ops/fused/prototypes.c); what a recipe may
 * choose in their place is in ops/loss/targets.c and ops/loss/view_loss.c. */
#include "compiler/step/builder.h"

extern const struct dg_op dg_op_add_mean, dg_op_dino_loss, dg_op_dino_target, dg_op_gather_images, dg_op_hard_target,
    dg_op_sinkhorn_target, dg_op_unit_target, dg_op_view_loss;

enum { SINKHORN_ITERATIONS = 3 }; /* Caron et al. 2020 */

/* The mean of `part` over the slices; `part` itself, where the batch is not cut. */
static bool mean_of_slices(struct dg_step_builder *b, dg_value like, dg_value *part)
{
    struct dg_graph *graph = b->graph;
    if (b->choice.slices < 2) return true;
    const char *name = dg_arena_printf(graph->arena, "mean of %s", graph->value[*part].name);
    struct dg_node_options options = dg_builder_options(b, name, "loss", DG_ROLE_FORWARD);
    dg_value output[DG_MAX_OUTPUTS], input[] = {dg_sum_over_slices(graph, like, name), *part};
    if (!dg_builder_add(b, &dg_op_add_mean, NULL, input, 2, &options, output)) return false;
    *part = output[DG_RESULT];
    return true;
}

/* A copy of the last node, since the array moves: it sees all images at once. */
static void note_uncut(struct dg_step_builder *b, struct dg_train_step *step)
{
    if (step->uncut) return;
    struct dg_graph_node *copy = dg_arena_alloc(b->graph->arena, sizeof *copy);
    *copy = b->graph->node[b->graph->num_nodes - 1];
    step->uncut = copy;
    step->uncut_in = "loss";
}

/* InfoNCE chooses among the images of the batch: where processes share it, the target of all of them. */
static bool gather_target(struct dg_step_builder *b, dg_value *target)
{
    if (b->recipe->loss != DG_LOSS_INFONCE || b->graph->coupled < 2) return true;
    struct dg_node_options options = dg_builder_options(b, "target of all", "loss", DG_ROLE_FORWARD);
    union dg_attr views = {.i = b->recipe->global.count};
    dg_value output[DG_MAX_OUTPUTS];
    if (!dg_builder_add(b, &dg_op_gather_images, &views, target, 1, &options, output)) return false;
    *target = output[DG_RESULT];
    return true;
}

static const struct dg_op *target_op(const struct dg_train_recipe *recipe)
{
    if (recipe->loss != DG_LOSS_CROSS_ENTROPY) return &dg_op_unit_target;
    if (recipe->targets != DG_TARGETS_CENTER) return &dg_op_sinkhorn_target;
    return recipe->hard ? &dg_op_hard_target : &dg_op_dino_target;
}

bool dg_build_targets(struct dg_step_builder *b, dg_value logits, struct dg_step_targets *targets,
                      struct dg_train_step *step)
{
    struct dg_graph *graph = b->graph;
    const struct dg_train_recipe *recipe = b->recipe;
    const struct dg_op *op = target_op(recipe);
    struct dg_desc center_desc = dg_desc_make(DG_F32, 2, (int64_t[]){1, graph->value[logits].desc.dim[1]});
    struct dg_init zero = {.kind = DG_INIT_CONSTANT};
    targets->center =
        dg_graph_param(graph, "center", &center_desc, DG_REGION_PARAM, DG_TENSOR_BUFFER, &zero, recipe->model.origin);
    dg_value made[DG_MAX_OUTPUTS], input[3] = {logits};
    int inputs = 1, mean = dg_op_output_index(op, "batch_mean");
    struct dg_node_options options = dg_builder_options(b, "target", "loss", DG_ROLE_FORWARD);
    bool sharpens = dg_op_input_index(op, "teacher_temp") >= 0;
    targets->scalar = dg_graph_control(graph, sharpens ? "loss.teacher_temp" : "loss.center_momentum");
    if (dg_op_input_index(op, "center") >= 0) input[inputs++] = targets->center;
    if (sharpens) input[inputs++] = targets->scalar;
    union dg_attr attr[] = {{.i = recipe->targets == DG_TARGETS_SINKHORN ? SINKHORN_ITERATIONS : 1},
                            {.i = recipe->global.count}};
    if (!dg_builder_add(b, op, dg_op_num_attrs(op) ? attr : NULL, input, inputs, &options, made)) return false;
    if (op == &dg_op_sinkhorn_target) note_uncut(b, step);
    targets->target = made[DG_RESULT];
    if (op == &dg_op_dino_target) targets->target = made[dg_op_output_index(op, "q")];
    if (!gather_target(b, &targets->target)) return false;
    targets->batch_mean = mean < 0 ? DG_NO_VALUE : made[mean];
    targets->entropy = made[dg_op_output_index(op, "entropy")];
    if (mean >= 0 && !mean_of_slices(b, targets->center, &targets->batch_mean)) return false;
    if (!mean_of_slices(b, targets->scalar, &targets->entropy)) return false;
    graph->value[targets->entropy].name = "teacher_entropy";
    return true;
}

bool dg_build_loss(struct dg_step_builder *b, const struct dg_node_options *options, dg_value logits, dg_value target,
                   dg_value *loss, struct dg_train_step *step)
{
    const struct dg_train_recipe *recipe = b->recipe;
    bool published = recipe->loss == DG_LOSS_CROSS_ENTROPY && recipe->global.count == 2;
    const struct dg_op *op = published ? &dg_op_dino_loss : &dg_op_view_loss;
    dg_value temperature = recipe->loss == DG_LOSS_MSE ? DG_NO_VALUE : dg_graph_control(b->graph, "loss.student_temp");
    dg_value output[DG_MAX_OUTPUTS], input[] = {logits, target, temperature, *loss};
    union dg_attr views = {.i = b->views};
    union dg_attr attr[] = {{.i = recipe->loss}, views, {.i = recipe->global.count}};
    if (!dg_builder_add(b, op, published ? &views : attr, input, 4, options, output)) return false;
    if (recipe->loss == DG_LOSS_INFONCE) note_uncut(b, step);
    *loss = output[DG_RESULT];
    return true;
}

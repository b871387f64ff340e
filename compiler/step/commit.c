/* The end of a training step: gradient norms and the one finite check, then what outlives the step is written: optimiser and
 * teacher average a parameter at a time, the centre, running statistics. */
#include "compiler/step/builder.h"
#include "compiler/step/optimizer_inputs.h"

#include <string.h>

extern const struct dg_op dg_op_center_update, dg_op_ema, dg_op_grad_norms;

/* Published: every parameter decays but those whose name ends in .bias or that have one dimension (the published code calls
 * them regularised). */
static bool decays(const struct dg_train_recipe *recipe, const struct dg_graph_value *param)
{
    return !(recipe->no_decay & DG_NO_DECAY_BIAS && param->bias) &&
           !(recipe->no_decay & DG_NO_DECAY_1D && param->desc.ndim == 1);
}

/* A node that averages into the teacher or, with `momentum` DG_NO_VALUE, copies. */
static bool commit_average(struct dg_step_builder *b, dg_value param, dg_value teacher, dg_value momentum)
{
    const char *path = dg_arena_printf(b->graph->arena, "ema %s", b->graph->value[param].name);
    struct dg_node_options options = dg_builder_options(b, path, "commit", DG_ROLE_COMMIT);
    return dg_builder_add(b, &dg_op_ema, NULL, (dg_value[]){param, teacher, momentum}, 3, &options, NULL);
}

/* The schedule that freezes a parameter: of the first group that names it. NULL: none does. */
static const char *freeze_of(const struct dg_train_recipe *recipe, const char *name)
{
    for (int f = 0; f < recipe->freezes; f++)
        if (strstr(name, recipe->freeze[f].params)) return recipe->freeze[f].control;
    return NULL;
}

struct pair {
    dg_value student, teacher, gradient, rate;
};

/* One parameter's commit: optimiser step and average into the teacher (DG_NO_VALUE: it has none). `norm_index` < 0: nothing trained
 * it. The teacher of the previous iteration is a copy of what the step begins with. */
static bool commit_param(struct dg_step_builder *b, const struct pair *pair, dg_value norms, int norm_index)
{
    struct dg_graph *graph = b->graph;
    dg_value param = pair->student, teacher = pair->teacher;
    if (norm_index < 0)
        return teacher == DG_NO_VALUE || commit_average(b, param, teacher, dg_graph_control(graph, "teacher.momentum"));
    if (b->recipe->update == DG_UPDATE_ITERATION && teacher != DG_NO_VALUE) {
        if (!commit_average(b, param, teacher, DG_NO_VALUE)) return false;
        teacher = DG_NO_VALUE;
    }
    graph->value[param].decay = decays(b->recipe, &graph->value[param]);
    dg_value input[DG_MAX_STEP_INPUTS];
    const struct dg_op *op = b->recipe->optimizer;
    int count = dg_step_inputs(graph, op,
                               &(struct dg_step_values){.param = param,
                                                        .gradient = pair->gradient,
                                                        .norms = norms,
                                                        .teacher = teacher,
                                                        .rate = pair->rate,
                                                        .freeze = freeze_of(b->recipe, graph->value[param].name)},
                               input);
    union dg_attr attr[] = {{.i = norm_index}, {.i = graph->value[param].decay}};
    const char *path = dg_arena_printf(graph->arena, "%s %s", op->name, graph->value[param].name);
    struct dg_node_options options = dg_builder_options(b, path, "commit", DG_ROLE_COMMIT);
    return dg_builder_add(b, op, attr, input, count, &options, NULL);
}

static bool pair_up(struct dg_step_builder *b, struct dg_instance *student, struct dg_instance *teacher,
                    struct pair *pair, int *count)
{
    for (int i = 0; i < dg_instance_num_params(student); i++) {
        dg_value s = dg_instance_param(student, i);
        dg_value t = i < dg_instance_num_params(teacher) ? dg_instance_param(teacher, i) : DG_NO_VALUE;
        if (t == DG_NO_VALUE || !dg_desc_equal(&b->graph->value[s].desc, &b->graph->value[t].desc)) {
            dg_diag_error(b->from->diag, &b->recipe->model.origin,
                          "student and teacher differ in parameter %s: `teacher.with` may only change what leaves the "
                          "parameters alone",
                          b->graph->value[s].name);
            return false;
        }
        b->graph->value[t].init_kind = DG_INIT_COPY;
        b->graph->value[t].init_from = s;
        bool trained = b->graph->value[s].flags & DG_TENSOR_TRAINABLE;
        pair[(*count)++] = (struct pair){s, t, trained ? dg_gradients_of(&b->gradients, s) : DG_NO_VALUE, DG_NO_VALUE};
    }
    return true;
}

/* The student's own parameters. */
static void add_unpaired(struct dg_step_builder *b, struct dg_instance *student, struct pair *pair, int *count)
{
    for (int i = 0; i < dg_instance_num_params(student); i++) {
        dg_value s = dg_instance_param(student, i);
        bool trained = b->graph->value[s].flags & DG_TENSOR_TRAINABLE;
        pair[(*count)++] =
            (struct pair){s, DG_NO_VALUE, trained ? dg_gradients_of(&b->gradients, s) : DG_NO_VALUE, DG_NO_VALUE};
    }
}

/* A commit facet's builder: it may add nodes, nothing else. */
static enum dg_status emit_commit(struct dg_grad_builder *builder, const struct dg_op *op, const union dg_attr *attr,
                                  const dg_value *input, int num_inputs, dg_value *output)
{
    struct dg_step_builder *b = builder->compiler;
    struct dg_node_options options = dg_builder_options(b, NULL, "commit", DG_ROLE_COMMIT);
    options.forward_of = b->committing->forward_of;
    options.origin = b->committing->origin;
    options.origin.path = dg_arena_printf(b->graph->arena, "%s %s", op->name, b->graph->value[input[DG_DATA]].name);
    return dg_graph_node(b->graph, &(struct dg_op_use){op, attr, input, num_inputs}, &options, output, builder->err);
}

/* What the ops of the step leave for later steps, globals before locals as the published code runs them. */
static bool commit_statistics(struct dg_step_builder *b)
{
    struct dg_graph *graph = b->graph;
    uint32_t last = graph->num_nodes;
    bool own = b->recipe->buffers == DG_BUFFERS_OWN;
    for (int local = 0; local < 2; local++)
        for (uint32_t n = 0; n < last; n++) {
            struct dg_graph_node node = graph->node[n]; /* a copy: the array moves */
            if (!node.op->commit || !node.train || (node.rows.view0 > 0) != local) continue;
            if (!own && graph->application[node.application].network == DG_TEACHER) continue;
            struct dg_op_call call = dg_graph_call(graph, &node, NULL);
            struct dg_error err = {0};
            b->committing = &node;
            struct dg_grad_builder builder = {.call = &call,
                                              .input = node.input,
                                              .output = node.output,
                                              .compiler = b,
                                              .emit = emit_commit,
                                              .err = &err};
            if (node.op->commit(&builder) == DG_OK) continue;
            dg_diag_error(b->from->diag, &node.origin, "commit of node %s: %s", node.origin.path, err.text);
            return false;
        }
    return true;
}

/* teacher.buffers: copy or ema: the teacher's running statistics are the student's, or follow them. */
static bool commit_teacher_buffer(struct dg_step_builder *b, dg_value student, dg_value teacher)
{
    if (b->recipe->buffers == DG_BUFFERS_OWN || teacher == DG_NO_VALUE) return true;
    bool averages = b->recipe->buffers == DG_BUFFERS_EMA && b->graph->value[student].desc.dtype == DG_F32;
    dg_value input[] = {student, teacher, averages ? dg_graph_control(b->graph, "teacher.momentum") : DG_NO_VALUE};
    struct dg_node_options options = dg_builder_options(
        b, dg_arena_printf(b->graph->arena, "ema %s", b->graph->value[student].name), "commit", DG_ROLE_COMMIT);
    return dg_builder_add(b, &dg_op_ema, NULL, input, 3, &options, NULL);
}

/* The centre follows the mean of the teacher's logits, where there is one. */
static bool commit_center(struct dg_step_builder *b, const struct dg_step_targets *targets)
{
    struct dg_node_options options = dg_builder_options(b, "center", "commit", DG_ROLE_COMMIT);
    if (targets->batch_mean == DG_NO_VALUE) return true;
    dg_value update[] = {targets->center, targets->batch_mean, dg_graph_control(b->graph, "loss.center_momentum")};
    return dg_builder_add(b, &dg_op_center_update, NULL, update, 3, &options, NULL);
}

/* Of the backbone's parameters, which are the first. */
static bool set_layer_rates(struct dg_step_builder *b, struct pair *pair)
{
    int count = dg_instance_num_params(b->network[DG_STUDENT].backbone);
    dg_value *rate = dg_arena_alloc(b->graph->arena, ((size_t)count + 1) * sizeof *rate);
    if (!dg_build_layer_rates(b, rate)) return false;
    for (int i = 0; i < count; i++) pair[i].rate = rate[i];
    return true;
}

bool dg_build_commit(struct dg_step_builder *b, dg_value loss, const struct dg_step_targets *targets,
                     struct dg_train_step *step)
{
    struct dg_graph *graph = b->graph;
    int most =
        dg_instance_num_params(b->network[DG_STUDENT].backbone) + dg_instance_num_params(b->network[DG_STUDENT].head);
    if (b->predictor) most += dg_instance_num_params(b->predictor);
    struct pair *pair = dg_arena_alloc(graph->arena, ((size_t)most + 1) * sizeof *pair);
    dg_value *gradient = dg_arena_alloc(graph->arena, ((size_t)most + 1) * sizeof *gradient);
    int count = 0, trained = 0;
    if (!pair_up(b, b->network[DG_STUDENT].backbone, b->network[DG_TEACHER].backbone, pair, &count)) return false;
    if (!pair_up(b, b->network[DG_STUDENT].head, b->network[DG_TEACHER].head, pair, &count)) return false;
    if (b->predictor) add_unpaired(b, b->predictor, pair, &count);
    for (int i = 0; i < count; i++)
        if (pair[i].gradient != DG_NO_VALUE) gradient[trained++] = pair[i].gradient;
    if (!trained) {
        dg_diag_error(b->from->diag, &b->recipe->model.origin,
                      "recipe %s trains nothing: no parameter leads to the loss", b->recipe->model.name);
        return false;
    }
    gradient[trained] = loss;
    dg_value norm[DG_MAX_OUTPUTS];
    struct dg_node_options options = dg_builder_options(b, "grad_norms", "check", DG_ROLE_FORWARD);
    if (!dg_builder_add(b, &dg_op_grad_norms, NULL, gradient, trained + 1, &options, norm)) return false;
    graph->value[norm[1]].name = "grad_summary";
    step->slots.of[DG_SLOT_GRAD_SUMMARY] = norm[1];
    if (b->recipe->layer_decay && !set_layer_rates(b, pair)) return false;

    for (int i = 0, index = 0; i < count; i++) {
        int norm_index = pair[i].gradient == DG_NO_VALUE ? -1 : index++;
        if (graph->value[pair[i].student].flags & DG_TENSOR_BUFFER) continue;
        bool all = b->recipe->clip_norm == DG_CLIP_ALL && norm_index >= 0; /* then the first of the summary clips */
        if (!commit_param(b, &pair[i], norm[all], all ? 0 : norm_index)) return false;
    }
    if (!commit_center(b, targets) || !commit_statistics(b)) return false;
    for (int i = 0; i < count; i++)
        if (graph->value[pair[i].student].flags & DG_TENSOR_BUFFER &&
            !commit_teacher_buffer(b, pair[i].student, pair[i].teacher))
            return false;
    return true;
}

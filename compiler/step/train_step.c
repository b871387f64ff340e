/* Builds the DINO training step (Caron et al. 2021, algorithm 1) as one graph in the order of execution:
 *
 *   teacher forward on the global crops -> its targets q, the batch mean of its logits
 *   for each resolution, largest first: student forward, its share of the loss, backward
 *   gradient norms and the one finite check
 *   commit: optimiser and teacher average a parameter at a time, then the centre, then running statistics
 *
 * Nothing before the commit writes what outlives the step. Where no op of the head couples rows, a resolution's loss is a
 * sum over its own crops, so its activations die before the next resolution begins. Batch norm in the head sees all crops
 * at once, as the published code does: then all backbone forwards come first, the head runs once on their features, and
 * all backbone backwards follow.
 *
 * Where no op at all couples rows, the images of a batch meet in sums only, and the batch may be cut (struct dg_step_form):
 * the first two lines are then a loop over slices of images, and gradients, loss, entropy and the centre's mean are sums that
 * are zeroed before it. */
#include "compiler/language/language.h"
#include "compiler/passes/passes.h"

#include <stdio.h>
#include <string.h>

struct build {
    struct dg_program *program;
    struct dg_diagnostics *diag;
    const struct dg_recipe *recipe;
    struct dg_graph *graph;
    struct dg_instance *student_backbone, *student_head, *teacher_backbone, *teacher_head;
    struct dg_gradients gradients;
    struct dg_step_form form;
    int64_t images;            /* of a slice: the batch, if it is not cut */
    int views;                 /* all crops of an image */
    dg_value teacher_layer[3]; /* features and weights of the teacher's prototype layer, where the loss contains it */
    dg_value center;
    bool tiled;
    struct dg_origin committing; /* the node whose commit rule runs */
};

/* A node of the trainer itself; such a node fails only by our own mistake or by a dimension too large. */
static bool add_node(struct build *b, const char *op_name, const union dg_attr *attr, const dg_value *input,
                     int num_inputs, const struct dg_node_options *options, dg_value *output)
{
    struct dg_error err = {0};
    const struct dg_op *op = dg_op_find(op_name);
    if (!op) {
        dg_diag_error(b->diag, &b->recipe->origin, "internal: op %s is missing; please report this", op_name);
        return false;
    }
    if (dg_graph_node(b->graph, op, attr, input, num_inputs, options, output, &err) == DG_OK) return true;
    dg_diag_error(b->diag, &b->recipe->origin, "%s of recipe %s: %s", options->origin.path, b->recipe->name, err.text);
    return false;
}

static struct dg_node_options trainer_node(const struct build *b, const char *path, const char *label, bool commit)
{
    struct dg_node_options options = {.train = true, .commit = commit, .label = label, .origin = b->recipe->origin};
    options.origin.path = path;
    options.position.batch = (int)b->images;
    return options;
}

static dg_value crops_input(struct build *b, const char *name, const struct dg_recipe_crops *crops)
{
    struct dg_desc desc =
        dg_desc_make(DG_F32, 4, (int64_t[]){crops->count * b->recipe->batch, crops->height, crops->width, 3});
    if (!dg_desc_valid(&desc)) {
        dg_diag_error(b->diag, &crops->size_origin, "%s: %lld views of a batch of %lld at %lldx%lld are too many bytes",
                      name, (long long)crops->count, (long long)b->recipe->batch, (long long)crops->height,
                      (long long)crops->width);
        return DG_NO_VALUE;
    }
    dg_value value = dg_graph_input(b->graph, name, &desc);
    b->graph->value[value].origin = crops->size_origin;
    return value;
}

/* An instance on one group of crops, or on their features; its output, or DG_NO_VALUE. */
static dg_value apply(struct build *b, struct dg_instance *instance, dg_value input, const char *output, int view0,
                      const char *label)
{
    struct dg_position position = {.view0 = view0, .batch = (int)b->images};
    uint32_t first = b->graph->num_nodes;
    if (input == DG_NO_VALUE) return DG_NO_VALUE;
    struct dg_application *a = dg_instance_apply(instance, &input, 1, true, position, label);
    dg_value made = a ? dg_application_output(a, output) : DG_NO_VALUE;
    if (a && made == DG_NO_VALUE && !dg_diag_errors(b->diag))
        dg_diag_error(b->diag, &b->recipe->origin, "backbone %s has no output named features", b->recipe->backbone);
    if (made == DG_NO_VALUE || b->recipe->plain) return made;
    if (!dg_pass_take_early(b->graph, b->diag, first, &made, 1)) return DG_NO_VALUE;
    dg_pass_fuse(b->graph, first, false, &made, 1);
    return made;
}

/* The features [views * batch, dim] of a group of crops, and the logits [views * batch, out_dim] of features. */
static dg_value features_of(struct build *b, const char *network, const char *group, dg_value crops, int view0)
{
    return apply(b, *network == 't' ? b->teacher_backbone : b->student_backbone, crops, "features", view0,
                 dg_arena_printf(b->graph->arena, "%s.backbone(%s)", network, group));
}

static dg_value logits_of(struct build *b, const char *network, const char *group, dg_value features, int view0)
{
    return apply(b, *network == 't' ? b->teacher_head : b->student_head, features, NULL, view0,
                 dg_arena_printf(b->graph->arena, "%s.head(%s)", network, group));
}

/* The first node from `first` on that needs all its rows at once; a copy, since the array moves. NULL: none does. */
static const struct dg_graph_node *find_coupling(struct build *b, uint32_t first)
{
    for (uint32_t n = first; n < b->graph->num_nodes; n++)
        if (b->graph->node[n].op->couples_rows) {
            struct dg_graph_node *copy = dg_arena_alloc(b->graph->arena, sizeof *copy);
            *copy = b->graph->node[n];
            return copy;
        }
    return NULL;
}

/* Takes the prototype layer back that makes `logits`, for the loss to make them a tile at a time: all logits would be the
 * largest activation of the step. Its inputs; false where the head ends otherwise. */
static bool take_layer(struct build *b, dg_value logits, dg_value input[3])
{
    struct dg_graph *graph = b->graph;
    uint32_t n = graph->value[logits].producer;
    if (b->recipe->plain || n + 1 != graph->num_nodes || strcmp(graph->node[n].op->name, "weight_norm_linear"))
        return false;
    memcpy(input, graph->node[n].input, 3 * sizeof *input);
    graph->value[logits].producer = DG_PLAN_NONE;
    graph->num_nodes--;
    return true;
}

/* The share of the loss of logits, added to what there is. */
static bool add_loss(struct build *b, const char *group, dg_value logits, dg_value target, int view0, dg_value *loss)
{
    struct dg_node_options options = trainer_node(b, dg_arena_printf(b->graph->arena, "loss.%s", group), "loss", false);
    options.position.view0 = view0;
    dg_value student_temp = dg_graph_control(b->graph, "loss.student_temp"), output[DG_MAX_OUTPUTS], layer[3];
    union dg_attr views[] = {{.i = b->views}};
    if (logits == DG_NO_VALUE) return false;
    if (b->tiled && take_layer(b, logits, layer)) { /* both heads are of one module */
        const dg_value *t = b->teacher_layer;
        dg_value input[] = {layer[0],     layer[1], layer[2],
                            t[0],         t[1],     t[2],
                            b->center,    target,   dg_graph_control(b->graph, "loss.teacher_temp"),
                            student_temp, *loss};
        if (!add_node(b, "prototype_loss", views, input, 11, &options, output)) return false;
    } else {
        dg_value input[] = {logits, target, student_temp, *loss};
        if (!add_node(b, "dino_loss", views, input, 4, &options, output)) return false;
    }
    *loss = output[0];
    return true;
}

/* Each resolution on its own, largest first if the form does not say otherwise: forward, loss, backward. */
static bool groups_apart(struct build *b, const dg_value crops[2], dg_value target, dg_value *loss)
{
    const struct dg_recipe *recipe = b->recipe;
    bool local_larger = recipe->local.count && recipe->local.height * recipe->local.width * recipe->local.count >
                                                   recipe->global.height * recipe->global.width * recipe->global.count;
    bool local_first = recipe->local.count && local_larger != b->form.smallest_first;
    for (int turn = 0; turn < 2; turn++) {
        int g = turn ^ local_first;
        const char *group = g ? "local" : "global";
        if (g && !recipe->local.count) continue;
        uint32_t first = b->graph->num_nodes;
        int view0 = g ? (int)recipe->global.count : 0;
        dg_value logits = logits_of(b, "student", group, features_of(b, "student", group, crops[g], view0), view0);
        if (!add_loss(b, group, logits, target, view0, loss)) return false;
        if (!dg_pass_differentiate(b->graph, b->diag, first, *loss, &b->gradients)) return false;
    }
    return true;
}

/* All crops in one head: both backbones forward, the head on all features, one loss, one backward of it all. */
static bool groups_together(struct build *b, const dg_value crops[2], dg_value target, dg_value *loss)
{
    uint32_t first = b->graph->num_nodes;
    dg_value features = features_of(b, "student", "global", crops[0], 0);
    if (features != DG_NO_VALUE && b->recipe->local.count) {
        dg_value both[] = {features, features_of(b, "student", "local", crops[1], (int)b->recipe->global.count)};
        dg_value output[DG_MAX_OUTPUTS];
        struct dg_node_options options = trainer_node(b, "all_crops", "student.head(all)", false);
        if (both[1] == DG_NO_VALUE || !add_node(b, "concat_rows", NULL, both, 2, &options, output)) return false;
        features = output[0];
    }
    return add_loss(b, "all", logits_of(b, "student", "all", features, 0), target, 0, loss) &&
           dg_pass_differentiate(b->graph, b->diag, first, *loss, &b->gradients);
}

/* Published: every parameter decays but those whose name ends in .bias or that have one dimension (the published code calls
 * them regularised). */
static bool decays(const struct dg_recipe *recipe, const struct dg_graph_value *param)
{
    size_t length = strlen(param->name);
    bool bias = length >= 5 && !strcmp(param->name + length - 5, ".bias");
    return !(recipe->no_decay_bias && bias) && !(recipe->no_decay_1d && param->desc.ndim == 1);
}

/* One parameter's commit: optimiser step and average into the teacher. `norm_index` < 0: nothing trained it. */
static bool commit_param(struct build *b, dg_value param, dg_value teacher, dg_value gradient, dg_value norms,
                         int norm_index)
{
    struct dg_graph *graph = b->graph;
    if (norm_index < 0) {
        dg_value momentum = dg_graph_control(graph, "teacher.momentum");
        const char *path = dg_arena_printf(graph->arena, "ema %s", graph->value[param].name);
        struct dg_node_options options = trainer_node(b, path, "commit", true);
        return add_node(b, "ema", NULL, (dg_value[]){param, teacher, momentum}, 3, &options, NULL);
    }
    graph->value[param].decay = decays(b->recipe, &graph->value[param]);
    bool freezes = b->recipe->freeze_params && strstr(graph->value[param].name, b->recipe->freeze_params);
    dg_value input[DG_MAX_STEP_INPUTS];
    const struct dg_op *op = dg_op_find(b->recipe->optimizer); /* the recipe's reader knows them */
    int count = dg_step_inputs(graph, op, param, gradient, norms, teacher, freezes, input);
    union dg_attr attr[] = {{.i = norm_index}, {.i = graph->value[param].decay}};
    const char *path = dg_arena_printf(graph->arena, "%s %s", b->recipe->optimizer, graph->value[param].name);
    struct dg_node_options options = trainer_node(b, path, "commit", true);
    return add_node(b, b->recipe->optimizer, attr, input, count, &options, NULL);
}

struct pair {
    dg_value student, teacher, gradient;
};

static bool pair_up(struct build *b, struct dg_instance *student, struct dg_instance *teacher, struct pair *pair,
                    int *count)
{
    for (int i = 0; i < dg_instance_num_params(student); i++) {
        dg_value s = dg_instance_param(student, i);
        dg_value t = i < dg_instance_num_params(teacher) ? dg_instance_param(teacher, i) : DG_NO_VALUE;
        if (t == DG_NO_VALUE || !dg_desc_equal(&b->graph->value[s].desc, &b->graph->value[t].desc)) {
            dg_diag_error(b->diag, &b->recipe->origin,
                          "student and teacher differ in parameter %s: `teacher.with` may only change what leaves the "
                          "parameters alone",
                          b->graph->value[s].name);
            return false;
        }
        b->graph->value[t].init_kind = DG_INIT_COPY;
        b->graph->value[t].init_from = s;
        bool trained = b->graph->value[s].flags & DG_TENSOR_TRAINABLE;
        pair[(*count)++] = (struct pair){s, t, trained ? dg_gradients_of(&b->gradients, s) : DG_NO_VALUE};
    }
    return true;
}

/* A commit facet's builder: it may add nodes, nothing else. */
static enum dg_status emit_commit(struct dg_grad_builder *builder, const struct dg_op *op, const union dg_attr *attr,
                                  const dg_value *input, int num_inputs, dg_value *output)
{
    struct build *b = builder->compiler;
    struct dg_node_options options = trainer_node(b, NULL, "commit", true);
    options.origin = b->committing;
    options.origin.path = dg_arena_printf(b->graph->arena, "%s %s", op->name, b->graph->value[input[0]].name);
    return dg_graph_node(b->graph, op, attr, input, num_inputs, &options, output, builder->err);
}

/* What the ops of the step leave for later steps, globals before locals as the published code runs them. */
static bool commit_statistics(struct build *b)
{
    struct dg_graph *graph = b->graph;
    uint32_t last = graph->num_nodes;
    bool own = !strcmp(b->recipe->buffers, "own");
    for (int local = 0; local < 2; local++)
        for (uint32_t n = 0; n < last; n++) {
            struct dg_graph_node node = graph->node[n]; /* a copy: the array moves */
            if (!node.op->commit || !node.train || (node.position.view0 > 0) != local) continue;
            if (!own && !strncmp(node.label, "teacher.", 8)) continue;
            struct dg_op_call call = dg_graph_call(graph, &node, NULL);
            struct dg_error err = {0};
            b->committing = node.origin;
            struct dg_grad_builder builder = {.call = &call,
                                              .input = node.input,
                                              .output = node.output,
                                              .compiler = b,
                                              .emit = emit_commit,
                                              .err = &err};
            if (node.op->commit(&builder) == DG_OK) continue;
            dg_diag_error(b->diag, &node.origin, "commit of node %s: %s", node.origin.path, err.text);
            return false;
        }
    return true;
}

/* teacher.buffers: copy or ema: the teacher's running statistics are the student's, or follow them. */
static bool commit_teacher_buffer(struct build *b, dg_value student, dg_value teacher)
{
    if (!strcmp(b->recipe->buffers, "own")) return true;
    bool averages = !strcmp(b->recipe->buffers, "ema") && b->graph->value[student].desc.dtype == DG_F32;
    dg_value input[] = {student, teacher, averages ? dg_graph_control(b->graph, "teacher.momentum") : DG_NO_VALUE};
    struct dg_node_options options =
        trainer_node(b, dg_arena_printf(b->graph->arena, "ema %s", b->graph->value[student].name), "commit", true);
    return add_node(b, "ema", NULL, input, 3, &options, NULL);
}

static bool commit(struct build *b, dg_value loss, dg_value center, dg_value batch_mean, struct dg_train_step *step)
{
    struct dg_graph *graph = b->graph;
    int most = dg_instance_num_params(b->student_backbone) + dg_instance_num_params(b->student_head);
    struct pair *pair = dg_arena_alloc(graph->arena, ((size_t)most + 1) * sizeof *pair);
    dg_value *gradient = dg_arena_alloc(graph->arena, ((size_t)most + 1) * sizeof *gradient);
    int count = 0, trained = 0;
    if (!pair_up(b, b->student_backbone, b->teacher_backbone, pair, &count)) return false;
    if (!pair_up(b, b->student_head, b->teacher_head, pair, &count)) return false;
    for (int i = 0; i < count; i++)
        if (pair[i].gradient != DG_NO_VALUE) gradient[trained++] = pair[i].gradient;
    if (!trained) {
        dg_diag_error(b->diag, &b->recipe->origin, "recipe %s trains nothing: no parameter leads to the loss",
                      b->recipe->name);
        return false;
    }
    gradient[trained] = loss;
    dg_value norm[DG_MAX_OUTPUTS];
    struct dg_node_options options = trainer_node(b, "grad_norms", "check", false);
    if (!add_node(b, "grad_norms", NULL, gradient, trained + 1, &options, norm)) return false;
    graph->value[norm[1]].name = "grad_summary";
    step->output[step->num_outputs++] = norm[1];

    for (int i = 0, index = 0; i < count; i++) {
        int norm_index = pair[i].gradient == DG_NO_VALUE ? -1 : index++;
        if (graph->value[pair[i].student].flags & DG_TENSOR_BUFFER) continue;
        if (!commit_param(b, pair[i].student, pair[i].teacher, pair[i].gradient, norm[0], norm_index)) return false;
    }
    options = trainer_node(b, "center", "commit", true);
    dg_value update[] = {center, batch_mean, dg_graph_control(graph, "loss.center_momentum")};
    if (!add_node(b, "center_update", NULL, update, 3, &options, NULL) || !commit_statistics(b)) return false;
    for (int i = 0; i < count; i++)
        if (graph->value[pair[i].student].flags & DG_TENSOR_BUFFER &&
            !commit_teacher_buffer(b, pair[i].student, pair[i].teacher))
            return false;
    return true;
}

/* Crops of the slice that a run of the loop is at; all of them, where the batch is not cut. */
static bool take_images(struct build *b, const char *group, dg_value *crops)
{
    struct dg_node_options options =
        trainer_node(b, dg_arena_printf(b->graph->arena, "crops.%s", group), "crops", false);
    dg_value output[DG_MAX_OUTPUTS];
    if (b->form.slices < 2 || *crops == DG_NO_VALUE) return true;
    if (!add_node(b, "take_images", NULL, crops, 1, &options, output)) return false;
    *crops = output[0];
    return true;
}

/* The mean of `part` over the slices; `part` itself, where the batch is not cut. */
static bool mean_of_slices(struct build *b, dg_value like, dg_value *part)
{
    struct dg_graph *graph = b->graph;
    if (b->form.slices < 2) return true;
    const char *name = dg_arena_printf(graph->arena, "mean of %s", graph->value[*part].name);
    struct dg_node_options options = trainer_node(b, name, "loss", false);
    dg_value output[DG_MAX_OUTPUTS], input[] = {dg_sum_over_slices(graph, like, name), *part};
    if (!add_node(b, "add_mean", NULL, input, 2, &options, output)) return false;
    *part = output[0];
    return true;
}

bool dg_pass_train_step(struct dg_program *program, struct dg_diagnostics *diag, const struct dg_recipe *recipe,
                        const struct dg_step_form *form, struct dg_graph *graph, struct dg_train_step *step)
{
    struct build b = {.program = program,
                      .diag = diag,
                      .recipe = recipe,
                      .graph = graph,
                      .form = *form,
                      .images = recipe->batch / (form->slices > 1 ? form->slices : 1),
                      .views = (int)(recipe->global.count + recipe->local.count)};
    *step = (struct dg_train_step){0};
    const struct dg_origin *at = &recipe->origin;
    b.student_backbone =
        dg_instance_create(program, graph, recipe->backbone, recipe->student_with, at, "student.backbone.", true);
    b.student_head = dg_instance_create(program, graph, recipe->head, recipe->head_with, at, "student.head.", true);
    b.teacher_backbone =
        dg_instance_create(program, graph, recipe->backbone, recipe->teacher_with, at, "teacher.backbone.", false);
    b.teacher_head = dg_instance_create(program, graph, recipe->head, recipe->head_with, at, "teacher.head.", false);
    if (!b.student_backbone || !b.student_head || !b.teacher_backbone || !b.teacher_head) return false;

    dg_value crops[2] = {crops_input(&b, "crops.global", &recipe->global), DG_NO_VALUE};
    if (recipe->local.count) crops[1] = crops_input(&b, "crops.local", &recipe->local);
    for (int g = 0; g < 2; g++)
        if (crops[g] != DG_NO_VALUE) step->input[step->num_inputs++] = crops[g];
    if (form->slices > 1) {
        graph->slices = form->slices;
        graph->phase = DG_PHASE_LOOP;
    }
    if (!take_images(&b, "global", &crops[0]) || !take_images(&b, "local", &crops[1])) return false;

    /* Teacher first: its targets are all that the student's side needs of it. */
    uint32_t start = graph->num_nodes;
    dg_value features = features_of(&b, "teacher", "global", crops[0], 0);
    step->uncut = find_coupling(&b, start);
    start = graph->num_nodes;
    dg_value teacher = logits_of(&b, "teacher", "global", features, 0);
    step->coupling = find_coupling(&b, start);
    if (teacher == DG_NO_VALUE) return false;
    struct dg_desc center_desc = dg_desc_make(DG_F32, 2, (int64_t[]){1, graph->value[teacher].desc.dim[1]});
    struct dg_init zero = {.kind = DG_INIT_CONSTANT};
    dg_value center =
        dg_graph_param(graph, "center", &center_desc, DG_REGION_PARAM, DG_TENSOR_BUFFER, &zero, recipe->origin);
    dg_value target[DG_MAX_OUTPUTS];
    struct dg_node_options options = trainer_node(&b, "target", "loss", false);
    dg_value temperature = dg_graph_control(graph, "loss.teacher_temp"); /* also a scalar to be like */
    b.center = center;
    b.tiled = take_layer(&b, teacher, b.teacher_layer);
    dg_value target_input[] = {teacher, center, temperature};
    dg_value tiled_input[] = {b.teacher_layer[0], b.teacher_layer[1], b.teacher_layer[2], center, temperature};
    if (!(b.tiled ? add_node(&b, "prototype_target", NULL, tiled_input, 5, &options, target)
                  : add_node(&b, "dino_target", NULL, target_input, 3, &options, target)))
        return false;
    if (!mean_of_slices(&b, center, &target[1]) || !mean_of_slices(&b, temperature, &target[2])) return false;
    graph->value[target[2]].name = "teacher_entropy";

    dg_value loss = form->slices > 1 ? dg_sum_over_slices(graph, temperature, "loss") : DG_NO_VALUE;
    if (!(step->coupling ? groups_together : groups_apart)(&b, crops, target[0], &loss)) return false;
    graph->value[loss].name = "loss";
    if (form->slices > 1) graph->phase = DG_PHASE_AFTER;
    step->output[step->num_outputs++] = loss;
    step->output[step->num_outputs++] = target[2];
    if (!commit(&b, loss, center, target[1], step)) return false;
    dg_graph_sort_phases(graph);
    return true;
}

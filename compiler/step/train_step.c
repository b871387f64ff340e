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
 * Where no op at all couples rows, the images of a batch meet in sums only, and the batch may be cut (struct dg_step_choice):
 * the first two lines are then a loop over slices of images, and gradients, loss, entropy and the centre's mean are sums that
 * are zeroed before it. Between processes the batch is cut where ops couple rows, too: these ask each other for what they need of
 * theirs, and the loop runs once in each process. */
#include "compiler/step/builder.h"

#include <stdio.h>
#include <string.h>

extern const struct dg_op dg_op_concat_rows, dg_op_take_images;

static dg_value crops_input(struct dg_step_builder *b, const struct dg_recipe_crops *crops)
{
    struct dg_desc desc =
        dg_desc_make(DG_F32, 4, (int64_t[]){crops->count * b->recipe->batch, crops->height, crops->width, 3});
    if (!dg_desc_valid(&desc)) {
        dg_diag_error(b->from->diag, &crops->size_origin,
                      "%s: %lld views of a batch of %lld at %lldx%lld are too many bytes", crops->name,
                      (long long)crops->count, (long long)b->recipe->batch, (long long)crops->height,
                      (long long)crops->width);
        return DG_NO_VALUE;
    }
    dg_value value = dg_graph_input(b->graph, crops->name, &desc);
    b->graph->value[value].origin = crops->size_origin;
    return value;
}

static const char *const network_name[] = {[DG_STUDENT] = "student", [DG_TEACHER] = "teacher"},
                         *const backbone_prefix[] =
                             {[DG_STUDENT] = "student.backbone.", [DG_TEACHER] = "teacher.backbone."},
                         *const head_prefix[] = {[DG_STUDENT] = "student.head.", [DG_TEACHER] = "teacher.head."};

/* An instance on one group of crops, or on their features; its output, or DG_NO_VALUE. */
static dg_value apply(struct dg_step_builder *b, struct dg_instance *instance, dg_value input, const char *output,
                      int view0, uint32_t application)
{
    struct dg_row_range rows = {.view0 = view0, .batch = (int)b->images};
    uint32_t first = b->graph->num_nodes;
    if (input == DG_NO_VALUE && !dg_diag_errors(b->from->diag)) return DG_NO_VALUE;
    struct dg_application *a = dg_instance_apply(instance, &input, 1, true, rows, application);
    dg_value made = a ? dg_application_output(a, output) : DG_NO_VALUE;
    if (a && made == DG_NO_VALUE && !dg_diag_errors(b->from->diag))
        dg_diag_error(b->from->diag, &b->recipe->model.origin, "backbone %s has no output named features",
                      b->recipe->model.backbone);
    if (made == DG_NO_VALUE) return made;
    struct dg_pass_context context = {.graph = b->graph,
                                      .diag = b->from->diag,
                                      .subject = b->graph->application[application].label,
                                      .first = first,
                                      .keep = &made,
                                      .num_keep = 1};
    return dg_run_passes(dg_application_passes, b->from->pipeline, &context) ? made : DG_NO_VALUE;
}

/* The features [views * batch, dim] of a group of crops. */
static dg_value features_of(struct dg_step_builder *b, enum dg_network network, const char *group, dg_value crops,
                            int view0)
{
    const char *label = dg_arena_printf(b->graph->arena, "%s.backbone(%s)", network_name[network], group);
    return apply(b, b->network[network].backbone, crops, "features", view0,
                 dg_graph_application(b->graph, network, label));
}

static uint32_t head_application(struct dg_step_builder *b, enum dg_network network, const char *group)
{
    return dg_graph_application(b->graph, network,
                                dg_arena_printf(b->graph->arena, "%s.head(%s)", network_name[network], group));
}

/* The logits [views * batch, out_dim] of features. */
static dg_value logits_of(struct dg_step_builder *b, enum dg_network network, const char *group, dg_value features,
                          int view0)
{
    return apply(b, b->network[network].head, features, NULL, view0, head_application(b, network, group));
}

/* The first node from `first` on that needs all its rows at once; a copy, since the array moves. NULL: none does. */
static const struct dg_graph_node *find_coupling(struct dg_step_builder *b, uint32_t first)
{
    for (uint32_t n = first; n < b->graph->num_nodes; n++)
        if (b->graph->node[n].op->reach <= DG_REACH_BATCH) {
            struct dg_graph_node *copy = dg_arena_alloc(b->graph->arena, sizeof *copy);
            *copy = b->graph->node[n];
            return copy;
        }
    return NULL;
}

/* Adds the loss of one group of logits to *loss, the sum so far; DG_NO_VALUE: none yet. */
static bool add_loss(struct dg_step_builder *b, const char *group, dg_value logits, int view0,
                     const struct dg_step_targets *targets, dg_value *loss, struct dg_train_step *step)
{
    struct dg_node_options options =
        dg_builder_options(b, dg_arena_printf(b->graph->arena, "loss.%s", group), "loss", DG_ROLE_FORWARD);
    options.rows.view0 = view0;
    if (logits == DG_NO_VALUE || !dg_build_loss(b, &options, logits, targets->target, loss, step)) return false;
    struct dg_pass_context context = {.graph = b->graph,
                                      .diag = b->from->diag,
                                      .subject = options.origin.path,
                                      .first = b->graph->value[logits].producer,
                                      .keep = loss,
                                      .num_keep = 1};
    return dg_run_passes(dg_loss_passes, b->from->pipeline, &context);
}

/* Views of one resolution. */
struct group {
    const char *label; /* "global", "local", "local.1" */
    dg_value crops;
    int view0;
    int64_t pixels; /* of an image's views */
};

struct groups {
    struct group group[1 + DG_LOCAL_GROUPS];
    int count;
};

/* The groups that the recipe has, globals first, with inputs of the graph as crops. Counts their views. */
static struct groups add_groups(struct dg_step_builder *b, struct dg_train_step *step)
{
    struct groups groups = {.count = 0};
    for (int g = 0; g < 1 + DG_LOCAL_GROUPS; g++) {
        const struct dg_recipe_crops *of = g ? &b->recipe->local[g - 1] : &b->recipe->global;
        if (!of->count) continue;
        dg_value crops = crops_input(b, of);
        step->slots.of[g ? DG_SLOT_CROPS_LOCAL + g - 1 : DG_SLOT_CROPS_GLOBAL] = crops;
        groups.group[groups.count++] = (struct group){.label = of->name + strlen("crops."),
                                                      .crops = crops,
                                                      .view0 = b->views,
                                                      .pixels = of->height * of->width * of->count};
        b->views += (int)of->count;
    }
    return groups;
}

static void swap(struct group *a, struct group *b)
{
    struct group swapped = *a;
    *a = *b;
    *b = swapped;
}

/* Largest first, of equals the first; or all of that the other way round. */
static void order_groups(struct groups *groups, bool smallest_first)
{
    struct group *group = groups->group;
    for (int i = 1; i < groups->count; i++)
        for (int j = i; j > 0 && group[j].pixels > group[j - 1].pixels; j--) swap(&group[j], &group[j - 1]);
    for (int i = 0; smallest_first && i < groups->count / 2; i++) swap(&group[i], &group[groups->count - 1 - i]);
}

/* Each resolution on its own, largest first if the form does not say otherwise: forward, loss, backward. */
static bool groups_apart(struct dg_step_builder *b, const struct groups *groups, const struct dg_step_targets *targets,
                         dg_value *loss, struct dg_train_step *step)
{
    struct groups ordered = *groups;
    order_groups(&ordered, b->choice.smallest_first);
    for (const struct group *g = ordered.group; g < ordered.group + ordered.count; g++) {
        uint32_t first = b->graph->num_nodes;
        dg_value features = features_of(b, DG_STUDENT, g->label, g->crops, g->view0);
        dg_value logits = logits_of(b, DG_STUDENT, g->label, features, g->view0);
        if (!add_loss(b, g->label, logits, g->view0, targets, loss, step)) return false;
        if (!dg_differentiate(b->graph, b->from->diag, first, *loss, &b->gradients)) return false;
    }
    return true;
}

/* The student's prediction of the teacher's logits, by its own; these, where there is no predictor. What couples rows in it is told as
 * it is of a backbone. */
static dg_value predict(struct dg_step_builder *b, dg_value logits, struct dg_train_step *step)
{
    uint32_t first = b->graph->num_nodes;
    if (!b->predictor || logits == DG_NO_VALUE) return logits;
    dg_value made =
        apply(b, b->predictor, logits, NULL, 0, dg_graph_application(b->graph, DG_STUDENT, "student.predictor(all)"));
    if (made == DG_NO_VALUE) return made;
    const struct dg_desc *from = &b->graph->value[logits].desc, *to = &b->graph->value[made].desc;
    if (!dg_desc_equal(from, to)) {
        dg_diag_error(b->from->diag, &b->recipe->predictor_origin,
                      "predictor: module %s makes %lld numbers of the head's %lld outputs: it must make as many, see "
                      "its argument out_dim",
                      b->recipe->predictor, (long long)to->dim[to->ndim - 1], (long long)from->dim[1]);
        return DG_NO_VALUE;
    }
    const struct dg_graph_node *uncut = find_coupling(b, first);
    if (uncut && !step->uncut) step->uncut = uncut, step->uncut_in = "predictor";
    return made;
}

/* All crops in one head: both backbones forward, the head on all features, one loss, one backward of it all. */
static bool groups_together(struct dg_step_builder *b, const struct groups *groups,
                            const struct dg_step_targets *targets, dg_value *loss, struct dg_train_step *step)
{
    uint32_t first = b->graph->num_nodes, head = head_application(b, DG_STUDENT, "all");
    const struct group *group = groups->group;
    dg_value features = features_of(b, DG_STUDENT, group[0].label, group[0].crops, 0), output[DG_MAX_OUTPUTS];
    for (int g = 1; g < groups->count && features != DG_NO_VALUE; g++) {
        dg_value both[] = {features, features_of(b, DG_STUDENT, group[g].label, group[g].crops, group[g].view0)};
        const char *path = g > 1 ? dg_arena_printf(b->graph->arena, "all_crops.%d", g) : "all_crops";
        struct dg_node_options options = dg_builder_options(b, path, "loss", DG_ROLE_FORWARD);
        options.application = head;
        if (both[1] == DG_NO_VALUE || !dg_builder_add(b, &dg_op_concat_rows, NULL, both, 2, &options, output))
            return false;
        features = output[DG_RESULT];
    }
    dg_value logits = predict(b, apply(b, b->network[DG_STUDENT].head, features, NULL, 0, head), step);
    return add_loss(b, "all", logits, 0, targets, loss, step) &&
           dg_differentiate(b->graph, b->from->diag, first, *loss, &b->gradients);
}

/* Crops of the slice that a run of the loop is at; all of them, where the batch is not cut. */
static bool take_images(struct dg_step_builder *b, struct group *group)
{
    struct dg_node_options options =
        dg_builder_options(b, dg_arena_printf(b->graph->arena, "crops.%s", group->label), "crops", DG_ROLE_FORWARD);
    dg_value output[DG_MAX_OUTPUTS];
    if (b->choice.slices < 2 || group->crops == DG_NO_VALUE) return true;
    if (!dg_builder_add(b, &dg_op_take_images, NULL, &group->crops, 1, &options, output)) return false;
    group->crops = output[DG_RESULT];
    return true;
}

static bool create_networks(struct dg_step_builder *b)
{
    const struct dg_train_recipe *recipe = b->recipe;
    struct dg_program *program = b->from->program;
    bool ok = true;
    for (int n = DG_STUDENT; n <= DG_TEACHER; n++) {
        struct dg_args *args = n == DG_STUDENT ? recipe->student_args : recipe->model.args;
        b->network[n].backbone = dg_instance_create(program, b->graph, recipe->model.backbone, args,
                                                    &recipe->model.origin, backbone_prefix[n], n == DG_STUDENT);
        b->network[n].head = dg_instance_create(program, b->graph, recipe->head, recipe->head_args,
                                                &recipe->model.origin, head_prefix[n], n == DG_STUDENT);
        ok &= b->network[n].backbone && b->network[n].head;
    }
    if (recipe->predictor) {
        b->predictor = dg_instance_create(program, b->graph, recipe->predictor, recipe->predictor_args,
                                          &recipe->predictor_origin, "student.predictor.", true);
        ok &= b->predictor != NULL;
    }
    return ok;
}

/* The passes on the teacher's logits and what follows them. */
static bool run_target_passes(const struct dg_step_builder *b, dg_value logits, const struct dg_train_step *step)
{
    dg_value output[DG_SLOTS];
    int count = dg_slots_list(&step->slots, DG_FIRST_OUTPUT, DG_FIRST_PARAM, output);
    struct dg_pass_context context = {.graph = b->graph,
                                      .diag = b->from->diag,
                                      .subject = "target",
                                      .first = b->graph->value[logits].producer,
                                      .keep = output,
                                      .num_keep = count};
    return dg_run_passes(dg_target_passes, b->from->pipeline, &context);
}

bool dg_build_train_step(const struct dg_step_request *from, const struct dg_step_choice *choice,
                         struct dg_graph *graph, struct dg_train_step *step)
{
    const struct dg_train_recipe *recipe = from->recipe;
    struct dg_step_builder b = {.from = from,
                                .recipe = recipe,
                                .graph = graph,
                                .choice = *choice,
                                .images = recipe->batch / (choice->slices > 1 ? choice->slices : 1)};
    *step = (struct dg_train_step){.slots = dg_no_slots()};
    if (!create_networks(&b)) return false;

    struct groups groups = add_groups(&b, step);
    if (choice->slices > 1) {
        graph->slices = choice->slices;
        graph->coupled = from->coupled ? from->ranks : 0;
        graph->phase = DG_PHASE_LOOP;
    }
    for (int g = 0; g < groups.count; g++)
        if (!take_images(&b, &groups.group[g])) return false;

    /* Teacher first: its targets are all that the student's side needs of it. */
    uint32_t start = graph->num_nodes;
    dg_value features = features_of(&b, DG_TEACHER, "global", groups.group[0].crops, 0);
    step->uncut = find_coupling(&b, start);
    step->uncut_in = "backbone";
    start = graph->num_nodes;
    dg_value teacher = logits_of(&b, DG_TEACHER, "global", features, 0);
    step->coupling = find_coupling(&b, start);
    struct dg_step_targets targets;
    if (teacher == DG_NO_VALUE || !dg_build_targets(&b, teacher, &targets, step)) return false;

    dg_value loss = choice->slices > 1 ? dg_sum_over_slices(graph, targets.scalar, "loss") : DG_NO_VALUE;
    bool together = step->coupling || b.predictor; /* a predictor sees all crops: it may couple their rows */
    if (!(together ? groups_together : groups_apart)(&b, &groups, &targets, &loss, step)) return false;
    graph->value[loss].name = "loss";
    if (choice->slices > 1) graph->phase = DG_PHASE_AFTER;
    step->slots.of[DG_SLOT_LOSS] = loss;
    step->slots.of[DG_SLOT_ENTROPY] = targets.entropy;
    step->slots.of[DG_SLOT_CENTER] = targets.center;
    if (!dg_build_commit(&b, loss, &targets, step)) return false;
    dg_graph_sort_phases(graph);
    return run_target_passes(&b, teacher, step);
}

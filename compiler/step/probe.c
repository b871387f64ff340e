/* Builds the two graphs of a linear probe: the features of the frozen backbone, and the step that trains a linear layer on
 * them (eval_linear.py of the official code):
 *
 *   features   images -> [batch, F]
 *   train      features, labels -> logits, loss; backward; gradient norms; commit by SGD */
#include "compiler/step/differentiate.h"
#include "compiler/step/optimizer_inputs.h"
#include "compiler/step/step.h"

extern const struct dg_op dg_op_concat_columns, dg_op_cross_entropy, dg_op_grad_norms, dg_op_linear, dg_op_mean_tokens,
    dg_op_take_token;

struct build {
    struct dg_diagnostics *diag;
    const struct dg_probe_recipe *probe;
    struct dg_graph *graph;
    bool train; /* the step; false: the features */
};

/* A node of the probe itself. */
static bool add_node(struct build *b, const struct dg_op_use *use, const char *path, enum dg_node_role role,
                     dg_value *output)
{
    struct dg_error err = {0};
    struct dg_node_options options = {.train = b->train,
                                      .role = role,
                                      .application = dg_graph_trainer(b->graph, b->probe->model.name),
                                      .origin = b->probe->model.origin};
    options.origin.path = path;
    options.rows.batch = (int)b->probe->model.batch;
    if (dg_graph_node(b->graph, use, &options, output, &err) == DG_OK) return true;
    dg_diag_error(b->diag, &b->probe->model.origin, "%s of probe %s: %s", path, b->probe->model.name, err.text);
    return false;
}

static void no_output(struct build *b, const char *name, const char *why)
{
    dg_diag_error(b->diag, &b->probe->model.origin, "backbone %s has no output `%s`%s", b->probe->model.backbone, name,
                  why);
}

/* [CLS] of the last blocks, oldest first. */
static dg_value last_blocks(struct build *b, const struct dg_application *a)
{
    int64_t blocks = b->probe->blocks, taps = dg_application_repeats(a, "taps");
    dg_value *cls = dg_arena_alloc(b->graph->arena, (size_t)blocks * sizeof *cls), output[DG_MAX_OUTPUTS];
    if (!taps) {
        no_output(b, "taps", ", one value per block, so it has no last blocks: --set blocks=1 takes its features");
        return DG_NO_VALUE;
    }
    if (blocks > taps) {
        dg_diag_error(b->diag, &b->probe->model.origin, "blocks is %lld, and backbone %s has %lld", (long long)blocks,
                      b->probe->model.backbone, (long long)taps);
        return DG_NO_VALUE;
    }
    for (int64_t i = 0; i < blocks; i++) {
        dg_value tap = dg_application_repeated(a, "taps", taps - blocks + i);
        const char *path = dg_arena_printf(b->graph->arena, "cls.%lld", (long long)i);
        const struct dg_op_use take = {&dg_op_take_token, (union dg_attr[]){{.i = 0}}, &tap, 1};
        if (tap == DG_NO_VALUE || !add_node(b, &take, path, DG_ROLE_FORWARD, output)) return DG_NO_VALUE;
        cls[i] = output[DG_RESULT];
    }
    const struct dg_op_use concatenate = {&dg_op_concat_columns, (union dg_attr[]){{.i = 0}}, cls, (int)blocks};
    return add_node(b, &concatenate, "concatenated", DG_ROLE_FORWARD, output) ? output[DG_RESULT] : DG_NO_VALUE;
}

/* [CLS] and the mean of the patch tokens, a column of each in turn. */
static dg_value with_mean(struct build *b, const struct dg_application *a, dg_value cls)
{
    dg_value tokens = dg_application_output(a, "tokens"), output[DG_MAX_OUTPUTS];
    if (tokens == DG_NO_VALUE) {
        no_output(b, "tokens", ", whose mean `avgpool` takes");
        return DG_NO_VALUE;
    }
    const struct dg_graph_value *value = &b->graph->value[tokens];
    int64_t patches = value->grid_h * value->grid_w; /* behind the class token and registers, if there are any */
    int64_t first = patches > 0 && patches <= value->desc.dim[1] ? value->desc.dim[1] - patches : 1;
    const struct dg_op_use mean = {&dg_op_mean_tokens, (union dg_attr[]){{.i = first}}, &tokens, 1};
    if (!add_node(b, &mean, "mean", DG_ROLE_FORWARD, output)) return DG_NO_VALUE;
    dg_value both[] = {cls, output[DG_RESULT]};
    const struct dg_op_use interleave = {&dg_op_concat_columns, (union dg_attr[]){{.i = 1}}, both, 2};
    return add_node(b, &interleave, "interleaved", DG_ROLE_FORWARD, output) ? output[DG_RESULT] : DG_NO_VALUE;
}

dg_value dg_build_probe_features(const struct dg_step_request *from, struct dg_graph *graph, dg_value *images)
{
    const struct dg_probe_recipe *probe = from->probe;
    struct dg_diagnostics *diag = from->diag;
    struct build b = {.diag = diag, .probe = probe, .graph = graph};
    const struct dg_recipe_crops *image = &probe->model.image;
    struct dg_instance *backbone = dg_instance_create(from->program, graph, probe->model.backbone, probe->model.args,
                                                      &probe->model.origin, "", false);
    if (!backbone) return DG_NO_VALUE;
    struct dg_desc desc = dg_desc_make(DG_F32, 4, (int64_t[]){probe->model.batch, image->height, image->width, 3});
    if (!dg_desc_valid(&desc)) {
        dg_diag_error(diag, &image->size_origin, "images: a batch of %lld at %lldx%lld is empty or too large",
                      (long long)probe->model.batch, (long long)image->height, (long long)image->width);
        return DG_NO_VALUE;
    }
    *images = dg_graph_input(graph, "images", &desc);
    graph->value[*images].origin = image->size_origin;
    struct dg_row_range rows = {.batch = (int)probe->model.batch};
    struct dg_application *a =
        dg_instance_apply(backbone, images, 1, false, rows, dg_graph_application(graph, DG_EVALUATED, "features"));
    if (!a) return DG_NO_VALUE;
    dg_value features = dg_application_output(a, "features");
    if (features == DG_NO_VALUE) {
        no_output(&b, "features", "");
    } else if (probe->blocks > 1) {
        features = last_blocks(&b, a);
    } else if (probe->avgpool) {
        features = with_mean(&b, a, features);
    }
    if (features != DG_NO_VALUE && graph->value[features].desc.ndim != 2) {
        dg_diag_error(diag, &probe->model.origin, "the features of backbone %s are not one vector per image",
                      probe->model.backbone);
        return DG_NO_VALUE;
    }
    return features;
}

/* The commit of one parameter by the probe's optimiser. Weights and biases decay alike, as published. */
static bool commit_param(struct build *b, dg_value param, dg_value gradient, dg_value norms, int norm_index)
{
    struct dg_graph *graph = b->graph;
    const struct dg_op *op = b->probe->optimizer;
    dg_value input[DG_MAX_STEP_INPUTS];
    int count = dg_step_inputs(
        graph, op,
        &(struct dg_step_values){
            .rate = DG_NO_VALUE, .param = param, .gradient = gradient, .norms = norms, .teacher = DG_NO_VALUE},
        input);
    graph->value[param].decay = true;
    const char *path = dg_arena_printf(graph->arena, "%s %s", op->name, graph->value[param].name);
    const struct dg_op_use use = {op, (union dg_attr[]){{.i = norm_index}, {.i = true}}, input, count};
    return add_node(b, &use, path, DG_ROLE_COMMIT, NULL);
}

bool dg_build_probe_step(const struct dg_step_request *from, int64_t dim, struct dg_graph *graph,
                         struct dg_train_step *step)
{
    const struct dg_probe_recipe *probe = from->probe;
    struct dg_diagnostics *diag = from->diag;
    struct build b = {.diag = diag, .probe = probe, .graph = graph, .train = true};
    struct dg_init normal = {DG_INIT_NORMAL, 0.01}, zero = {.kind = DG_INIT_CONSTANT};
    struct dg_desc features = dg_desc_make(DG_F32, 2, (int64_t[]){probe->model.batch, dim}),
                   labels = dg_desc_make(DG_I64, 1, &probe->model.batch),
                   weight = dg_desc_make(DG_F32, 2, (int64_t[]){probe->classes, dim}),
                   bias = dg_desc_make(DG_F32, 1, &probe->classes);
    *step = (struct dg_train_step){.slots = dg_no_slots()};
    if (!dg_desc_valid(&weight)) {
        dg_diag_error(diag, &probe->model.origin, "%lld classes of %lld features are too many bytes",
                      (long long)probe->classes, (long long)dim);
        return false;
    }
    dg_value x = dg_graph_input(graph, "features", &features), y = dg_graph_input(graph, "labels", &labels);
    dg_value param[] = {
        dg_graph_param(graph, "linear.weight", &weight, DG_REGION_PARAM, DG_TENSOR_TRAINABLE, &normal,
                       probe->model.origin),
        dg_graph_param(graph, "linear.bias", &bias, DG_REGION_PARAM, DG_TENSOR_TRAINABLE, &zero, probe->model.origin)};
    dg_value logits[DG_MAX_OUTPUTS], loss[DG_MAX_OUTPUTS], norms[DG_MAX_OUTPUTS], gradient[3];
    uint32_t first = graph->num_nodes;
    const struct dg_op_use linear = {&dg_op_linear, (union dg_attr[]){{.i = probe->classes}, {.i = true}},
                                     (dg_value[]){x, param[0], param[1]}, 3};
    if (!add_node(&b, &linear, "linear", DG_ROLE_FORWARD, logits)) return false;
    const struct dg_op_use cross_entropy = {&dg_op_cross_entropy, NULL, (dg_value[]){logits[0], y}, 2};
    if (!add_node(&b, &cross_entropy, "loss", DG_ROLE_FORWARD, loss)) return false;
    struct dg_gradients gradients = {0};
    if (!dg_differentiate(graph, diag, first, loss[0], &gradients)) return false;
    for (int p = 0; p < 2; p++) gradient[p] = dg_gradients_of(&gradients, param[p]);
    gradient[2] = loss[0];
    if (!add_node(&b, &(struct dg_op_use){&dg_op_grad_norms, NULL, gradient, 3}, "grad_norms", DG_ROLE_FORWARD, norms))
        return false;
    for (int p = 0; p < 2; p++)
        if (!commit_param(&b, param[p], gradient[p], norms[0], p)) return false;
    graph->value[logits[0]].name = "logits";
    graph->value[loss[0]].name = "loss";
    graph->value[norms[1]].name = "grad_summary";
    dg_value *slot = step->slots.of;
    slot[DG_SLOT_FEATURES] = x;
    slot[DG_SLOT_LABELS] = y;
    slot[DG_SLOT_LOSS] = loss[0];
    slot[DG_SLOT_LOGITS] = logits[0];
    slot[DG_SLOT_GRAD_SUMMARY] = norms[1];
    slot[DG_SLOT_WEIGHT] = param[0];
    slot[DG_SLOT_BIAS] = param[1];
    return true;
}

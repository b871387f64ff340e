/* Reverse mode: walks the nodes of one application backwards, from the loss to whatever is trainable, and asks each op's
 * own rule for the backward nodes. Sums over several readers and several applications are formed here; a rule only says
 * what one node contributes. */
#include "compiler/step/differentiate.h"

#include <string.h>

extern const struct dg_op dg_op_add, dg_op_zeros_like;

dg_value dg_gradients_of(const struct dg_gradients *gradients, dg_value value)
{
    return value < gradients->size ? gradients->of[value] : DG_NO_VALUE;
}

/* Room for values that were made since: the graph grows while gradients are collected. */
static void reserve(struct dg_graph *graph, struct dg_gradients *gradients, uint32_t size)
{
    if (size <= gradients->size) return;
    dg_value *of = dg_arena_alloc(graph->arena, (size_t)size * 2 * sizeof *of);
    for (uint32_t v = 0; v < size * 2; v++) of[v] = v < gradients->size ? gradients->of[v] : DG_NO_VALUE;
    gradients->of = of;
    gradients->size = size * 2;
}

struct driver {
    struct dg_graph *graph;
    struct dg_gradients *gradients;
    struct dg_graph_node forward; /* a copy: emitting moves the array */
    struct dg_op_call call;
    struct dg_error err;
};

static enum dg_status emit(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output)
{
    struct driver *d = b->compiler;
    struct dg_node_options options = {.train = d->forward.train,
                                      .role = DG_ROLE_BACKWARD,
                                      .stream = d->forward.stream, /* the same random draws as the forward node */
                                      .rows = d->forward.rows,
                                      .application = d->forward.application,
                                      .block = d->forward.block,
                                      .forward_of = d->forward.forward_of,
                                      .origin = d->forward.origin};
    enum dg_status status =
        dg_graph_node(d->graph, &(struct dg_op_use){op, attr, input, num_inputs}, &options, output, b->err);
    reserve(d->graph, d->gradients, d->graph->num_values);
    return status;
}

dg_value dg_sum_over_slices(struct dg_graph *graph, dg_value like, const char *name)
{
    enum dg_phase phase = graph->phase;
    struct dg_node_options options = {.application = dg_graph_trainer(graph, "sums"), .origin = {.path = name}};
    dg_value zeros[DG_MAX_OUTPUTS] = {DG_NO_VALUE};
    struct dg_error err; /* any shape has zeros */
    graph->phase = DG_PHASE_BEFORE;
    dg_graph_node(graph, &(struct dg_op_use){&dg_op_zeros_like, NULL, &like, 1}, &options, zeros, &err);
    graph->phase = phase;
    graph->value[zeros[0]].collects = true;
    return zeros[0];
}

/* Where the batch is cut, a parameter's gradient begins as a sum of earlier slices. */
static dg_value gradient_so_far(struct dg_grad_builder *b, int i)
{
    struct driver *d = b->compiler;
    dg_value of = b->input[i], sum = dg_gradients_of(d->gradients, of);
    bool begins = sum == DG_NO_VALUE && of != DG_NO_VALUE && b->wants[i] &&
                  d->graph->value[of].flags & DG_TENSOR_TRAINABLE && d->graph->phase == DG_PHASE_LOOP;
    if (!begins) return sum;
    sum = dg_sum_over_slices(d->graph, of, dg_arena_printf(d->graph->arena, "sum of d:%s", d->graph->value[of].name));
    reserve(d->graph, d->gradients, d->graph->num_values);
    d->gradients->of[of] = sum;
    return sum;
}

static void set_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    struct driver *d = b->compiler;
    d->gradients->of[b->input[i]] = gradient;
}

static enum dg_status add_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    dg_value so_far = gradient_so_far(b, i);
    if (so_far != DG_NO_VALUE) {
        dg_value both[2] = {so_far, gradient};
        DG_TRY(emit(b, &dg_op_add, NULL, both, 2, &gradient));
    }
    set_gradient(b, i, gradient);
    return DG_OK;
}

bool dg_differentiate(struct dg_graph *graph, struct dg_diagnostics *diag, uint32_t first, dg_value loss,
                      struct dg_gradients *gradients)
{
    uint32_t last = graph->num_nodes;
    /* Which values lead from something trainable: parameters, and outputs of nodes that read such values. */
    bool *leads = dg_arena_alloc(graph->arena, (size_t)graph->num_values + 1);
    for (uint32_t v = 0; v < graph->num_values; v++) leads[v] = graph->value[v].flags & DG_TENSOR_TRAINABLE;
    for (uint32_t n = first; n < last; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        bool any = false;
        for (int i = 0; i < node->num_inputs; i++) any |= node->input[i] != DG_NO_VALUE && leads[node->input[i]];
        for (int o = 0; o < node->num_outputs; o++) leads[node->output[o]] = any;
    }

    reserve(graph, gradients, graph->num_values);
    gradients->of[loss] = loss;
    bool ok = true;
    for (uint32_t n = last; n-- > first;) {
        struct driver d = {.graph = graph, .gradients = gradients, .forward = graph->node[n]};
        d.call = dg_graph_call(graph, &graph->node[n], NULL);
        dg_value diff_output[DG_MAX_OUTPUTS];
        bool reached = false;
        for (int o = 0; o < d.forward.num_outputs; o++) {
            diff_output[o] = dg_gradients_of(gradients, d.forward.output[o]);
            reached |= diff_output[o] != DG_NO_VALUE && leads[d.forward.output[o]];
        }
        if (!reached) continue;
        bool *wants = dg_arena_alloc(graph->arena, (size_t)d.forward.num_inputs + 1);
        for (int i = 0; i < d.forward.num_inputs; i++)
            wants[i] = d.forward.input[i] != DG_NO_VALUE && leads[d.forward.input[i]];
        struct dg_grad_builder b = {.call = &d.call,
                                    .input = d.forward.input,
                                    .output = d.forward.output,
                                    .diff_output = diff_output,
                                    .wants = wants,
                                    .compiler = &d,
                                    .emit = emit,
                                    .gradient_so_far = gradient_so_far,
                                    .set_gradient = set_gradient,
                                    .add_gradient = add_gradient,
                                    .err = &d.err};
        if (d.forward.op->grad(&b) != DG_OK) {
            dg_diag_error(diag, &d.forward.origin, "no gradient for node %s (%s) in %s: %s", d.forward.origin.path,
                          d.forward.op->name, dg_node_label(graph, &d.forward), d.err.text);
            ok = false;
            continue;
        }
        /* The gradients of this node's outputs are read by no other rule. */
        for (int o = 0; o < d.forward.num_outputs; o++) gradients->of[d.forward.output[o]] = DG_NO_VALUE;
    }
    return ok;
}

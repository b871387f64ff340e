/* What an optimiser's node reads: the op lists it (struct dg_step_input), here it is found. */
#include "compiler/step/optimizer_inputs.h"

static dg_value state(struct dg_graph *graph, const char *name, const struct dg_desc *desc, dg_value param)
{
    struct dg_init zero = {.kind = DG_INIT_CONSTANT};
    const struct dg_graph_value *value = &graph->value[param];
    return dg_graph_param(graph, dg_arena_printf(graph->arena, "optim.%s.%s", name, value->name), desc, DG_REGION_STATE,
                          0, &zero, value->origin);
}

int dg_step_inputs(struct dg_graph *graph, const struct dg_op *op, const struct dg_step_values *values,
                   dg_value input[DG_MAX_STEP_INPUTS])
{
    struct dg_desc desc = graph->value[values->param].desc, count = dg_desc_scalar(DG_I64);
    int n = 0;
    for (const struct dg_step_input *in = op->step_inputs; in->source != DG_STEP_END; in++) {
        dg_value value = DG_NO_VALUE;
        switch (in->source) {
        case DG_STEP_PARAM: value = values->param; break;
        case DG_STEP_GRADIENT: value = values->gradient; break;
        case DG_STEP_NORMS: value = values->norms; break;
        case DG_STEP_STATE: value = state(graph, in->name, &desc, values->param); break;
        case DG_STEP_COUNT: value = state(graph, in->name, &count, values->param); break;
        case DG_STEP_TEACHER: value = values->teacher; break;
        case DG_STEP_CONTROL: value = dg_graph_control(graph, in->name); break;
        case DG_STEP_RATE:
            value = values->rate != DG_NO_VALUE ? values->rate : dg_graph_control(graph, in->name);
            break;
        case DG_STEP_AVERAGE:
            if (values->teacher != DG_NO_VALUE) value = dg_graph_control(graph, in->name);
            break;
        case DG_STEP_FREEZE:
            if (values->freeze) value = dg_graph_control(graph, values->freeze);
            break;
        case DG_STEP_ABSENT:
        case DG_STEP_END: break;
        }
        input[n++] = value;
    }
    return n;
}

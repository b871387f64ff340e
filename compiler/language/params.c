/* Parameters of modules and ops, and how they begin. */
#include "compiler/language/frame.h"

#include <math.h>
#include <string.h>

/* He et al. 2015, for ReLU, by fan-out: the std of a weight [out, in, ...] is sqrt(2 / (out * window)). */
static struct dg_init settle_init(const struct dg_init *init, const struct dg_desc *weight)
{
    if (init->kind != DG_INIT_KAIMING_NORMAL) return *init;
    double fan_out = (double)weight->dim[0];
    for (int d = 2; d < weight->ndim; d++) fan_out *= (double)weight->dim[d];
    return (struct dg_init){DG_INIT_NORMAL, sqrt(2 / fan_out)};
}

dg_value dg_frame_param(struct dg_frame *f, const char *name, const struct dg_desc *desc, const struct dg_init *init,
                        uint32_t flags, const struct dg_origin *at)
{
    struct dg_instance *instance = f->application->instance;
    struct dg_graph *graph = instance->graph;
    const dg_value *known = dg_string_map_find(&instance->names, name);
    if (known) {
        if (dg_desc_equal(&graph->value[*known].desc, desc)) return *known;
        char now[96], before[96];
        dg_diag_error(dg_frame_diag(f), at, "parameter %s would be %s here and is %s elsewhere", name,
                      dg_desc_text(now, sizeof now, desc),
                      dg_desc_text(before, sizeof before, &graph->value[*known].desc));
        dg_frame_explain(f, NULL, "");
        return DG_NO_VALUE;
    }
    if (!dg_desc_valid(desc)) {
        dg_diag_error(dg_frame_diag(f), at, "parameter %s would be too large or empty", name);
        dg_frame_explain(f, NULL, "");
        return DG_NO_VALUE;
    }
    struct dg_init settled = settle_init(init, desc);
    if (!instance->trainable) flags &= ~(uint32_t)DG_TENSOR_TRAINABLE;
    struct dg_origin origin = *at;
    origin.path = name;
    dg_value value = dg_graph_param(graph, dg_arena_printf(dg_frame_arena(f), "%s%s", instance->prefix, name), desc,
                                    DG_REGION_PARAM, flags, &settled, origin);
    const char *word = strrchr(name, '.');
    graph->value[value].bias = !strcmp(word ? word + 1 : name, "bias");
    instance->param = dg_arena_grow(dg_frame_arena(f), instance->param, instance->num_params, &instance->param_capacity,
                                    sizeof *instance->param);
    instance->param[instance->num_params++] = value;
    dg_string_map_add(dg_frame_arena(f), &instance->names, name, value);
    return value;
}

bool dg_frame_read_init(struct dg_frame *f, const struct dg_yaml *yaml, struct dg_init *init)
{
    static const struct {
        const char *name;
        enum dg_init_kind kind;
    } kinds[] = {{"trunc_normal", DG_INIT_TRUNC_NORMAL},
                 {"normal", DG_INIT_NORMAL},
                 {"uniform", DG_INIT_UNIFORM},
                 {"constant", DG_INIT_CONSTANT}};
    const char *open = yaml->kind == DG_YAML_SCALAR ? strchr(yaml->text, '(') : NULL;
    size_t length = open ? strlen(open) : 0;
    if (yaml->kind == DG_YAML_SCALAR && !strcmp(yaml->text, "kaiming_normal")) {
        *init = (struct dg_init){DG_INIT_KAIMING_NORMAL, 0};
        return true;
    }
    for (size_t k = 0; open && length > 2 && open[length - 1] == ')' && k < 4; k++) {
        struct dg_term value;
        if ((size_t)(open - yaml->text) != strlen(kinds[k].name) ||
            strncmp(yaml->text, kinds[k].name, (size_t)(open - yaml->text)))
            continue;
        if (!dg_expr_evaluate(dg_frame_arena(f), dg_frame_diag(f), &yaml->origin,
                              dg_arena_strndup(dg_frame_arena(f), open + 1, length - 2), f->scope, &value))
            return false;
        if (value.kind > DG_TERM_FLOAT) break;
        *init = (struct dg_init){kinds[k].kind, dg_term_number(&value)};
        return true;
    }
    dg_diag_error(dg_frame_diag(f), &yaml->origin,
                  "expected an initialiser: trunc_normal(std), normal(std), uniform(bound), constant(value) or "
                  "kaiming_normal");
    return false;
}

bool dg_frame_declare_params(struct dg_frame *f)
{
    struct dg_yaml *params = dg_yaml_get(dg_frame_arena(f), f->module->map, "params");
    bool ok = true;
    for (size_t i = 0; params && i < params->count; i++) {
        struct dg_yaml *p = params->item[i].value, *shape = dg_yaml_get(dg_frame_arena(f), p, "shape"),
                       *init_yaml = dg_yaml_get(dg_frame_arena(f), p, "init");
        bool wanted = dg_frame_is_wanted(f, p, f->scope);
        struct dg_term dims;
        struct dg_init init = {DG_INIT_CONSTANT, 0};
        struct dg_desc desc = {.dtype = DG_F32};
        dg_yaml_check_used(dg_frame_diag(f), p, "a parameter");
        if (!wanted) continue;
        bool good = shape && dg_expr_yaml(dg_frame_arena(f), dg_frame_diag(f), shape, f->scope, &dims) &&
                    (!init_yaml || dg_frame_read_init(f, init_yaml, &init));
        if (good && (dims.kind != DG_TERM_LIST || dims.count > DG_MAX_DIMS)) good = false;
        for (size_t d = 0; good && d < dims.count; d++) {
            good = dims.item[d].kind == DG_TERM_INT;
            desc.dim[desc.ndim++] = dims.item[d].i;
        }
        if (!good)
            dg_diag_error(dg_frame_diag(f), &params->item[i].key_origin,
                          "parameter %s needs a shape: a list of whole numbers", params->item[i].key);
        const char *name = dg_arena_printf(dg_frame_arena(f), "%s%s", f->path, params->item[i].key);
        ok &= good &&
              dg_frame_param(f, name, &desc, &init, DG_TENSOR_TRAINABLE, &params->item[i].key_origin) != DG_NO_VALUE;
    }
    return ok;
}

dg_value dg_frame_own_param(struct dg_frame *f, const char *name)
{
    const dg_value *known =
        dg_string_map_find(&f->application->instance->names, dg_arena_printf(dg_frame_arena(f), "%s%s", f->path, name));
    return known ? *known : DG_NO_VALUE;
}

dg_value dg_frame_find_param(struct dg_frame *f, const struct dg_yaml *yaml)
{
    dg_value known = dg_frame_own_param(f, yaml->kind == DG_YAML_SCALAR ? yaml->text : "?");
    if (known != DG_NO_VALUE) return known;
    dg_diag_error(dg_frame_diag(f), &yaml->origin, "module %s declares no parameter %s under `params:`",
                  f->module->name, yaml->kind == DG_YAML_SCALAR ? yaml->text : "?");
    return DG_NO_VALUE;
}

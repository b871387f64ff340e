/* The keys of a module, but for its nodes. */
#include "compiler/base/choices.h"
#include "compiler/language/frame.h"

#include "ops/base/base.h"

#include <string.h>

static const char *attr_name(const void *context, int index)
{
    const struct dg_op *op = context;
    return op->attrs[index].internal ? NULL : op->attrs[index].name;
}

/* `defaults: {op: {attribute: value}}`: what is misspelt there would have no effect, and nobody would know. */
static bool check_defaults(struct dg_frame *f, const struct dg_yaml *defaults)
{
    bool ok = true;
    for (size_t i = 0; i < defaults->count; i++) {
        const struct dg_yaml_item *item = &defaults->item[i];
        const struct dg_op *op = dg_yaml_op(item->key);
        if (!op || item->value->kind != DG_YAML_MAP) {
            dg_diag_error(dg_frame_diag(f), &item->key_origin,
                          op ? "the defaults of %s must be a mapping%s" : "there is no op %s%s", item->key,
                          op ? "" : dg_op_choices(dg_frame_arena(f), item->key, dg_yaml_op_name, dg_op_count()));
            ok = false;
            continue;
        }
        for (size_t k = 0; k < item->value->count; k++) {
            const struct dg_yaml_item *attr = &item->value->item[k];
            int a = 0, count = dg_op_num_attrs(op);
            while (a < count && (op->attrs[a].internal || strcmp(op->attrs[a].name, attr->key))) a++;
            if (a < count || (op->params && !strcmp(attr->key, "init"))) continue;
            dg_diag_error(dg_frame_diag(f), &attr->key_origin, "%s has no key %s%s", op->name, attr->key,
                          dg_choices(dg_frame_arena(f), "it has", attr->key, attr_name, op, count));
            ok = false;
        }
    }
    return ok;
}

static bool all_words(const struct dg_yaml *node, enum dg_yaml_kind kind)
{
    if (node->kind != kind) return false;
    for (size_t i = 0; i < node->count; i++)
        if (node->item[i].value->kind != DG_YAML_SCALAR) return false;
    return true;
}

bool dg_frame_check_module(struct dg_frame *f)
{
    struct dg_arena *arena = dg_frame_arena(f);
    struct dg_diagnostics *diag = dg_frame_diag(f);
    struct dg_yaml *map = f->module->map;
    const struct dg_yaml *inputs = dg_yaml_get(arena, map, "inputs"), *outputs = dg_yaml_get(arena, map, "outputs"),
                         *defaults = dg_yaml_get(arena, map, "defaults"), *params = dg_yaml_get(arena, map, "params"),
                         *nodes = dg_yaml_get(arena, map, "nodes");
    int errors = dg_diag_errors(diag);
    bool ok = true;
    dg_yaml_check_used(diag, map, "a module");
    if (inputs && (!all_words(inputs, DG_YAML_LIST) || !inputs->count)) {
        dg_diag_error(diag, &inputs->origin, "`inputs` must be a list of names, as in [x, y]");
        ok = false;
    }
    if (outputs && !all_words(outputs, DG_YAML_MAP)) {
        dg_diag_error(diag, &outputs->origin, "`outputs` must be a mapping of names to values, as in {features: cls}");
        ok = false;
    }
    if (params && params->kind != DG_YAML_MAP) {
        dg_diag_error(diag, &params->origin, "`params` must be a mapping, as in {token: {shape: [1, 1, dim]}}");
        ok = false;
    }
    if (defaults && defaults->kind != DG_YAML_MAP) {
        dg_diag_error(diag, &defaults->origin, "`defaults` must be a mapping, as in {linear: {bias: false}}");
        ok = false;
    } else if (defaults) {
        ok &= check_defaults(f, defaults);
    }
    if (!nodes || nodes->kind != DG_YAML_MAP || !nodes->count) {
        dg_diag_error(diag, nodes ? &nodes->origin : &map->origin, "module %s needs `nodes`, a mapping",
                      f->module->name);
        ok = false;
    }
    return ok && dg_diag_errors(diag) == errors;
}

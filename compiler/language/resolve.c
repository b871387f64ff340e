/* References: what a name in `from`, `outputs` or `apply` means. */
#include "compiler/base/choices.h"
#include "compiler/language/frame.h"

#include "ops/base/base.h"

#include <ctype.h>
#include <string.h>

struct dg_result dg_frame_poison(struct dg_frame *f)
{
    f->application->failed = true;
    return (struct dg_result){.poisoned = true};
}

struct dg_result dg_frame_value(dg_value value) { return (struct dg_result){.output = {value}}; }

/* The argument of that name in the outermost module around `f` that has one from outside: what the user wrote. NULL: none. */
static const struct dg_scope *find_argument(const struct dg_frame *f, const char *name)
{
    const struct dg_scope *found = NULL;
    for (; f; f = f->outer) {
        const struct dg_scope *scope = f->scope;
        while (scope && strcmp(scope->name, name)) scope = scope->outer;
        if (!scope) break;
        if (scope->origin.line) found = scope;
    }
    return found;
}

/* Does the message have the text as a word? */
static bool has_word(const char *message, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = message; (at = strstr(at, text)); at++)
        if ((at == message || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length])) return true;
    return false;
}

/* The arguments that the scalars of a mapping name, and whose values the message has. */
static void explain_arguments(const struct dg_frame *f, const struct dg_yaml *yaml, const char *message)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    const struct dg_scope *said[8];
    int count = 0;
    for (size_t i = 0; yaml->kind == DG_YAML_MAP && i < yaml->count; i++) {
        const char *at = yaml->item[i].value->kind == DG_YAML_SCALAR ? yaml->item[i].value->text : "";
        for (size_t length; at += strcspn(at, letters), (length = strspn(at, letters)) > 0; at += length) {
            const char *name = dg_arena_strndup(dg_frame_arena(f), at, length);
            const struct dg_scope *argument = find_argument(f, name);
            for (int s = 0; s < count; s++)
                if (argument == said[s]) argument = NULL;
            if (!argument || count == 8) continue;
            char text[64];
            dg_term_text(text, sizeof text, &argument->value);
            if (!has_word(message, text)) continue;
            said[count++] = argument;
            dg_diag_note(dg_frame_diag(f), &argument->origin, "%s is %s from here", name, text);
        }
    }
}

void dg_frame_explain(struct dg_frame *f, const struct dg_yaml *yaml, const char *message)
{
    if (yaml) explain_arguments(f, yaml, message);
    for (struct dg_frame *g = f; g->outer; g = g->outer)
        dg_diag_note(dg_frame_diag(f), &g->use, "in module %s, used here as %.*s", g->module->name,
                     (int)strlen(g->path) - 1, g->path);
    const struct dg_application *a = f->application;
    if (a->source == DG_NO_VALUE) return;
    const struct dg_graph_value *source = &a->instance->graph->value[a->source];
    if (source->origin.line)
        dg_diag_note(dg_frame_diag(f), &source->origin, "for %s: %s is %lldx%lld from here",
                     a->instance->graph->application[a->number].label, source->name, (long long)source->grid_h,
                     (long long)source->grid_w);
}

struct dg_named *dg_frame_add(struct dg_frame *f, const char *name, struct dg_yaml *yaml, int room)
{
    f->named = dg_arena_grow(dg_frame_arena(f), f->named, f->num_named, &f->named_capacity, sizeof *f->named);
    struct dg_named *named = &f->named[f->num_named++];
    *named = (struct dg_named){.name = name, .yaml = yaml};
    named->item = dg_arena_alloc(dg_frame_arena(f), ((size_t)room + 1) * sizeof *named->item);
    return named;
}

static const char *name_at(const void *context, int index)
{
    return ((const struct dg_frame *)context)->named[index].name;
}

static bool ends_name(char c) { return !c || c == '.' || c == '['; }

/* The name that the reference begins with, the longest that fits, as names have dots; *rest is what follows it. NULL:
 * reported. */
static const struct dg_named *find_named(struct dg_frame *f, const char *reference, const struct dg_origin *at,
                                         const char **rest)
{
    const struct dg_named *best = NULL;
    size_t length = 0;
    for (size_t i = 0; i < f->num_named; i++) {
        size_t n = strlen(f->named[i].name);
        if (n >= length && !strncmp(reference, f->named[i].name, n) && ends_name(reference[n])) {
            best = &f->named[i];
            length = n;
        }
    }
    *rest = reference + length;
    if (best) return best;
    dg_diag_error(dg_frame_diag(f), at, "nothing above is called %s%s", reference,
                  dg_did_you_mean(dg_frame_arena(f), reference, name_at, f, (int)f->num_named));
    return NULL;
}

/* The repetition that "[index]" at *rest names; *rest moves behind it. NULL: reported. */
static const struct dg_result *find_repetition(struct dg_frame *f, const struct dg_named *named, const char *reference,
                                               const char **rest, const struct dg_origin *at,
                                               const struct dg_scope *scope)
{
    const char *end = strchr(*rest, ']');
    struct dg_term index;
    if (!end || !ends_name(end[1])) {
        dg_diag_error(dg_frame_diag(f), at, "%s: expected name[index] or name[index].output", reference);
        return NULL;
    }
    if (!named->repeated) {
        dg_diag_error(dg_frame_diag(f), at, "%s: only a repeated node is indexed, as name[index]", reference);
        return NULL;
    }
    const char *text = dg_arena_strndup(dg_frame_arena(f), *rest + 1, (size_t)(end - *rest) - 1);
    if (!dg_expr_evaluate(dg_frame_arena(f), dg_frame_diag(f), at, text, scope, &index)) return NULL;
    int64_t i = index.kind != DG_TERM_INT ? INT64_MIN : index.i < 0 ? index.i + named->count : index.i;
    if (i < 0 || i >= named->count) {
        if (!named->cut)
            dg_diag_error(dg_frame_diag(f), at, "%s: there are %d of %s", reference, named->count, named->name);
        return NULL;
    }
    *rest = end + 1;
    return &named->item[i];
}

struct dg_result dg_frame_resolve(struct dg_frame *f, const char *reference, const struct dg_origin *at,
                                  const struct dg_scope *scope)
{
    const char *rest;
    const struct dg_named *named = find_named(f, reference, at, &rest);
    if (!named || (!named->count && named->item->poisoned)) return dg_frame_poison(f);
    const struct dg_result *item = dg_named_last(named);
    if (*rest == '[') item = find_repetition(f, named, reference, &rest, at, scope);
    if (!item) return dg_frame_poison(f);
    struct dg_result result = *item;
    if (result.poisoned || !*rest) return dg_frame_settle(result);
    if (*rest == '.') rest++;
    if (result.frame) {
        bool found;
        struct dg_result output = dg_frame_output(result.frame, rest, &found);
        return found ? output : dg_frame_resolve(result.frame, rest, at, scope);
    }
    for (int o = 0; result.op && o < dg_op_num_outputs(result.op); o++)
        if (!strcmp(result.op->outputs[o].name, rest) && !(result.op->outputs[o].flags & DG_SAVED))
            return dg_frame_value(result.output[o]);
    dg_diag_error(dg_frame_diag(f), at, "%s has no output %s", named->name, rest);
    return dg_frame_poison(f);
}

struct dg_result dg_frame_output(struct dg_frame *f, const char *name, bool *found)
{
    struct dg_yaml *outputs = dg_yaml_get(dg_frame_arena(f), f->module->map, "outputs");
    const struct dg_yaml *value = dg_yaml_get(dg_frame_arena(f), outputs, name);
    *found = value && value->kind == DG_YAML_SCALAR;
    return *found ? dg_frame_resolve(f, value->text, &value->origin, f->scope) : (struct dg_result){0};
}

struct dg_result dg_frame_default_output(struct dg_frame *f)
{
    struct dg_yaml *outputs = dg_yaml_get(dg_frame_arena(f), f->module->map, "outputs");
    if (!outputs || outputs->kind != DG_YAML_MAP || !outputs->count) return f->previous;
    const struct dg_yaml *first = outputs->item[0].value;
    return first->kind == DG_YAML_SCALAR ? dg_frame_resolve(f, first->text, &first->origin, f->scope) : f->previous;
}

struct dg_result dg_frame_settle(struct dg_result result)
{
    return result.frame && !result.poisoned ? dg_frame_default_output(result.frame) : result;
}

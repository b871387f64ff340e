#include "compiler/language/recipe_reader.h"

#include "ops/base/base.h"

#include <string.h>

static struct dg_arena *arena_of(const struct dg_reader *r) { return r->program->arena; }
static struct dg_diagnostics *diag_of(const struct dg_reader *r) { return r->program->diag; }
static void *field_of(const struct dg_reader *r, const struct dg_key *key) { return (char *)r->recipe + key->field; }

/* --- the tree, with defaults --- */

static void forget_places(struct dg_yaml *node)
{
    node->origin.line = 0;
    for (size_t i = 0; i < node->count; i++) {
        node->item[i].key_origin.line = 0;
        forget_places(node->item[i].value);
    }
}

void dg_put_default(struct dg_program *program, struct dg_yaml *map, const char *name, const char *text)
{
    struct dg_yaml *parsed =
        dg_yaml_parse(program->arena, program->diag, program->first->map->origin.file, text, strlen(text));
    if (!parsed || parsed->count != 1) return; /* reported; our own text */
    forget_places(parsed);
    dg_yaml_put(program->arena, map, name, parsed->item[0].value);
}

/* The value of `name` in a mapping. If it is absent, the YAML text `otherwise` is put into the tree in its place; with
 * `otherwise` NULL the result is then NULL. */
static struct dg_yaml *get(struct dg_reader *r, struct dg_yaml *map, const char *name, const char *otherwise)
{
    struct dg_yaml *value = dg_yaml_get(arena_of(r), map, name);
    if (value || !otherwise) return value;
    dg_put_default(r->program, map, name, otherwise);
    return dg_yaml_get(arena_of(r), map, name);
}

static void report_missing(struct dg_reader *r, const struct dg_yaml *map, const char *path)
{
    const struct dg_origin *at = map->origin.line > 0 ? &map->origin : &r->map->origin; /* `map` may be a default */
    dg_diag_error(diag_of(r), at, "%s %s needs %s", r->kind, r->name, path);
}

struct dg_yaml *dg_read_path(struct dg_reader *r, const char *path)
{
    struct dg_yaml *node = r->map;
    for (const char *dot; node && (dot = strchr(path, '.')); path = dot + 1)
        node = dg_yaml_get(arena_of(r), node, dg_arena_strndup(arena_of(r), path, (size_t)(dot - path)));
    return dg_yaml_get(arena_of(r), node, path);
}

struct dg_yaml *dg_read_map(struct dg_reader *r, const char *path)
{
    struct dg_yaml *node = dg_read_path(r, path);
    return node && node->kind == DG_YAML_MAP ? node : NULL;
}

void dg_read_show_arguments(struct dg_reader *r, struct dg_yaml *with, const struct dg_yaml *module,
                            struct dg_args *args)
{
    struct dg_definition *base;
    const struct dg_scope *scope;
    if (!module || module->kind != DG_YAML_SCALAR || !with) return;
    const struct dg_origin *at = module->origin.line > 0 ? &module->origin : &r->map->origin;
    if (!dg_program_bind_args(r->program, module->text, at, args, &base, &scope)) return;
    for (; scope; scope = scope->outer) dg_program_show_argument(r->program, with, scope, false);
}

/* --- values --- */

/* The range and type of a number. */
struct bounds {
    bool integer;
    double min, max;
};

static bool read_expression(struct dg_reader *r, const struct dg_yaml *yaml, const char *text, const char *path,
                            struct bounds bounds, double *result)
{
    struct dg_term term;
    if (!dg_expr_evaluate(arena_of(r), diag_of(r), &yaml->origin, text, r->scope, &term)) return false;
    if (term.kind > DG_TERM_FLOAT || (bounds.integer && term.kind != DG_TERM_INT)) {
        char got[64];
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a %snumber, got %s", path, bounds.integer ? "whole " : "",
                      dg_term_text(got, sizeof got, &term));
        return false;
    }
    *result = dg_term_number(&term);
    if (*result >= bounds.min && *result <= bounds.max) return true;
    dg_diag_error(diag_of(r), &yaml->origin, "%s is %.9g, outside %.9g .. %.9g", path, *result, bounds.min, bounds.max);
    return false;
}

static bool read_number(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, struct bounds bounds,
                        double *result)
{
    if (yaml->kind == DG_YAML_SCALAR) return read_expression(r, yaml, yaml->text, path, bounds, result);
    dg_diag_error(diag_of(r), &yaml->origin, "%s must be a %snumber", path, bounds.integer ? "whole " : "");
    return false;
}

const char *dg_read_word(struct dg_reader *r, const struct dg_yaml *yaml, const char *path)
{
    if (yaml->kind == DG_YAML_SCALAR && *yaml->text) return yaml->text;
    dg_diag_error(diag_of(r), &yaml->origin, "%s must be a word", path);
    return NULL;
}

static void read_bool(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, bool *result)
{
    struct dg_term term;
    if (!dg_expr_yaml(arena_of(r), diag_of(r), yaml, r->scope, &term)) return;
    *result = term.kind == DG_TERM_BOOL && term.i;
    if (term.kind != DG_TERM_BOOL) dg_diag_error(diag_of(r), &yaml->origin, "%s must be true or false", path);
}

/* "own (..), copy (..) or ema (..)" */
static const char *list_choices(struct dg_reader *r, const struct dg_key_choice *choice, const char *last)
{
    const char *text = "";
    for (int i = 0; choice[i].word; i++) {
        const char *before = !i ? "" : choice[i + 1].word ? ", " : last, *doc = choice[i].doc;
        text = dg_arena_printf(arena_of(r), "%s%s%s%s%s%s", text, before, choice[i].word, doc ? " (" : "",
                               doc ? doc : "", doc ? ")" : "");
    }
    return text;
}

static int find_choice(const struct dg_key_choice *choice, const char *word)
{
    for (int i = 0; choice[i].word; i++)
        if (!strcmp(choice[i].word, word)) return i;
    return -1;
}

static void read_choice(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, const struct dg_key *key)
{
    const char *word = dg_read_word(r, yaml, path);
    if (!word) return;
    int index = find_choice(key->choice, word);
    if (index >= 0)
        *(int *)field_of(r, key) = index;
    else
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be %s, got %s", path, list_choices(r, key->choice, " or "),
                      word);
}

static void read_flags(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, const struct dg_key *key)
{
    if (yaml->kind != DG_YAML_LIST) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a list, as in %s", path, key->value);
        return;
    }
    for (size_t i = 0; i < yaml->count; i++) {
        const struct dg_yaml *item = yaml->item[i].value;
        int index = item->kind == DG_YAML_SCALAR ? find_choice(key->choice, item->text) : -1;
        if (index >= 0)
            *(unsigned *)field_of(r, key) |= 1u << index;
        else
            dg_diag_error(diag_of(r), &item->origin, "%s takes %s", path, list_choices(r, key->choice, " and "));
    }
}

static void read_size(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, const struct dg_key *key)
{
    struct dg_recipe_crops *crops = field_of(r, key);
    bool list = yaml->kind == DG_YAML_LIST;
    double value[2];
    crops->size_origin = yaml->origin;
    if (list && yaml->count != 2) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be one number, or [height, width]", path);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (!read_number(r, list ? yaml->item[i].value : yaml, path, (struct bounds){true, key->min, key->max},
                         &value[i]))
            return;
    crops->height = (int64_t)value[0];
    crops->width = (int64_t)value[1];
}

/* --- knobs --- */

static void add_knob(struct dg_reader *r, const char *path, struct dg_plan_knob knob, const struct dg_yaml *yaml)
{
    dg_knob_list_add(arena_of(r), r->knobs, path, knob, &yaml->origin);
}

static void read_knob(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, struct bounds bounds)
{
    struct dg_plan_knob knob = {
        .type = bounds.integer ? DG_KNOB_INT : DG_KNOB_FLOAT, .min = bounds.min, .max = bounds.max};
    if (read_number(r, yaml, path, bounds, &knob.value[0])) add_knob(r, path, knob, yaml);
}

static void read_pair(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, struct bounds bounds)
{
    struct dg_plan_knob knob = {.type = DG_KNOB_PAIR, .min = bounds.min, .max = bounds.max};
    if (yaml->kind != DG_YAML_LIST || yaml->count != 2) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a pair: [low, high]", path);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (!read_number(r, yaml->item[i].value, path, bounds, &knob.value[i])) return;
    if (knob.value[0] > knob.value[1])
        dg_diag_error(diag_of(r), &yaml->origin, "%s: %g is above %g", path, knob.value[0], knob.value[1]);
    else
        add_knob(r, path, knob, yaml);
}

static void read_list(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, const struct dg_key *key)
{
    if (yaml->kind != DG_YAML_LIST || yaml->count != key->count) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a list of %zu numbers", path, key->count);
        return;
    }
    for (size_t i = 0; i < key->count; i++)
        read_knob(r, yaml->item[i].value, dg_arena_printf(arena_of(r), "%s.%zu", path, i),
                  (struct bounds){false, key->min, key->max});
}

/* A length of the run: "10 epochs", "1 epoch", "500 steps". */
static enum dg_knob_unit read_duration(struct dg_reader *r, const struct dg_yaml *yaml, const char *path)
{
    static const struct {
        const char *word;
        enum dg_knob_unit unit;
    } units[] = {
        {" epochs", DG_UNIT_EPOCHS}, {" epoch", DG_UNIT_EPOCHS}, {" steps", DG_UNIT_STEPS}, {" step", DG_UNIT_STEPS}};
    size_t length = yaml->kind == DG_YAML_SCALAR ? strlen(yaml->text) : 0;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t n = strlen(units[u].word);
        if (length <= n || strcmp(yaml->text + length - n, units[u].word)) continue;
        struct dg_plan_knob knob = {.type = DG_KNOB_FLOAT, .unit = units[u].unit, .min = 0, .max = 1e9};
        const char *text = dg_arena_strndup(arena_of(r), yaml->text, length - n);
        if (read_expression(r, yaml, text, path, (struct bounds){false, knob.min, knob.max}, &knob.value[0]))
            add_knob(r, path, knob, yaml);
        return knob.unit;
    }
    dg_diag_error(diag_of(r), &yaml->origin, "%s wants a length with its unit, as in `10 epochs` or `500 steps`", path);
    return DG_UNIT_NONE;
}

/* The number before " minutes" as the knob GROUP.minutes. False: the text does not end so. */
static bool read_minutes(struct dg_reader *r, const struct dg_yaml *yaml, const char *path)
{
    size_t length = strlen(yaml->text), n = strlen(" minutes");
    if (length > n && !strcmp(yaml->text + length - n + 1, " minute")) n--;
    if (length <= n || strncmp(yaml->text + length - n, " minutes", n)) return false;
    struct dg_plan_knob knob = {.type = DG_KNOB_FLOAT, .min = 0, .max = 1e9};
    const char *text = dg_arena_strndup(arena_of(r), yaml->text, length - n);
    if (read_expression(r, yaml, text, path, (struct bounds){false, knob.min, knob.max}, &knob.value[0]))
        add_knob(r, path, knob, yaml);
    return true;
}

/* "1 epoch", "15 minutes", "1 epoch or 15 minutes"; what is not there is 0, for never. */
static void read_interval(struct dg_reader *r, const struct dg_yaml *yaml, const char *path)
{
    const char *minutes = dg_arena_printf(arena_of(r), "%.*sminutes", (int)(strrchr(path, '.') + 1 - path), path);
    const char *with = yaml->kind == DG_YAML_SCALAR ? strstr(yaml->text, " or ") : NULL;
    struct dg_yaml part = *yaml;
    bool clock = false;
    if (with) part.text = with + strlen(" or ");
    if (yaml->kind == DG_YAML_SCALAR) clock = read_minutes(r, &part, minutes);
    if (with && !clock) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s wants minutes behind `or`, as in `1 epoch or 15 minutes`", path);
        return;
    }
    if (!clock) add_knob(r, minutes, (struct dg_plan_knob){.type = DG_KNOB_FLOAT, .max = 1e9}, yaml);
    if (with) part.text = dg_arena_strndup(arena_of(r), yaml->text, (size_t)(with - yaml->text));
    if (clock && !with)
        add_knob(r, path, (struct dg_plan_knob){.type = DG_KNOB_FLOAT, .unit = DG_UNIT_EPOCHS, .max = 1e9}, yaml);
    else
        read_duration(r, &part, path);
}

/* --- schedules --- */

/* The word at `key` of a curve; NULL: reported. */
static const char *read_curve_word(struct dg_reader *r, struct dg_yaml *map, const char *path, const char *key,
                                   const char *otherwise)
{
    const char *full = dg_arena_printf(arena_of(r), "%s.%s", path, key);
    const struct dg_yaml *yaml = get(r, map, key, otherwise);
    if (yaml) return dg_read_word(r, yaml, full);
    report_missing(r, map, full);
    return NULL;
}

/* What a curve has: its numbers, and those of its lengths. */
struct curve {
    const char *word;
    enum dg_curve curve;
    const char *numbers[5], *lengths[2];
    const char *needs; /* in words */
};
static const struct curve curves[] = {
    {"cosine", DG_CURVE_COSINE, {"peak", "from", "to", "warmup_from"}, {"warmup"}, "`to` and either `peak` or `from`"},
    {"linear", DG_CURVE_LINEAR, {"from", "to"}, {"over"}, "`from`, `to` and `over`"},
    {"step", DG_CURVE_STEP, {"from", "by"}, {"every"}, "`from`, `by` and `every`"},
    {0},
};

static bool has_curve_keys(struct dg_reader *r, struct dg_yaml *map, const struct curve *curve)
{
    struct dg_arena *arena = arena_of(r);
    bool from = dg_yaml_get_if(arena, map, "from"), to = dg_yaml_get_if(arena, map, "to"),
         peak = dg_yaml_get_if(arena, map, "peak");
    switch (curve->curve) {
    case DG_CURVE_COSINE: return to && from != peak;
    case DG_CURVE_LINEAR: return from && to && dg_yaml_get_if(arena, map, "over");
    default: return from && dg_yaml_get_if(arena, map, "by") && dg_yaml_get_if(arena, map, "every");
    }
}

static void read_curve_numbers(struct dg_reader *r, struct dg_yaml *map, const char *path, struct bounds bounds,
                               const struct curve *curve)
{
    struct dg_arena *arena = arena_of(r);
    if (!has_curve_keys(r, map, curve)) dg_diag_error(diag_of(r), &map->origin, "%s needs %s", path, curve->needs);
    const struct dg_yaml *before = dg_yaml_get_if(arena, map, "warmup_from");
    if (before && curve->curve == DG_CURVE_COSINE && !dg_yaml_get_if(arena, map, "warmup"))
        dg_diag_error(diag_of(r), &before->origin, "%s.warmup_from needs %s.warmup, the length of the way from it",
                      path, path);
    for (int i = 0; curve->numbers[i]; i++) {
        const struct dg_yaml *yaml = get(r, map, curve->numbers[i], NULL);
        bool factor = !strcmp(curve->numbers[i], "by");
        if (yaml)
            read_knob(r, yaml, dg_arena_printf(arena, "%s.%s", path, curve->numbers[i]),
                      factor ? (struct bounds){false, 0, 1000} : bounds);
    }
    for (int i = 0; curve->lengths[i]; i++) {
        const struct dg_yaml *yaml = get(r, map, curve->lengths[i], NULL);
        if (yaml) read_duration(r, yaml, dg_arena_printf(arena, "%s.%s", path, curve->lengths[i]));
    }
}

/* A number, or {curve: cosine, peak | from, to, warmup, warmup_from}, {curve: linear, from, to, over}, {curve: step, from, by, every}. */
static void read_schedule(struct dg_reader *r, struct dg_yaml *yaml, const char *path, struct bounds bounds)
{
    struct dg_knob_list *knobs = r->knobs;
    if (yaml->kind != DG_YAML_MAP) {
        read_knob(r, yaml, path, bounds);
        dg_knob_list_add_schedule(arena_of(r), knobs, path, DG_CURVE_CONSTANT, false, &yaml->origin);
        return;
    }
    const char *curve = read_curve_word(r, yaml, path, "curve", NULL),
               *per = read_curve_word(r, yaml, path, "per", "step");
    if (!curve || !per) return;
    const struct curve *found = curves;
    while (found->word && strcmp(found->word, curve)) found++;
    bool per_epoch = !strcmp(per, "epoch");
    if (!found->word) {
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), yaml, "curve")->origin,
                      "%s: there is no curve %s; there are cosine, linear and step", path, curve);
        return;
    }
    if (!per_epoch && strcmp(per, "step"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), yaml, "per")->origin,
                      "%s.per must be step or epoch, got %s", path, per);
    read_curve_numbers(r, yaml, path, bounds, found);
    dg_yaml_check_used(diag_of(r), yaml, path);
    dg_knob_list_add_schedule(arena_of(r), knobs, path, found->curve, per_epoch, &yaml->origin);
}

/* --- rows --- */

static const struct dg_key *read_rows(struct dg_reader *r, struct dg_yaml *map, const struct dg_key *row,
                                      const char *group, const char *prefix);

/* Makes a number known to the expressions of later keys. */
static void name_value(struct dg_reader *r, const char *name, int64_t value)
{
    struct dg_scope *scope = dg_arena_alloc(arena_of(r), sizeof *scope);
    *scope = (struct dg_scope){.outer = r->scope, .name = name, .value = {.kind = DG_TERM_INT, .i = value}};
    r->scope = scope;
}

static void read_int(struct dg_reader *r, const struct dg_yaml *yaml, const char *path, const struct dg_key *key)
{
    double value = 0;
    struct dg_plan_knob knob = {.type = DG_KNOB_INT, .min = key->min, .max = key->max};
    bool ok = read_number(r, yaml, path, (struct bounds){true, key->min, key->max}, &value);
    knob.value[0] = value;
    if (ok && key->knob) add_knob(r, path, knob, yaml);
    if (ok && !key->knob) *(int64_t *)field_of(r, key) = (int64_t)value;
    if (key->named) name_value(r, key->path, ok ? (int64_t)value : 0);
}

static void read_optimizer(struct dg_reader *r, struct dg_yaml *map, const struct dg_yaml *yaml, const char *path,
                           const struct dg_key *key)
{
    const char *word = dg_read_word(r, yaml, path), *names = "";
    if (!word) return;
    const struct dg_op *found = NULL, *op;
    for (int i = 0; (op = dg_optimizer_at(i)); i++) {
        const char *before = !i ? "" : dg_optimizer_at(i + 1) ? ", " : " and ";
        names = dg_arena_printf(arena_of(r), "%s%s%s", names, before, op->name);
        if (!strcmp(op->name, word) && (!key->only || !strcmp(op->name, key->only))) found = op;
    }
    if (!found && key->only)
        dg_diag_error(diag_of(r), &yaml->origin, "a %s is trained by %s, got %s %s", r->kind, key->only, path, word);
    else if (!found)
        dg_diag_error(diag_of(r), &yaml->origin, "there is no optimiser %s; there are %s", word, names);
    if (!found) found = dg_op_find(key->value); /* so that its keys are not reported, too */
    *(const struct dg_op **)field_of(r, key) = found;
    read_rows(r, map, dg_optimizer_keys(arena_of(r), found), "", "");
}

static void read_items(struct dg_reader *r, const struct dg_yaml *list, const char *path, const struct dg_key *key)
{
    if (list->kind != DG_YAML_LIST || !list->count || list->count > key->count) {
        dg_diag_error(diag_of(r), &list->origin, "%s %s", path, key->must);
        return;
    }
    *(int64_t *)field_of(r, key) = (int64_t)list->count;
    r->no_defaults = true;
    for (size_t i = 0; i < list->count; i++) {
        struct dg_yaml *map = list->item[i].value;
        const char *prefix = dg_arena_printf(arena_of(r), "%s.%zu", path, i);
        if (map->kind != DG_YAML_MAP) {
            dg_diag_error(diag_of(r), &map->origin, "%s must be a mapping", prefix);
            continue;
        }
        read_rows(r, map, key->item, "", dg_arena_printf(arena_of(r), "%s.", prefix));
        dg_yaml_check_used(diag_of(r), map, prefix);
    }
    r->no_defaults = false;
}

void dg_read_until(struct dg_reader *r, const struct dg_yaml *map, const struct dg_yaml *yaml, const char *path)
{
    bool epochs = read_duration(r, yaml, path) == DG_UNIT_EPOCHS;
    const char *group = dg_arena_strndup(arena_of(r), path, (size_t)(strrchr(path, '.') - path));
    dg_knob_list_add_schedule(arena_of(r), r->knobs, group, DG_CURVE_UNTIL, epochs, &map->origin);
}

static void read_value(struct dg_reader *r, struct dg_yaml *map, struct dg_yaml *yaml, const char *path,
                       const struct dg_key *key)
{
    struct bounds bounds = {false, key->min, key->max};
    switch (key->kind) {
    case DG_KEY_WORD: *(const char **)field_of(r, key) = dg_read_word(r, yaml, path); break;
    case DG_KEY_CHOICE: read_choice(r, yaml, path, key); break;
    case DG_KEY_FLAGS: read_flags(r, yaml, path, key); break;
    case DG_KEY_BOOL: read_bool(r, yaml, path, field_of(r, key)); break;
    case DG_KEY_INT: read_int(r, yaml, path, key); break;
    case DG_KEY_SIZE: read_size(r, yaml, path, key); break;
    case DG_KEY_ITEMS: read_items(r, yaml, path, key); break;
    case DG_KEY_OPTIMIZER: read_optimizer(r, map, yaml, path, key); break;
    case DG_KEY_FLOAT: read_knob(r, yaml, path, bounds); break;
    case DG_KEY_PAIR: read_pair(r, yaml, path, bounds); break;
    case DG_KEY_LIST: read_list(r, yaml, path, key); break;
    case DG_KEY_DURATION: read_duration(r, yaml, path); break;
    case DG_KEY_INTERVAL: read_interval(r, yaml, path); break;
    case DG_KEY_UNTIL: dg_read_until(r, map, yaml, path); break;
    case DG_KEY_SCHEDULE: read_schedule(r, yaml, path, bounds); break;
    case DG_KEY_FLOAT_OR_SCHEDULE:
        if (yaml->kind == DG_YAML_MAP)
            read_schedule(r, yaml, path, bounds);
        else
            read_knob(r, yaml, path, bounds);
        break;
    case DG_KEY_ARGUMENT: /* read with the others of its mapping */
    case DG_KEY_ARGUMENTS:
    case DG_KEY_MAP: break;
    }
}

static void read_key(struct dg_reader *r, struct dg_yaml *map, const struct dg_key *row, const char *path)
{
    struct dg_key key = *row;
    const char *dot = strrchr(key.path, '.'), *name = dot ? dot + 1 : key.path;
    if (key.derive) key.derive(r, &key);
    bool given = !key.needs || dg_read_path(r, key.needs);
    struct dg_yaml *yaml = get(r, map, name, r->no_defaults || !given ? NULL : key.value);
    if (yaml)
        read_value(r, map, yaml, path, &key);
    else if (key.required)
        report_missing(r, map, path);
    if (!yaml && key.named) name_value(r, key.path, 0); /* so that what reads it is not reported, too */
}

/* The mapping of a row, `{}` where there is none. NULL: reported. */
static struct dg_yaml *read_group(struct dg_reader *r, struct dg_yaml *map, const struct dg_key *key, const char *path)
{
    const char *dot = strrchr(key->path, '.'), *otherwise = key->value ? key->value : "{}";
    struct dg_yaml *value = get(r, map, dot ? dot + 1 : key->path, key->optional ? NULL : otherwise);
    if (!value || value->kind == DG_YAML_MAP) return value;
    if (value->kind == DG_YAML_LIST && key->item_of) {
        for (size_t i = 0; i < value->count; i++)
            key->item_of(r, value->item[i].value, dg_arena_printf(arena_of(r), "%s.%zu", path, i), (int)i);
        return NULL;
    }
    dg_diag_error(diag_of(r), &value->origin, "%s must be a mapping%s%s", path, key->value ? ": " : "",
                  key->value ? key->value : "");
    return NULL;
}

/* Reads `map` (NULL: nothing is read) by the rows from `row` on whose paths begin with `group`. Returns the row behind them.
 * The keys' full paths are `prefix` and then the rows' paths. */
static const struct dg_key *read_rows(struct dg_reader *r, struct dg_yaml *map, const struct dg_key *row,
                                      const char *group, const char *prefix)
{
    size_t length = strlen(group);
    while (row->path && !strncmp(row->path, group, length)) {
        const struct dg_key *key = row++;
        const char *path = dg_arena_printf(arena_of(r), "%s%s", prefix, key->path);
        if (key->kind == DG_KEY_MAP || key->kind == DG_KEY_ARGUMENTS) {
            struct dg_yaml *inner = map ? read_group(r, map, key, path) : NULL;
            row = read_rows(r, inner, row, dg_arena_printf(arena_of(r), "%s.", key->path), prefix);
            if (key->kind == DG_KEY_MAP) dg_yaml_check_used(diag_of(r), inner, path);
        } else if (map) {
            read_key(r, map, key, path);
        }
        if (key->then && map) key->then(r);
    }
    return row;
}

void dg_read_item(struct dg_reader *r, struct dg_yaml *item, const struct dg_key *keys, const char *path)
{
    if (item->kind != DG_YAML_MAP) {
        dg_diag_error(diag_of(r), &item->origin, "%s must be a mapping", path);
        return;
    }
    read_rows(r, item, keys, "", dg_arena_printf(arena_of(r), "%s.", path));
    dg_yaml_check_used(diag_of(r), item, path);
}

void dg_read_keys(struct dg_reader *r, const struct dg_key *keys)
{
    read_rows(r, r->map, keys, "", "");
    dg_yaml_get(arena_of(r), r->map, "import");
    if (!strcmp(r->kind, "recipe")) dg_yaml_get(arena_of(r), r->map, "like"); /* resolved, but may be meant */
    dg_yaml_check_used(diag_of(r), r->map, dg_arena_printf(arena_of(r), "a %s", r->kind));
}

#include "compiler/language/recipe.h"

#include "ops/base/base.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct dg_program *program;
    struct dg_recipe *recipe;
    const char *kind;             /* "recipe", "probe" */
    const struct dg_scope *scope; /* batch, epochs */
    size_t knob_capacity, knob_key_capacity, schedule_capacity, schedule_key_capacity;
};

static struct dg_arena *arena_of(const struct reader *r) { return r->program->arena; }
static struct dg_diagnostics *diag_of(const struct reader *r) { return r->program->diag; }

/* --- the tree, with defaults --- */

static void forget_places(struct dg_yaml *node)
{
    node->origin.line = 0;
    for (size_t i = 0; i < node->count; i++) {
        node->item[i].key_origin.line = 0;
        forget_places(node->item[i].value);
    }
}

/* The value of `key`; what the text `otherwise` says, put into the tree, when it is absent (NULL: then NULL). */
static struct dg_yaml *get(struct reader *r, struct dg_yaml *map, const char *key, const char *otherwise)
{
    struct dg_yaml *value = dg_yaml_get(arena_of(r), map, key);
    if (value || !otherwise || !map || map->kind != DG_YAML_MAP) return value;
    struct dg_yaml *parsed =
        dg_yaml_parse(arena_of(r), diag_of(r), r->program->first->map->origin.file, otherwise, strlen(otherwise));
    if (!parsed || parsed->count != 1) return NULL; /* reported; our own text */
    forget_places(parsed);
    dg_yaml_put(arena_of(r), map, key, parsed->item[0].value);
    return dg_yaml_get(arena_of(r), map, key);
}

static struct dg_yaml *get_map(struct reader *r, struct dg_yaml *map, const char *key)
{
    struct dg_yaml *value = get(r, map, key, "{}");
    if (!value || value->kind == DG_YAML_MAP) return value;
    dg_diag_error(diag_of(r), &value->origin, "%s must be a mapping", key);
    return NULL;
}

static void missing(struct reader *r, const struct dg_yaml *map, const char *name)
{
    const struct dg_origin *at = map->origin.line > 0 ? &map->origin : &r->recipe->origin; /* `map` may be a default */
    dg_diag_error(diag_of(r), at, "%s %s needs %s", r->kind, r->recipe->name, name);
}

/* A word; `name` is its whole path. */
static const char *get_word(struct reader *r, struct dg_yaml *map, const char *key, const char *name,
                            const char *otherwise)
{
    const struct dg_yaml *value = get(r, map, key, otherwise);
    if (value && value->kind == DG_YAML_SCALAR && *value->text) return value->text;
    if (value)
        dg_diag_error(diag_of(r), &value->origin, "%s must be a word", name);
    else if (map)
        missing(r, map, name);
    return NULL;
}

/* --- numbers --- */

/* The number of `yaml`, an expression. False: reported. */
static bool number(struct reader *r, const struct dg_yaml *yaml, const char *text, const char *key, bool whole,
                   double min, double max, double *result)
{
    struct dg_term term;
    if (!dg_expr_evaluate(arena_of(r), diag_of(r), &yaml->origin, text, r->scope, &term)) return false;
    if (term.kind > DG_TERM_FLOAT || (whole && term.kind != DG_TERM_INT)) {
        char got[64];
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a %snumber, got %s", key, whole ? "whole " : "",
                      dg_term_text(got, sizeof got, &term));
        return false;
    }
    *result = dg_term_number(&term);
    if (*result >= min && *result <= max) return true;
    dg_diag_error(diag_of(r), &yaml->origin, "%s is %.9g, outside %.9g .. %.9g", key, *result, min, max);
    return false;
}

static bool scalar(struct reader *r, const struct dg_yaml *yaml, const char *key, bool whole, double min, double max,
                   double *result)
{
    if (!yaml) return false;
    if (yaml->kind == DG_YAML_SCALAR) return number(r, yaml, yaml->text, key, whole, min, max, result);
    dg_diag_error(diag_of(r), &yaml->origin, "%s must be a %snumber", key, whole ? "whole " : "");
    return false;
}

/* A whole number that shapes the graph. */
static int64_t shape_number(struct reader *r, struct dg_yaml *map, const char *name, const char *key, int64_t min,
                            int64_t max, const char *otherwise)
{
    double value;
    struct dg_yaml *yaml = get(r, map, key, otherwise);
    if (!yaml && map) missing(r, map, name);
    return scalar(r, yaml, name, true, (double)min, (double)max, &value) ? (int64_t)value : 0;
}

static void add_knob(struct reader *r, const char *key, struct dg_plan_knob knob, const struct dg_yaml *yaml)
{
    struct dg_recipe *recipe = r->recipe;
    size_t count = (size_t)recipe->num_knobs;
    if (yaml && yaml->origin.line > 0 && yaml->origin.file && strcmp(yaml->origin.file, "--set"))
        knob.line = (uint32_t)yaml->origin.line;
    recipe->knobs = dg_arena_grow(arena_of(r), recipe->knobs, count, &r->knob_capacity, sizeof *recipe->knobs);
    recipe->knob_key =
        dg_arena_grow(arena_of(r), recipe->knob_key, count, &r->knob_key_capacity, sizeof *recipe->knob_key);
    recipe->knobs[count] = knob;
    recipe->knob_key[count] = key;
    recipe->num_knobs++;
}

/* A plain knob: a number, or a list of two where `type` says so. */
static void knob(struct reader *r, const struct dg_yaml *yaml, const char *key, enum dg_knob_type type, double min,
                 double max)
{
    struct dg_plan_knob k = {.type = type, .min = min, .max = max};
    if (!yaml) return;
    if (type != DG_KNOB_PAIR) {
        if (scalar(r, yaml, key, type == DG_KNOB_INT, min, max, &k.value[0])) add_knob(r, key, k, yaml);
        return;
    }
    if (yaml->kind != DG_YAML_LIST || yaml->count != 2) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a pair: [low, high]", key);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (!scalar(r, yaml->item[i].value, key, false, min, max, &k.value[i])) return;
    if (k.value[0] > k.value[1])
        dg_diag_error(diag_of(r), &yaml->origin, "%s: %g is above %g", key, k.value[0], k.value[1]);
    else
        add_knob(r, key, k, yaml);
}

/* A list of `count` numbers: knobs key.0, key.1, ... */
static void knob_list(struct reader *r, const struct dg_yaml *yaml, const char *key, size_t count, double min,
                      double max)
{
    if (!yaml) return;
    if (yaml->kind != DG_YAML_LIST || yaml->count != count) {
        dg_diag_error(diag_of(r), &yaml->origin, "%s must be a list of %zu numbers", key, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        knob(r, yaml->item[i].value, dg_arena_printf(arena_of(r), "%s.%zu", key, i), DG_KNOB_FLOAT, min, max);
}

/* A length of the run: "10 epochs", "1 epoch", "500 steps". */
static enum dg_knob_unit knob_length(struct reader *r, const struct dg_yaml *yaml, const char *key)
{
    static const struct {
        const char *word;
        enum dg_knob_unit unit;
    } units[] = {
        {" epochs", DG_UNIT_EPOCHS}, {" epoch", DG_UNIT_EPOCHS}, {" steps", DG_UNIT_STEPS}, {" step", DG_UNIT_STEPS}};
    if (!yaml) return DG_UNIT_NONE;
    size_t length = yaml->kind == DG_YAML_SCALAR ? strlen(yaml->text) : 0;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t n = strlen(units[u].word);
        if (length <= n || strcmp(yaml->text + length - n, units[u].word)) continue;
        struct dg_plan_knob k = {.type = DG_KNOB_FLOAT, .unit = units[u].unit, .min = 0, .max = 1e9};
        const char *text = dg_arena_strndup(arena_of(r), yaml->text, length - n);
        if (number(r, yaml, text, key, false, k.min, k.max, &k.value[0])) add_knob(r, key, k, yaml);
        return k.unit;
    }
    dg_diag_error(diag_of(r), &yaml->origin, "%s wants a length with its unit, as in `10 epochs` or `500 steps`", key);
    return DG_UNIT_NONE;
}

/* --- schedules --- */

static void add_schedule(struct reader *r, const char *key, enum dg_curve curve, bool per_epoch,
                         const struct dg_yaml *yaml)
{
    struct dg_recipe *recipe = r->recipe;
    size_t count = (size_t)recipe->num_schedules;
    recipe->schedules =
        dg_arena_grow(arena_of(r), recipe->schedules, count, &r->schedule_capacity, sizeof *recipe->schedules);
    recipe->schedule_key = dg_arena_grow(arena_of(r), recipe->schedule_key, count, &r->schedule_key_capacity,
                                         sizeof *recipe->schedule_key);
    recipe->schedules[count] = (struct dg_plan_schedule){
        .curve = curve, .per_epoch = per_epoch, .line = yaml->origin.line > 0 ? (uint32_t)yaml->origin.line : 0};
    recipe->schedule_key[count] = key;
    recipe->num_schedules++;
}

/* A plain number, or {curve: cosine, peak | from, to, warmup}, or {curve: linear, from, to, over}. */
static void schedule(struct reader *r, struct dg_yaml *yaml, const char *key, double min, double max)
{
    if (!yaml) return;
    if (yaml->kind != DG_YAML_MAP) {
        knob(r, yaml, key, DG_KNOB_FLOAT, min, max);
        add_schedule(r, key, DG_CURVE_CONSTANT, false, yaml);
        return;
    }
    const char *word = get_word(r, yaml, "curve", dg_arena_printf(arena_of(r), "%s.curve", key), NULL),
               *per = get_word(r, yaml, "per", dg_arena_printf(arena_of(r), "%s.per", key), "step");
    if (!word || !per) return;
    bool cosine = !strcmp(word, "cosine"), linear = !strcmp(word, "linear");
    if (!cosine && !linear) {
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), yaml, "curve")->origin,
                      "%s: there is no curve %s; there are cosine and linear", key, word);
        return;
    }
    bool per_epoch = !strcmp(per, "epoch");
    if (!per_epoch && strcmp(per, "step"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), yaml, "per")->origin,
                      "%s.per must be step or epoch, got %s", key, per);
    struct dg_yaml *peak = cosine ? get(r, yaml, "peak", NULL) : NULL, *from = get(r, yaml, "from", NULL),
                   *to = get(r, yaml, "to", NULL), *warmup = cosine ? get(r, yaml, "warmup", NULL) : NULL,
                   *over = linear ? get(r, yaml, "over", NULL) : NULL;
    if (!to || !(peak || from) || (peak && from) || (linear && !over))
        dg_diag_error(diag_of(r), &yaml->origin, "%s needs %s", key,
                      cosine ? "`to` and either `peak` or `from`" : "`from`, `to` and `over`");
    struct dg_arena *arena = arena_of(r);
    knob(r, peak, dg_arena_printf(arena, "%s.peak", key), DG_KNOB_FLOAT, min, max);
    knob(r, from, dg_arena_printf(arena, "%s.from", key), DG_KNOB_FLOAT, min, max);
    knob(r, to, dg_arena_printf(arena, "%s.to", key), DG_KNOB_FLOAT, min, max);
    knob_length(r, warmup, dg_arena_printf(arena, "%s.warmup", key));
    knob_length(r, over, dg_arena_printf(arena, "%s.over", key));
    dg_yaml_check_used(diag_of(r), yaml, key);
    add_schedule(r, key, linear ? DG_CURVE_LINEAR : DG_CURVE_COSINE, per_epoch, yaml);
}

/* --- crops --- */

/* The augmentation of a group of views, or (`view`) what one view says of its own. Defaults: the paper's and BYOL's. */
static void augmentation(struct reader *r, struct dg_yaml *map, const char *prefix, bool view, bool local)
{
    const struct {
        const char *key, *otherwise;
        enum dg_knob_type type;
        double min, max;
    } fields[] = {
        {"scale", local ? "[0.05, 0.4]" : "[0.4, 1]", DG_KNOB_PAIR, 1e-6, 1},
        {"ratio", "[3 / 4, 4 / 3]", DG_KNOB_PAIR, 0.01, 100},
        {"flip", "0.5", DG_KNOB_FLOAT, 0, 1},
        {"jitter", "0.8", DG_KNOB_FLOAT, 0, 1},
        {"brightness", "0.4", DG_KNOB_FLOAT, 0, 10},
        {"contrast", "0.4", DG_KNOB_FLOAT, 0, 10},
        {"saturation", "0.2", DG_KNOB_FLOAT, 0, 10},
        {"hue", "0.1", DG_KNOB_FLOAT, 0, 0.5},
        {"gray", "0.2", DG_KNOB_FLOAT, 0, 1},
        {"blur", local ? "0.5" : "0", DG_KNOB_FLOAT, 0, 1},
        {"blur_sigma", "[0.1, 2]", DG_KNOB_PAIR, 0.001, 1000},
        {"solarize", "0", DG_KNOB_FLOAT, 0, 1},
        {"solarize_threshold", "128", DG_KNOB_INT, 0, 256},
    };
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        knob(r, get(r, map, fields[f].key, view ? NULL : fields[f].otherwise),
             dg_arena_printf(arena_of(r), "%s.%s", prefix, fields[f].key), fields[f].type, fields[f].min,
             fields[f].max);
    dg_yaml_check_used(diag_of(r), map, prefix);
}

static void read_size(struct reader *r, struct dg_yaml *map, const char *key, const char *otherwise,
                      struct dg_recipe_crops *crops)
{
    struct dg_yaml *size = get(r, map, "size", otherwise);
    double value[2];
    if (!size) return;
    crops->size_origin = size->origin;
    bool list = size->kind == DG_YAML_LIST;
    if (list && size->count != 2) {
        dg_diag_error(diag_of(r), &size->origin, "%s must be one number, or [height, width]", key);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (!scalar(r, list ? size->item[i].value : size, key, true, 1, 16384, &value[i])) return;
    crops->height = (int64_t)value[0];
    crops->width = (int64_t)value[1];
}

/* (value / 255 - mean) / std, of ImageNet unless said otherwise. */
static void read_pixels(struct reader *r, struct dg_yaml *map)
{
    knob_list(r, get(r, map, "mean", "[0.485, 0.456, 0.406]"), "crops.mean", 3, -1000, 1000);
    knob_list(r, get(r, map, "std", "[0.229, 0.224, 0.225]"), "crops.std", 3, 1e-6, 1000);
}

void dg_recipe_pixels(struct dg_program *program, struct dg_recipe *recipe)
{
    struct reader r = {.program = program, .recipe = recipe};
    struct dg_yaml none = {.kind = DG_YAML_MAP};
    read_pixels(&r, &none);
}

static void read_crops(struct reader *r, struct dg_yaml *map)
{
    struct dg_recipe *recipe = r->recipe;
    struct dg_yaml *global = get_map(r, map, "global"), *local = get_map(r, map, "local");
    read_size(r, global, "crops.global.size", "224", &recipe->global);
    struct dg_yaml *views = get(r, global, "views", "[{blur: 1}, {blur: 0.1, solarize: 0.2}]");
    if (views && (views->kind != DG_YAML_LIST || views->count != 2)) {
        dg_diag_error(diag_of(r), &views->origin,
                      "crops.global.views must be a list of two: the teacher sees both, "
                      "and each teaches the other");
    } else if (views) {
        recipe->global.count = 2;
        for (size_t v = 0; v < views->count; v++) {
            const char *prefix = dg_arena_printf(arena_of(r), "crops.global.views.%zu", v);
            if (views->item[v].value->kind != DG_YAML_MAP)
                dg_diag_error(diag_of(r), &views->item[v].value->origin, "%s must be a mapping", prefix);
            else
                augmentation(r, views->item[v].value, prefix, true, false);
        }
    }
    augmentation(r, global, "crops.global", false, false);

    recipe->local.count = shape_number(r, local, "crops.local.count", "count", 0, 62, "8");
    read_size(r, local, "crops.local.size", "96", &recipe->local);
    augmentation(r, local, "crops.local", false, true);

    read_pixels(r, map);
    dg_yaml_check_used(diag_of(r), map, "crops");
}

/* --- the rest --- */

static void read_no_decay(struct reader *r, const struct dg_yaml *list)
{
    for (size_t i = 0; list && list->kind == DG_YAML_LIST && i < list->count; i++) {
        const struct dg_yaml *item = list->item[i].value;
        const char *word = item->kind == DG_YAML_SCALAR ? item->text : "";
        if (!strcmp(word, "bias"))
            r->recipe->no_decay_bias = true;
        else if (!strcmp(word, "1d"))
            r->recipe->no_decay_1d = true;
        else
            dg_diag_error(diag_of(r), &item->origin,
                          "optim.no_decay takes bias (names ending in .bias) and 1d "
                          "(tensors of one dimension)");
    }
    if (list && list->kind != DG_YAML_LIST)
        dg_diag_error(diag_of(r), &list->origin, "optim.no_decay must be a list, as in [bias, 1d]");
}

static void read_optimizer(struct reader *r, struct dg_yaml *map)
{
    struct dg_recipe *recipe = r->recipe;
    recipe->optimizer = get_word(r, map, "kind", "optim.kind", "adamw");
    if (!recipe->optimizer) return;
    bool sgd = !strcmp(recipe->optimizer, "sgd"), lars = !strcmp(recipe->optimizer, "lars");
    if (!sgd && !lars && strcmp(recipe->optimizer, "adamw"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), map, "kind")->origin,
                      "there is no optimiser %s; there are adamw, sgd and lars", recipe->optimizer);
    if (sgd || lars) {
        knob(r, get(r, map, "momentum", "0.9"), "optim.momentum", DG_KNOB_FLOAT, 0, 0.99999999);
        if (lars) knob(r, get(r, map, "eta", "0.001"), "optim.eta", DG_KNOB_FLOAT, 0, 1000);
    } else {
        knob_list(r, get(r, map, "betas", "[0.9, 0.999]"), "optim.betas", 2, 0, 0.99999999);
        knob(r, get(r, map, "eps", "1e-8"), "optim.eps", DG_KNOB_FLOAT, 0, 1);
    }
    knob(r, get(r, map, "clip", "3"), "optim.clip", DG_KNOB_FLOAT, 0, 1e9);
    read_no_decay(r, get(r, map, "no_decay", "[bias, 1d]"));
    struct dg_yaml *freeze = get(r, map, "freeze", "{params: last_layer, for: 1 epoch}");
    if (freeze && freeze->kind == DG_YAML_MAP) {
        recipe->freeze_params = get_word(r, freeze, "params", "optim.freeze.params", "last_layer");
        const struct dg_yaml *params = dg_yaml_get(arena_of(r), freeze, "params");
        recipe->freeze_origin = params && params->origin.line > 0 ? params->origin : freeze->origin;
        bool epochs = knob_length(r, get(r, freeze, "for", "1 epoch"), "optim.freeze.for") == DG_UNIT_EPOCHS;
        dg_yaml_check_used(diag_of(r), freeze, "optim.freeze");
        add_schedule(r, "optim.freeze", DG_CURVE_UNTIL, epochs, freeze);
    } else if (freeze) {
        dg_diag_error(diag_of(r), &freeze->origin,
                      "optim.freeze must be a mapping: {params: last_layer, for: 1 epoch}");
    }
    dg_yaml_check_used(diag_of(r), map, "optim");
}

void dg_recipe_show_argument(struct dg_program *program, struct dg_yaml *map, const struct dg_scope *argument,
                             bool replace)
{
    const struct dg_term *value = &argument->value;
    if (!map || map->kind != DG_YAML_MAP || value->kind > DG_TERM_BOOL) return;
    if (!replace && dg_yaml_get(program->arena, map, argument->name)) return;
    struct dg_yaml *shown = dg_arena_alloc(program->arena, sizeof *shown);
    *shown = (struct dg_yaml){.kind = DG_YAML_SCALAR, .origin = {.file = map->origin.file}};
    if (value->kind == DG_TERM_BOOL) {
        shown->text = value->i ? "true" : "false";
    } else if (value->kind == DG_TERM_INT) {
        shown->text = dg_arena_printf(program->arena, "%lld", (long long)value->i);
    } else { /* the shortest that reads back as the same number, and as a float */
        for (int digits = 6; !shown->text || strtod(shown->text, NULL) != value->f; digits++)
            shown->text = dg_arena_printf(program->arena, "%.*g", digits, value->f);
        if (!strpbrk(shown->text, ".e")) shown->text = dg_arena_printf(program->arena, "%s.0", shown->text);
    }
    dg_yaml_put(program->arena, map, argument->name, shown);
    dg_yaml_get(program->arena, map, argument->name);
}

/* The arguments of a network's module, written into `with` for all to see. */
static void show_arguments(struct reader *r, struct dg_yaml *with, const struct dg_yaml *module, struct dg_given *given)
{
    struct dg_definition *base;
    const struct dg_scope *scope;
    if (!module || module->kind != DG_YAML_SCALAR || !with) return;
    const struct dg_origin *at = module->origin.line > 0 ? &module->origin : &r->recipe->origin;
    if (!dg_program_bind(r->program, module->text, at, given, &base, &scope)) return;
    for (; scope; scope = scope->outer) dg_recipe_show_argument(r->program, with, scope, false);
}

static void read_networks(struct reader *r, struct dg_yaml *map)
{
    struct dg_recipe *recipe = r->recipe;
    struct dg_yaml *student = get_map(r, map, "student"), *head = get_map(r, map, "head"),
                   *teacher = get_map(r, map, "teacher");
    recipe->backbone = get_word(r, student, "backbone", "student.backbone", NULL);
    recipe->head = get_word(r, head, "module", "head.module", "dino_head");
    struct dg_yaml *student_with = get_map(r, student, "with"), *teacher_with = get_map(r, teacher, "with"),
                   *head_with = get_map(r, head, "with");
    dg_program_give(r->program, student_with, r->scope, &recipe->student_with);
    for (const struct dg_given *g = recipe->student_with; g; g = g->next) /* only the student drops paths */
        if (!strcmp(g->name, "drop_path")) get(r, teacher_with, "drop_path", "0");
    dg_program_give(r->program, teacher_with, r->scope, &recipe->teacher_with);
    dg_program_give(r->program, student_with, r->scope, &recipe->teacher_with);
    dg_program_give(r->program, head_with, r->scope, &recipe->head_with);
    schedule(r, get(r, teacher, "momentum", "{curve: cosine, from: 0.996, to: 1}"), "teacher.momentum", 0, 1);
    recipe->buffers = get_word(r, teacher, "buffers", "teacher.buffers", "own");
    if (recipe->buffers && strcmp(recipe->buffers, "own") && strcmp(recipe->buffers, "copy") &&
        strcmp(recipe->buffers, "ema"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), teacher, "buffers")->origin,
                      "teacher.buffers must be own (the teacher's running statistics come from its own crops), copy "
                      "(they are the student's) or ema (they are averaged like weights), got %s",
                      recipe->buffers);
    dg_yaml_check_used(diag_of(r), student, "student");
    dg_yaml_check_used(diag_of(r), teacher, "teacher");
    dg_yaml_check_used(diag_of(r), head, "head");
    show_arguments(r, student_with, dg_yaml_get(arena_of(r), student, "backbone"), recipe->student_with);
    show_arguments(r, head_with, dg_yaml_get(arena_of(r), head, "module"), recipe->head_with);
}

static void read_entries(struct reader *r, struct dg_yaml *map)
{
    struct dg_recipe *recipe = r->recipe;
    struct dg_yaml *features = get_map(r, map, "features");
    if (!strcmp(r->kind, "recipe"))
        recipe->features_batch = shape_number(r, features, "entries.features.batch", "batch", 1, 1 << 20, "32");
    else
        recipe->features_batch = recipe->batch; /* features go into the classifier's batches */
    const char *size = recipe->global.height == recipe->global.width
                           ? dg_arena_printf(arena_of(r), "%lld", (long long)recipe->global.height)
                           : dg_arena_printf(arena_of(r), "[%lld, %lld]", (long long)recipe->global.height,
                                             (long long)recipe->global.width);
    if (!recipe->global.height) size = NULL; /* reported */
    read_size(r, features, "entries.features.size", size, &recipe->features);
    recipe->features.count = 1;
    /* As ImageNet is evaluated: the short side to 256 for a centre crop of 224. */
    int64_t least = dg_max_i64(recipe->features.width, 1);
    const char *resize = dg_arena_printf(arena_of(r), "%lld", (long long)((least * 256 + 112) / 224));
    knob(r, get(r, features, "resize", resize), "entries.features.resize", DG_KNOB_INT, (double)least, 65536);
    dg_yaml_check_used(diag_of(r), features, "entries.features");
    dg_yaml_check_used(diag_of(r), map, "entries");
}

static void read_dtype(struct reader *r, struct dg_yaml *map)
{
    const char *word = get_word(r, map, "dtype", "dtype", "f32");
    r->recipe->bf16 = word && !strcmp(word, "bf16");
    if (word && !r->recipe->bf16 && strcmp(word, "f32"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), map, "dtype")->origin, "dtype must be f32 or bf16, got %s",
                      word);
}

bool dg_recipe_read(struct dg_program *program, const char *name, struct dg_recipe *recipe)
{
    struct dg_definition *definition = dg_program_definition(program, DG_DEFINITION_RECIPE, name);
    int errors = dg_diag_errors(program->diag);
    struct dg_yaml *map = definition->map;
    struct reader r = {.program = program, .recipe = recipe, .kind = "recipe"};
    *recipe = (struct dg_recipe){.name = name, .origin = map->origin};
    recipe->origin.path = name;

    recipe->batch = shape_number(&r, map, "batch", "batch", 1, 1 << 20, NULL);
    struct dg_scope batch = {.name = "batch", .value = {.kind = DG_TERM_INT, .i = recipe->batch}};
    r.scope = &batch;
    int64_t epochs = shape_number(&r, map, "epochs", "epochs", 1, 1000000, "100");
    struct dg_scope both = {.outer = &batch, .name = "epochs", .value = {.kind = DG_TERM_INT, .i = epochs}};
    r.scope = &both;
    knob(&r, get(&r, map, "epochs", NULL), "epochs", DG_KNOB_INT, 1, 1000000);

    read_dtype(&r, map);
    read_networks(&r, map);
    read_crops(&r, get_map(&r, map, "crops"));
    struct dg_yaml *loss = get_map(&r, map, "loss");
    knob(&r, get(&r, loss, "student_temp", "0.1"), "loss.student_temp", DG_KNOB_FLOAT, 1e-6, 1000);
    schedule(&r, get(&r, loss, "teacher_temp", "0.04"), "loss.teacher_temp", 1e-6, 1000);
    knob(&r, get(&r, loss, "center_momentum", "0.9"), "loss.center_momentum", DG_KNOB_FLOAT, 0, 1);
    dg_yaml_check_used(program->diag, loss, "loss");
    read_optimizer(&r, get_map(&r, map, "optim"));
    schedule(&r, get(&r, map, "lr", "{curve: cosine, peak: 5e-4 * batch / 256, to: 1e-6, warmup: 10 epochs}"), "lr", 0,
             1000);
    schedule(&r, get(&r, map, "weight_decay", "{curve: cosine, from: 0.04, to: 0.4}"), "weight_decay", 0, 1000);
    read_entries(&r, get_map(&r, map, "entries"));
    knob(&r, get(&r, map, "skip_bad_steps", "0"), "skip_bad_steps", DG_KNOB_INT, 0, 1e9);
    struct dg_yaml *checkpoint = get_map(&r, map, "checkpoint");
    knob_length(&r, get(&r, checkpoint, "every", "1 epoch"), "checkpoint.every");
    knob_length(&r, get(&r, checkpoint, "keep", "20 epochs"), "checkpoint.keep");
    knob(&r, get(&r, checkpoint, "last", "1"), "checkpoint.last", DG_KNOB_INT, 0, 1000);
    dg_yaml_check_used(program->diag, checkpoint, "checkpoint");
    dg_yaml_get(arena_of(&r), map, "import");
    dg_yaml_check_used(program->diag, map, "a recipe");
    return dg_diag_errors(program->diag) == errors;
}

/* --- a probe --- */

static bool truth(struct reader *r, struct dg_yaml *map, const char *key, const char *otherwise)
{
    struct dg_yaml *yaml = get(r, map, key, otherwise);
    struct dg_term term;
    if (!yaml || !dg_expr_yaml(arena_of(r), diag_of(r), yaml, r->scope, &term)) return false;
    if (term.kind == DG_TERM_BOOL) return term.i;
    dg_diag_error(diag_of(r), &yaml->origin, "%s must be true or false", key);
    return false;
}

/* torchvision's RandomResizedCrop and a flip: no other augmentation. */
static void read_probe_crops(struct reader *r, struct dg_yaml *map)
{
    read_size(r, map, "crops.size", "224", &r->recipe->global);
    knob(r, get(r, map, "scale", "[0.08, 1]"), "crops.scale", DG_KNOB_PAIR, 1e-6, 1);
    knob(r, get(r, map, "ratio", "[3 / 4, 4 / 3]"), "crops.ratio", DG_KNOB_PAIR, 0.01, 100);
    knob(r, get(r, map, "flip", "0.5"), "crops.flip", DG_KNOB_FLOAT, 0, 1);
    read_pixels(r, map);
    dg_yaml_check_used(diag_of(r), map, "crops");
}

static void read_probe_backbone(struct reader *r, struct dg_yaml *map)
{
    struct dg_recipe *probe = r->recipe;
    probe->backbone = get_word(r, map, "backbone", "backbone", NULL);
    struct dg_yaml *with = get_map(r, map, "with");
    dg_program_give(r->program, with, r->scope, &probe->teacher_with);
    show_arguments(r, with, dg_yaml_get(arena_of(r), map, "backbone"), probe->teacher_with);
    probe->classes = shape_number(r, map, "classes", "classes", 1, 1 << 24, "1000");
    probe->blocks = shape_number(r, map, "blocks", "blocks", 1, 4096, "4");
    probe->avgpool = truth(r, map, "avgpool", "false");
    if (probe->avgpool && probe->blocks > 1)
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), map, "avgpool")->origin,
                      "avgpool goes with blocks: 1, and blocks is %lld", (long long)probe->blocks);
}

static void read_probe_optimizer(struct reader *r, struct dg_yaml *map)
{
    r->recipe->optimizer = get_word(r, map, "kind", "optim.kind", "sgd");
    if (r->recipe->optimizer && strcmp(r->recipe->optimizer, "sgd"))
        dg_diag_error(diag_of(r), &dg_yaml_get(arena_of(r), map, "kind")->origin,
                      "a probe is trained by sgd, got optim.kind %s", r->recipe->optimizer);
    knob(r, get(r, map, "momentum", "0.9"), "optim.momentum", DG_KNOB_FLOAT, 0, 0.99999999);
    knob(r, get(r, map, "clip", "0"), "optim.clip", DG_KNOB_FLOAT, 0, 1e9);
    dg_yaml_check_used(diag_of(r), map, "optim");
}

bool dg_probe_read(struct dg_program *program, const char *name, struct dg_recipe *probe)
{
    struct dg_definition *definition = dg_program_definition(program, DG_DEFINITION_PROBE, name);
    int errors = dg_diag_errors(program->diag);
    struct dg_yaml *map = definition->map;
    struct reader r = {.program = program, .recipe = probe, .kind = "probe"};
    *probe = (struct dg_recipe){.name = name, .origin = map->origin};
    probe->origin.path = name;

    probe->batch = shape_number(&r, map, "batch", "batch", 1, 1 << 20, "128");
    struct dg_scope batch = {.name = "batch", .value = {.kind = DG_TERM_INT, .i = probe->batch}};
    r.scope = &batch;
    int64_t epochs = shape_number(&r, map, "epochs", "epochs", 1, 1000000, "100");
    struct dg_scope both = {.outer = &batch, .name = "epochs", .value = {.kind = DG_TERM_INT, .i = epochs}};
    r.scope = &both;
    knob(&r, get(&r, map, "epochs", NULL), "epochs", DG_KNOB_INT, 1, 1000000);
    read_dtype(&r, map);
    read_probe_backbone(&r, map);
    read_probe_crops(&r, get_map(&r, map, "crops"));
    read_probe_optimizer(&r, get_map(&r, map, "optim"));
    schedule(&r, get(&r, map, "lr", "{curve: cosine, from: 0.001 * batch / 256, to: 0, per: epoch}"), "lr", 0, 1000);
    schedule(&r, get(&r, map, "weight_decay", "0"), "weight_decay", 0, 1000);
    read_entries(&r, get_map(&r, map, "entries"));
    if (probe->features.height != probe->global.height || probe->features.width != probe->global.width)
        dg_diag_error(program->diag, &probe->features.size_origin,
                      "entries.features.size must be that of crops.size: one network sees both");
    dg_yaml_get(arena_of(&r), map, "import");
    dg_yaml_check_used(program->diag, map, "a probe");
    return dg_diag_errors(program->diag) == errors;
}

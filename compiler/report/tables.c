/* Tables of keys and ops in Markdown, for graphs/README.md. */
#include "compiler/language/recipe.h"
#include "compiler/report/reference.h"

#include <ctype.h>
#include <string.h>

/* --- keys --- */

static void add_words(struct dg_text *text, const struct dg_key_choice *choice)
{
    for (int i = 0; choice[i].word; i++) dg_text_add(text, "%s`%s`", i ? ", " : "", choice[i].word);
}

/* What the value of a key is. */
static void add_kind(struct dg_text *text, const struct dg_key *key)
{
    static const char *const words[] = {[DG_KEY_MAP] = "mapping",
                                        [DG_KEY_ARGUMENTS] = "arguments",
                                        [DG_KEY_ARGUMENT] = "argument",
                                        [DG_KEY_WORD] = "name",
                                        [DG_KEY_CHOICE] = "",
                                        [DG_KEY_FLAGS] = "list of ",
                                        [DG_KEY_BOOL] = "true or false",
                                        [DG_KEY_INT] = "whole number",
                                        [DG_KEY_SIZE] = "pixels",
                                        [DG_KEY_ITEMS] = "list of mappings",
                                        [DG_KEY_OPTIMIZER] = "",
                                        [DG_KEY_FLOAT] = "number",
                                        [DG_KEY_PAIR] = "pair",
                                        [DG_KEY_LIST] = "list of numbers",
                                        [DG_KEY_DURATION] = "length",
                                        [DG_KEY_INTERVAL] = "length or minutes",
                                        [DG_KEY_UNTIL] = "length",
                                        [DG_KEY_SCHEDULE] = "schedule",
                                        [DG_KEY_FLOAT_OR_SCHEDULE] = "number or schedule"};
    dg_text_add(text, "%s", words[key->kind]);
    if (key->choice) add_words(text, key->choice);
    const struct dg_op *op;
    for (int i = 0, n = 0; key->kind == DG_KEY_OPTIMIZER && (op = dg_optimizer_at(i)); i++)
        if (!key->only || !strcmp(op->name, key->only)) dg_text_add(text, "%s`%s`", n++ ? ", " : "", op->name);
    if (key->max > key->min) dg_text_add(text, ", %.9g to %.9g", key->min, key->max);
}

/* A sentence, with its capital and its full stop. */
static void add_sentence(struct dg_text *text, const char *doc)
{
    size_t length = strlen(doc);
    dg_text_add(text, "%c%s%s", toupper((unsigned char)*doc), doc + 1, doc[length - 1] == '.' ? "" : ".");
}

static void add_key(struct dg_text *text, const struct dg_key *key, const char *prefix, bool defaults)
{
    dg_text_add(text, "| `%s%s` | ", prefix, key->path);
    add_kind(text, key);
    if (!defaults)
        dg_text_add(text, " |");
    else if (key->value)
        dg_text_add(text, " | `%s`", key->value);
    else
        dg_text_add(text, " | %s", key->derived ? key->derived : key->required ? "required" : "");
    dg_text_add(text, " | %s | ", dg_key_is_knob(key) ? "knob" : "");
    add_sentence(text, key->doc);
    dg_text_add(text, " |\n");
}

static void add_keys(struct dg_text *text, const struct dg_key *key, const char *prefix, bool defaults)
{
    for (; key->path; key++) {
        add_key(text, key, prefix, defaults);
        if (key->kind == DG_KEY_OPTIMIZER) add_keys(text, dg_optimizer_keys_of(text->arena, key), prefix, defaults);
    }
}

static const struct dg_key *find_items(const struct dg_key *key)
{
    while (key->path && key->kind != DG_KEY_ITEMS) key++;
    return key;
}

void dg_print_keys(struct dg_text *text)
{
    static const char head[] = "| key | value | default | | what it says |\n|---|---|---|---|---|\n";
    dg_text_add(text, "Keys of a recipe:\n\n%s", head);
    add_keys(text, dg_train_keys, "", true);
    const struct dg_key *items = find_items(dg_train_keys);
    dg_text_add(text, "\nKeys of each item of `%s`, by default those of the mapping around it:\n\n%s", items->path,
                head);
    add_keys(text, items->item, "", false);
    dg_text_add(text, "\nKeys of a probe:\n\n%s", head);
    add_keys(text, dg_probe_keys, "", true);
}

/* --- one key --- */

/* A number of a schedule, or its form: "peak" of lr. */
static const struct {
    const char *name, *doc;
} schedule_fields[] = {{"curve", "The course of the value over the run: constant, cosine, linear or step."},
                       {"from", "The value at the beginning."},
                       {"peak", "The highest value, at the end of the warm-up."},
                       {"to", "The value at the end."},
                       {"warmup", "Length of the rise to the peak."},
                       {"warmup_from", "The value at the beginning of the warm-up; 0 without it."},
                       {"by", "What the value is multiplied by each time."},
                       {"every", "Length between these times."},
                       {"over", "Length of the way from the first value to the last."},
                       {"per", "Whether the value changes with the step or with the epoch."}};
enum { SCHEDULE_FIELDS = sizeof schedule_fields / sizeof *schedule_fields };

/* What stands behind `path` and a dot in `key`; NULL: something else. */
static const char *behind(const char *key, const char *path)
{
    size_t length = strlen(path);
    return !strncmp(key, path, length) && key[length] == '.' ? key + length + 1 : NULL;
}

static const char *skip_index(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits && (!text[digits] || text[digits] == '.') ? text + digits : NULL;
}

/* The row that `name` is a value of: its own, of an item of a list, or a part of a schedule or list; *doc of the part. NULL: none. */
static const struct dg_key *find_key(struct dg_text *text, const struct dg_key *rows, const char *name,
                                     const char **doc)
{
    for (const struct dg_key *key = rows; key->path; key++) {
        const char *rest = behind(name, key->path), *item = rest ? skip_index(rest) : NULL;
        if (!strcmp(name, key->path)) return key;
        if (key->kind == DG_KEY_LIST && item && !*item) return key;
        const struct dg_key *found = NULL;
        if (key->kind == DG_KEY_ITEMS && item && *item) found = find_key(text, key->item, item + 1, doc);
        if (key->kind == DG_KEY_OPTIMIZER) found = find_key(text, dg_optimizer_keys_of(text->arena, key), name, doc);
        if (found) return found;
        for (int f = 0; key->kind == DG_KEY_SCHEDULE && rest && f < SCHEDULE_FIELDS; f++) {
            if (strcmp(rest, schedule_fields[f].name)) continue;
            *doc = schedule_fields[f].doc;
            return key;
        }
    }
    return NULL;
}

/* The keys of a mapping. */
static void add_below(struct dg_text *text, const struct dg_key *rows, const char *path)
{
    for (; rows->path; rows++) {
        const char *rest = behind(rows->path, path);
        if (!rest || strchr(rest, '.')) continue;
        dg_text_add(text, "  %-24s ", rows->path);
        add_sentence(text, rows->doc);
        dg_text_add(text, "\n");
    }
}

static void explain_in(struct dg_text *text, const struct dg_key *rows, const char *of, const char *name)
{
    const char *doc = NULL;
    const struct dg_key *key = find_key(text, rows, name, &doc);
    if (!key) return;
    dg_text_add(text, "%s%s, of a %s: ", text->length ? "\n" : "", name, of);
    add_sentence(text, key->doc);
    if (doc) dg_text_add(text, " %s", doc);
    dg_text_add(text, "\n  value    ");
    add_kind(text, key);
    if (key->value) dg_text_add(text, "\n  default  %s%s", doc ? "of the whole: " : "", key->value);
    if (!key->value && (key->derived || key->required))
        dg_text_add(text, "\n  default  %s", key->derived ? key->derived : "none: it must be given");
    dg_text_add(text, "\n");
    if (key->kind != DG_KEY_MAP)
        dg_text_add(text, "  change   %s\n",
                    dg_key_is_knob(key)
                        ? "in a plan, by dinorun ... --set; for new plans, in the description or by dinoc ... --set"
                        : "in the description or by dinoc ... --set: it shapes the plan");
    if (key->kind == DG_KEY_MAP) add_below(text, rows, key->path);
}

bool dg_explain_key(struct dg_text *text, const char *name)
{
    size_t before = text->length;
    explain_in(text, dg_train_keys, "recipe", name);
    explain_in(text, dg_probe_keys, "probe", name);
    return text->length > before;
}

static const char *path_at(const void *rows, int index) { return ((const struct dg_key *)rows)[index].path; }

const char *dg_nearest_key(const char *name)
{
    int count = 0;
    for (; dg_train_keys[count].path; count++) { /* "teacher_temp" alone */
        const char *dot = strrchr(dg_train_keys[count].path, '.');
        if (dot && !strcmp(dot + 1, name)) return dg_train_keys[count].path;
    }
    return dg_nearest_name(name, path_at, dg_train_keys, count);
}

/* --- ops --- */

/* What `from` names, in order, and what a name stands for afterwards. */
static void add_operands(struct dg_text *text, const struct dg_op *op)
{
    const char *before = "";
    for (const struct dg_operand *in = op->inputs; in && in->name; in++) {
        if (in->flags & (DG_PARAM | DG_ROW_MAP | DG_INTERNAL)) continue;
        dg_text_add(text, "%s%s%s", before, in->name, in->flags & DG_VARIADIC ? ", ..." : "");
        before = ", ";
    }
    before = " → ";
    for (const struct dg_operand *out = op->outputs; out && out->name; out++) {
        if (out->flags & DG_SAVED) continue;
        dg_text_add(text, "%s%s", before, out->name);
        before = ", ";
    }
}

static void add_attr(struct dg_text *text, const struct dg_attr_spec *spec)
{
    static const char *const types[] = {"whole number", "number", "true or false", "name of a parameter"};
    dg_text_add(text, "| · `%s` | %s", spec->name, types[spec->type]);
    if (spec->type == DG_ATTR_INT || spec->type == DG_ATTR_FLOAT)
        dg_text_add(text, ", %.9g to %.9g", spec->min, spec->max);
    if (spec->required)
        dg_text_add(text, " | required");
    else if (spec->type == DG_ATTR_FLOAT)
        dg_text_add(text, " | `%.9g`", spec->value.f);
    else if (spec->type == DG_ATTR_BOOL)
        dg_text_add(text, " | `%s`", spec->value.i ? "true" : "false");
    else
        dg_text_add(text, " | `%lld`", (long long)spec->value.i);
    dg_text_add(text, " | ");
    add_sentence(text, spec->doc);
    dg_text_add(text, " |\n");
}

void dg_print_ops(struct dg_text *text)
{
    dg_text_add(
        text, "| op, and its attributes | inputs → outputs, or value | default | what it does |\n|---|---|---|---|\n");
    for (int i = 0; i < dg_op_count(); i++) {
        const struct dg_op *op = dg_op_at(i);
        if (!op->in_yaml) continue;
        dg_text_add(text, "| `%s` | ", op->name);
        add_operands(text, op);
        dg_text_add(text, " | | %s |\n", op->doc);
        for (int a = 0; a < dg_op_num_attrs(op); a++)
            if (!op->attrs[a].internal) add_attr(text, &op->attrs[a]);
        if (op->params) dg_text_add(text, "| · `init` | initialiser | by the op | How its weights begin. |\n");
    }
}

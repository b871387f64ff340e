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
                                        [DG_KEY_SCHEDULE] = "schedule"};
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

/* The JSON schema of descriptions. It is written as YAML, the frame of the language by hand and the rest from the tables, then
 * read as a tree and printed as JSON. */
#include "compiler/language/recipe.h"
#include "compiler/report/json.h"
#include "compiler/report/reference.h"

#include <ctype.h>
#include <string.h>

static const char frame[] =
    "$schema: 'http://json-schema.org/draft-07/schema#'\n"
    "title: Dinograph description\n"
    "description: 'A module, a recipe or a probe; numbers may be expressions, such as 5e-4 * batch / 256.'\n"
    "type: object\n"
    "if: {required: [module]}\n"
    "then:\n"
    "  if: {required: [like]}\n"
    "  then: {$ref: '#/definitions/like'}\n"
    "  else: {$ref: '#/definitions/module'}\n"
    "else:\n"
    "  if: {required: [probe]}\n"
    "  then: {$ref: '#/definitions/probe'}\n"
    "  else: {$ref: '#/definitions/recipe'}\n"
    "definitions:\n"
    "  value:\n"
    "    description: 'A number, true or false, a list of these, or an expression over the arguments.'\n"
    "    type: [number, boolean, string, array]\n"
    "    items: {$ref: '#/definitions/value'}\n"
    "  arguments:\n"
    "    description: 'Arguments of a module, by name.'\n"
    "    type: object\n"
    "    additionalProperties: {$ref: '#/definitions/value'}\n"
    "  length: {type: string, pattern: '^.+ (epoch|epochs|step|steps)$', examples: [10 epochs, 500 steps]}\n"
    "  init:\n"
    "    description: 'How the parameter begins: trunc_normal(std), normal(std), uniform(bound), constant(value) or "
    "kaiming_normal (fan-out, for ReLU).'\n"
    "    type: string\n"
    "    minLength: 1\n"
    "    pattern: '^((trunc_normal|normal|uniform|constant)\\(.+\\)|kaiming_normal)$'\n"
    "  cosine:\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [curve, to]\n"
    "    oneOf: [{required: [peak]}, {required: [from]}]\n"
    "    properties:\n"
    "      curve: {const: cosine}\n"
    "      peak: {description: Value after the warm-up., type: [number, string]}\n"
    "      from: {description: Value at the start; no warm-up from zero then., type: [number, string]}\n"
    "      to: {description: Value at the end of the run., type: [number, string]}\n"
    "      warmup: {description: Length of a linear rise., allOf: [{$ref: '#/definitions/length'}]}\n"
    "      warmup_from: {description: Value at the start of the warm-up; zero without it., type: [number, string]}\n"
    "      per: {description: How often the value changes., enum: [step, epoch], default: step}\n"
    "  linear_curve:\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [curve, from, to, over]\n"
    "    properties:\n"
    "      curve: {const: linear}\n"
    "      from: {description: Value at the start., type: [number, string]}\n"
    "      to: {description: Value after the line., type: [number, string]}\n"
    "      over: {description: Length of the line; the value stays after it., "
    "allOf: [{$ref: '#/definitions/length'}]}\n"
    "      per: {description: How often the value changes., enum: [step, epoch], default: step}\n"
    "  step_curve:\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [curve, from, by, every]\n"
    "    properties:\n"
    "      curve: {const: step}\n"
    "      from: {description: Value at the start., type: [number, string]}\n"
    "      by: {description: What the value is multiplied by each time., type: [number, string]}\n"
    "      every: {description: Length between these times., allOf: [{$ref: '#/definitions/length'}]}\n"
    "      per: {description: How often the value changes., enum: [step, epoch], default: step}\n"
    "  schedule:\n"
    "    description: 'A number, or a curve over the run.'\n"
    "    anyOf: [{type: [number, string]}, {$ref: '#/definitions/cosine'}, {$ref: '#/definitions/linear_curve'}, "
    "{$ref: '#/definitions/step_curve'}]\n"
    "  from:\n"
    "    description: Names of values above; the node before by default.\n"
    "    type: [string, array]\n"
    "    minItems: 1\n"
    "    maxItems: 16\n"
    "    items: {type: string}\n"
    "  when: {description: The node is left out when this is false., type: [boolean, string]}\n"
    "  repeat:\n"
    "    description: How many times; the index is called `index`.\n"
    "    type: [integer, string]\n"
    "    minimum: 0\n"
    "    maximum: 4096\n"
    "  only_attributes: {propertyNames: {not: {enum: [op, from, when, repeat]}}}\n"
    "  use:\n"
    "    description: A module in the place of a node.\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [use]\n"
    "    properties:\n"
    "      use: {description: Name of a module., type: string, minLength: 1}\n"
    "      with: {$ref: '#/definitions/arguments'}\n"
    "      from: {$ref: '#/definitions/from'}\n"
    "      when: {$ref: '#/definitions/when'}\n"
    "      repeat: {$ref: '#/definitions/repeat'}\n"
    "  apply:\n"
    "    description: 'An earlier node once more, on the same weights.'\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [apply]\n"
    "    properties:\n"
    "      apply: {description: Name of a node above that is one op., type: string, minLength: 1}\n"
    "      from: {$ref: '#/definitions/from'}\n"
    "      when: {$ref: '#/definitions/when'}\n"
    "      repeat: {$ref: '#/definitions/repeat'}\n"
    "  list:\n"
    "    description: 'Nodes numbered from 0, each reading the one before.'\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [list]\n"
    "    properties:\n"
    "      list: {description: The nodes., type: array, items: {$ref: '#/definitions/node'}}\n"
    "      from: {$ref: '#/definitions/from'}\n"
    "      when: {$ref: '#/definitions/when'}\n"
    "  import:\n"
    "    description: 'Files whose definitions are used, relative to this one.'\n"
    "    type: [string, array]\n"
    "    items: {type: string, minLength: 1}\n"
    "  like:\n"
    "    description: A module with other arguments.\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [module, like]\n"
    "    properties:\n"
    "      module: {description: The module's name., type: string, minLength: 1}\n"
    "      import: {$ref: '#/definitions/import'}\n"
    "      like: {description: The module it is like., type: string, minLength: 1}\n"
    "      with: {$ref: '#/definitions/arguments'}\n"
    "  parameter:\n"
    "    description: A parameter.\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [shape]\n"
    "    properties:\n"
    "      shape:\n"
    "        description: Its dimensions.\n"
    "        type: [array, string]\n"
    "        maxItems: 6\n"
    "        items: {type: [integer, string], minimum: 1}\n"
    "      init: {$ref: '#/definitions/init'}\n"
    "      when: {$ref: '#/definitions/when'}\n"
    "  module:\n"
    "    description: 'A network, from its inputs to its outputs.'\n"
    "    type: object\n"
    "    additionalProperties: false\n"
    "    required: [module, nodes]\n"
    "    properties:\n"
    "      module: {description: The module's name., type: string, minLength: 1}\n"
    "      import: {$ref: '#/definitions/import'}\n"
    "      args:\n"
    "        description: 'Arguments: a type (int, float, bool, list) where one must be given, else the default.'\n"
    "        type: object\n"
    "        additionalProperties: {$ref: '#/definitions/value'}\n"
    "      inputs:\n"
    "        description: Names of the inputs.\n"
    "        type: array\n"
    "        minItems: 1\n"
    "        items: {type: string}\n"
    "        default: [x]\n"
    "      params:\n"
    "        description: Parameters of the module itself.\n"
    "        type: object\n"
    "        additionalProperties: {$ref: '#/definitions/parameter'}\n"
    "      defaults: {$ref: '#/definitions/defaults'}\n"
    "      nodes:\n"
    "        description: 'The nodes, in order; each reads the one before unless it says `from`.'\n"
    "        type: object\n"
    "        minProperties: 1\n"
    "        additionalProperties: {$ref: '#/definitions/node'}\n"
    "      outputs:\n"
    "        description: Named outputs; the first is what the module stands for.\n"
    "        type: object\n"
    "        additionalProperties: {type: string, minLength: 1}\n";

/* A string in single quotes. */
static void add_string(struct dg_text *text, const char *s)
{
    dg_text_add(text, "'");
    for (; *s; s++) dg_text_add(text, *s == '\'' ? "''" : "%c", *s);
    dg_text_add(text, "'");
}

/* The description of a key or attribute: a sentence, whether `doc` is one or not. */
static void add_doc(struct dg_text *text, const char *doc)
{
    size_t length = strlen(doc);
    const char *end = length && doc[length - 1] == '.' ? "" : ".";
    dg_text_add(text, "description: ");
    add_string(text, dg_arena_printf(text->arena, "%c%s%s", toupper((unsigned char)*doc), doc + 1, end));
    dg_text_add(text, ", ");
}

static void add_range(struct dg_text *text, double min, double max)
{
    dg_text_add(text, "minimum: %.9g, maximum: %.9g, ", min, max);
}

/* --- ops --- */

static void add_attribute(struct dg_text *text, const struct dg_attr_spec *spec)
{
    static const char *const types[] = {"[integer, string]", "[number, string]", "[boolean, string]",
                                        "string, minLength: 1"};
    dg_text_add(text, "%s: {", spec->name);
    add_doc(text, spec->doc);
    dg_text_add(text, "type: %s, ", types[spec->type]);
    if (spec->type == DG_ATTR_INT || spec->type == DG_ATTR_FLOAT) add_range(text, spec->min, spec->max);
    if (!spec->required && spec->type == DG_ATTR_INT) dg_text_add(text, "default: %lld", (long long)spec->value.i);
    if (!spec->required && spec->type == DG_ATTR_FLOAT) dg_text_add(text, "default: %.9g", spec->value.f);
    if (!spec->required && spec->type == DG_ATTR_BOOL)
        dg_text_add(text, "default: %s", spec->value.i ? "true" : "false");
    dg_text_add(text, "}, ");
}

static void add_op(struct dg_text *text, const struct dg_op *op)
{
    dg_text_add(text, "  op_%s: {", op->name);
    add_doc(text, op->doc);
    dg_text_add(text, "type: object, additionalProperties: false, properties: {op: {const: %s}, ", op->name);
    for (int a = 0; a < dg_op_num_attrs(op); a++)
        if (!op->attrs[a].internal) add_attribute(text, &op->attrs[a]);
    if (op->params) dg_text_add(text, "init: {$ref: '#/definitions/init'}, ");
    dg_text_add(text, "from: {$ref: '#/definitions/from'}, when: {$ref: '#/definitions/when'}, repeat: {$ref: "
                      "'#/definitions/repeat'}}}\n");
}

static void add_node(struct dg_text *text)
{
    dg_text_add(text,
                "  node: {description: 'An operation by its name, or a mapping with one of op, use, apply and list.', "
                "if: {type: string}, then: {$ref: '#/definitions/op'}, else: {type: object, "
                "oneOf: [{required: [op]}, {required: [use]}, {required: [apply]}, {required: [list]}], "
                "not: {required: [repeat, when]}, properties: {op: {$ref: '#/definitions/op'}}, allOf: [");
    static const char *const other[] = {"use", "apply", "list"};
    for (int i = 0; i < 3; i++)
        dg_text_add(text, "{if: {required: [%s]}, then: {$ref: '#/definitions/%s'}}, ", other[i], other[i]);
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i)->in_yaml)
            dg_text_add(text,
                        "{if: {required: [op], properties: {op: {const: %s}}}, then: {$ref: '#/definitions/op_%s'}}, ",
                        dg_op_at(i)->name, dg_op_at(i)->name);
    dg_text_add(text, "]}}\n");
}

static void add_ops(struct dg_text *text)
{
    dg_text_add(text, "  op: {description: Name of an operation., enum: [");
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i)->in_yaml) dg_text_add(text, "%s, ", dg_op_at(i)->name);
    dg_text_add(text, "]}\n");
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i)->in_yaml) add_op(text, dg_op_at(i));
    add_node(text);
    dg_text_add(text,
                "  defaults: {description: Attributes of operations where a node does not say them., type: object, "
                "additionalProperties: false, properties: {");
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i)->in_yaml)
            dg_text_add(text, "%s: {allOf: [{$ref: '#/definitions/op_%s'}, {$ref: '#/definitions/only_attributes'}]}, ",
                        dg_op_at(i)->name, dg_op_at(i)->name);
    dg_text_add(text, "}}\n");
}

/* --- keys --- */

static const struct dg_key *add_properties(struct dg_text *text, const struct dg_key *row, const char *group,
                                           bool defaults);

static void add_choices(struct dg_text *text, const struct dg_key_choice *choice)
{
    dg_text_add(text, "enum: [");
    for (; choice->word; choice++) dg_text_add(text, "%s, ", choice->word);
    dg_text_add(text, "]");
}

static void add_array(struct dg_text *text, const struct dg_key *key, size_t count)
{
    dg_text_add(text, "type: array, minItems: %zu, maxItems: %zu, items: {type: [number, string], ", count, count);
    add_range(text, key->min, key->max);
    dg_text_add(text, "}, ");
}

static void add_number(struct dg_text *text, const struct dg_key *key, const char *type)
{
    dg_text_add(text, "type: [%s, string], ", type);
    add_range(text, key->min, key->max);
}

/* The type of a key that is no mapping. */
static void add_type(struct dg_text *text, const struct dg_key *key)
{
    switch (key->kind) {
    case DG_KEY_MAP:
    case DG_KEY_ARGUMENT: break;
    case DG_KEY_ARGUMENTS: dg_text_add(text, "allOf: [{$ref: '#/definitions/arguments'}], "); break;
    case DG_KEY_WORD: dg_text_add(text, "type: string, minLength: 1, "); break;
    case DG_KEY_CHOICE:
        add_choices(text, key->choice);
        dg_text_add(text, ", ");
        break;
    case DG_KEY_FLAGS:
        dg_text_add(text, "type: array, items: {");
        add_choices(text, key->choice);
        dg_text_add(text, "}, ");
        break;
    case DG_KEY_BOOL: dg_text_add(text, "type: [boolean, string], "); break;
    case DG_KEY_INT: add_number(text, key, "integer"); break;
    case DG_KEY_FLOAT: add_number(text, key, "number"); break;
    case DG_KEY_PAIR: add_array(text, key, 2); break;
    case DG_KEY_LIST: add_array(text, key, key->count); break;
    case DG_KEY_INTERVAL:
        dg_text_add(text, "type: string, pattern: '^.+ (epoch|epochs|step|steps|minute|minutes)$', examples: "
                          "[1 epoch or 15 minutes, 500 steps], ");
        break;
    case DG_KEY_DURATION:
    case DG_KEY_UNTIL: dg_text_add(text, "allOf: [{$ref: '#/definitions/length'}], "); break;
    case DG_KEY_FLOAT_OR_SCHEDULE:
    case DG_KEY_SCHEDULE: dg_text_add(text, "allOf: [{$ref: '#/definitions/schedule'}], "); break;
    case DG_KEY_SIZE:
        dg_text_add(text, "type: [integer, string, array], ");
        add_range(text, key->min, key->max);
        dg_text_add(text, "minItems: 2, maxItems: 2, items: {");
        add_number(text, key, "integer");
        dg_text_add(text, "}, ");
        break;
    case DG_KEY_ITEMS:
        dg_text_add(text,
                    "type: array, minItems: 1, maxItems: %zu, items: {type: object, additionalProperties: false, "
                    "properties: {",
                    key->count);
        add_properties(text, key->item, "", false);
        dg_text_add(text, "}}, ");
        break;
    case DG_KEY_OPTIMIZER: {
        const struct dg_op *op;
        dg_text_add(text, "enum: [");
        for (int i = 0; (op = dg_optimizer_at(i)); i++)
            if (!key->only || !strcmp(op->name, key->only)) dg_text_add(text, "%s, ", op->name);
        dg_text_add(text, "], ");
        break;
    }
    }
}

/* Is a key of the rows of this group required, one level down or further? */
static bool has_required(const struct dg_key *row, const char *group)
{
    for (; row->path && !strncmp(row->path, group, strlen(group)); row++)
        if (row->required) return true;
    return false;
}

/* The names of the keys one level down in a group that must be there. */
static void add_required(struct dg_text *text, const struct dg_key *row, const char *group)
{
    size_t length = strlen(group);
    for (; row->path && !strncmp(row->path, group, length); row++) {
        const char *name = row->path + length;
        if (strchr(name, '.')) continue;
        if (row->required ||
            (row->kind == DG_KEY_MAP && has_required(row + 1, dg_arena_printf(text->arena, "%s.", row->path))))
            dg_text_add(text, "%s, ", name);
    }
}

/* Adds the keys of a group, from the row on whose path begins with it; returns the row behind them. */
static const struct dg_key *add_properties(struct dg_text *text, const struct dg_key *row, const char *group,
                                           bool defaults)
{
    size_t length = strlen(group);
    while (row->path && !strncmp(row->path, group, length)) {
        const struct dg_key *key = row++;
        if (key->kind == DG_KEY_ARGUMENT) continue;
        dg_text_add(text, "%s: {", key->path + length);
        add_doc(text, key->doc);
        add_type(text, key);
        if (defaults && key->value) dg_text_add(text, "default: %s, ", key->value);
        const char *inner = dg_arena_printf(text->arena, "%s.", key->path);
        if (key->kind == DG_KEY_MAP) {
            const struct dg_key *first = row;
            dg_text_add(text, "type: %s, additionalProperties: false, properties: {",
                        key->item_of ? "[object, array]" : "object");
            row = add_properties(text, first, inner, defaults);
            dg_text_add(text, "}");
            if (key->item_of) {
                dg_text_add(text, ", items: {type: object, additionalProperties: false, properties: {");
                add_properties(text, first, inner, false);
                dg_text_add(text, "}}");
            }
        }
        dg_text_add(text, "}, ");
        if (key->kind == DG_KEY_OPTIMIZER)
            add_properties(text, dg_optimizer_keys_of(text->arena, key), group, defaults);
    }
    return row;
}

/* What must be there, at the top and in its groups, which have no groups with such keys in turn. */
static void add_all_required(struct dg_text *text, const struct dg_key *keys)
{
    dg_text_add(text, "required: [");
    add_required(text, keys, "");
    dg_text_add(text, "], properties: {");
    for (const struct dg_key *key = keys; key->path; key++) {
        const char *inner = dg_arena_printf(text->arena, "%s.", key->path);
        if (key->kind != DG_KEY_MAP || !has_required(key + 1, inner)) continue;
        dg_text_add(text, "%s: {required: [", key->path);
        add_required(text, key + 1, inner);
        dg_text_add(text, "]}, ");
    }
    dg_text_add(text, "}");
}

/* A recipe like another one has what must be there from that. */
static void add_definition(struct dg_text *text, const char *kind, const char *doc, const struct dg_key *keys)
{
    bool like = keys == dg_train_keys;
    dg_text_add(text,
                "  %s: {description: %s, type: object, additionalProperties: false, required: [%s], if: {required: "
                "[like]}, then: {}, else: {",
                kind, doc, kind);
    add_all_required(text, keys);
    dg_text_add(text,
                "}, properties: {%s: {description: The %s's name., type: string, minLength: 1}, import: {$ref: "
                "'#/definitions/import'}, ",
                kind, kind);
    if (like)
        dg_text_add(text, "like: {description: 'The recipe whose keys these are, but for those given here.', type: "
                          "string, minLength: 1}, without: {description: 'Keys of that recipe that this one has not, "
                          "as loss.teacher_temp.', type: array, items: {type: string}}, ");
    add_properties(text, keys, "", true);
    dg_text_add(text, "}}\n");
}

void dg_print_schema(struct dg_text *text)
{
    struct dg_text yaml = {.arena = text->arena};
    dg_text_add(&yaml, "%s", frame);
    add_ops(&yaml);
    add_definition(&yaml, "recipe", "A training run.", dg_train_keys);
    add_definition(&yaml, "probe", "A linear classifier on the features of a frozen network.", dg_probe_keys);
    struct dg_diagnostics *diag = dg_diag_create(text->arena);
    const struct dg_yaml *documents = dg_yaml_parse(text->arena, diag, "schema", yaml.text, yaml.length);
    if (documents)
        dg_print_json(text, documents->item[0].value);
    else
        dg_text_add(text, "%s", dg_diag_text(diag)); /* only by a mistake in this file */
}

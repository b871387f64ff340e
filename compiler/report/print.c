/* dinoc --print: the description as YAML with every default filled in. */
#include "compiler/report/report.h"

#include <string.h>

enum { WIDTH = 118 };

/* Plain scalars are those that read back as themselves, also inside of [] and {}. */
static bool needs_quotes(const char *s)
{
    size_t n = strlen(s);
    if (!n || strpbrk(s, ",[]{}\"\\\n\t") || strstr(s, ": ") || strstr(s, " #")) return true;
    if (s[n - 1] == ' ' || s[n - 1] == ':') return true;
    if (s[0] == '-') return n == 1 || s[1] == ' ';
    return strchr("?:#&*!|>'%@` ", s[0]) != NULL;
}

static void scalar(struct dg_text *text, const char *s)
{
    if (!needs_quotes(s)) {
        dg_text_add(text, "%s", s);
        return;
    }
    dg_text_add(text, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            dg_text_add(text, "\\%c", *s);
        else if (*s == '\n' || *s == '\t')
            dg_text_add(text, *s == '\n' ? "\\n" : "\\t");
        else
            dg_text_add(text, "%c", *s);
    }
    dg_text_add(text, "\"");
}

static void flow(struct dg_text *text, const struct dg_yaml *node)
{
    if (node->kind == DG_YAML_SCALAR) {
        scalar(text, node->text);
        return;
    }
    bool map = node->kind == DG_YAML_MAP;
    dg_text_add(text, map ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        if (i) dg_text_add(text, ", ");
        if (map) {
            scalar(text, node->item[i].key);
            dg_text_add(text, ": ");
        }
        flow(text, node->item[i].value);
    }
    dg_text_add(text, map ? "}" : "]");
}

/* On one line where it fits, else an item a line. */
static void block(struct dg_text *text, const struct dg_yaml *map, int indent)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct dg_yaml *value = map->item[i].value;
        if (!indent && !strcmp(map->item[i].key, "import")) continue; /* what it brings is printed, too */
        dg_text_add(text, "%*s", indent, "");
        scalar(text, map->item[i].key);
        dg_text_add(text, ":");
        struct dg_text one = {.arena = text->arena};
        dg_text_add(&one, " ");
        flow(&one, value);
        bool fits = (size_t)indent + strlen(map->item[i].key) + one.length < WIDTH;
        if (value->kind != DG_YAML_MAP || fits || !value->count)
            dg_text_add(text, "%s\n", one.text);
        else {
            dg_text_add(text, "\n");
            block(text, value, indent + 2);
        }
    }
}

void dg_print_program(struct dg_text *text, const struct dg_program *program, const struct dg_definition *definition)
{
    for (const struct dg_definition *d = program->first; d; d = d->next)
        if (d->kind == DG_DEFINITION_MODULE && d != definition) {
            block(text, d->map, 0);
            dg_text_add(text, "---\n");
        }
    block(text, definition->map, 0);
}

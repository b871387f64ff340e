#include "compiler/report/json.h"

#include <ctype.h>
#include <string.h>

enum { WIDTH = 120, INDENT = 2 };

static const char *skip_digits(const char *s)
{
    while (isdigit((unsigned char)*s)) s++;
    return s;
}

/* A number as JSON writes it: no sign +, digits before and behind the point. */
static bool is_number(const char *s)
{
    if (*s == '-') s++;
    if (!isdigit((unsigned char)*s) || (*s == '0' && isdigit((unsigned char)s[1]))) return false;
    s = skip_digits(s);
    if (*s == '.') {
        if (!isdigit((unsigned char)s[1])) return false;
        s = skip_digits(s + 1);
    }
    if (*s == 'e' || *s == 'E') {
        s += s[1] == '-' || s[1] == '+' ? 2 : 1;
        if (!isdigit((unsigned char)*s)) return false;
        s = skip_digits(s);
    }
    return !*s;
}

static void print_string(struct dg_text *text, const char *s)
{
    dg_text_add(text, "\"");
    for (; *s; s++) dg_text_add(text, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    dg_text_add(text, "\"");
}

static void print_scalar(struct dg_text *text, const struct dg_yaml *node)
{
    if (!node->quoted && (is_number(node->text) || !strcmp(node->text, "true") || !strcmp(node->text, "false")))
        dg_text_add(text, "%s", node->text);
    else
        print_string(text, node->text);
}

static void print(struct dg_text *text, const struct dg_yaml *node, int indent, int room, bool one_line);

/* The items of a mapping or list, on one line or each on its own. */
static void print_items(struct dg_text *text, const struct dg_yaml *node, int indent, bool one_line)
{
    bool map = node->kind == DG_YAML_MAP;
    dg_text_add(text, map ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        bool last = i + 1 == node->count;
        if (!one_line) dg_text_add(text, "\n%*s", indent + INDENT, "");
        size_t start = text->length;
        if (map) {
            print_string(text, node->item[i].key);
            dg_text_add(text, ": ");
        }
        int used = indent + INDENT + (int)(text->length - start) + !last;
        print(text, node->item[i].value, indent + INDENT, WIDTH - used, one_line);
        if (!last) dg_text_add(text, one_line ? ", " : ",");
    }
    if (!one_line) dg_text_add(text, "\n%*s", indent, "");
    dg_text_add(text, map ? "}" : "]");
}

static void print(struct dg_text *text, const struct dg_yaml *node, int indent, int room, bool one_line)
{
    if (node->kind == DG_YAML_SCALAR) {
        print_scalar(text, node);
        return;
    }
    if (one_line) {
        print_items(text, node, indent, true);
        return;
    }
    struct dg_text line = {.arena = text->arena};
    print_items(&line, node, indent, true);
    if ((int)line.length <= room)
        dg_text_add(text, "%s", line.text);
    else
        print_items(text, node, indent, false);
}

void dg_print_json(struct dg_text *text, const struct dg_yaml *node)
{
    print(text, node, 0, WIDTH, false);
    dg_text_add(text, "\n");
}

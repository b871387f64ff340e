/* `--set`: puts values of the command line into the tree of a definition before it is read. */
#include "compiler/language/program.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the value of `key` stands in a mapping or a list; NULL: it is not there. */
static struct dg_yaml **child(struct dg_yaml *node, const char *key)
{
    char *end;
    long index = strtol(key, &end, 10);
    if (node->kind == DG_YAML_LIST)
        return isdigit((unsigned char)*key) && !*end && (size_t)index < node->count ? &node->item[index].value : NULL;
    struct dg_yaml_item *item = dg_yaml_find(node, key);
    return item ? &item->value : NULL;
}

/* The value behind `equals`. Its text is parsed where it stands in program->settings, so that its places are right. NULL:
 * reported. */
static struct dg_yaml *parse_value(struct dg_program *program, const char *assignment, const char *equals,
                                   const struct dg_origin *at)
{
    size_t lines = (size_t)at->line - 1, padding = lines + (size_t)(equals - assignment) + 1, size = strlen(equals + 1);
    char *padded = dg_arena_alloc(program->arena, padding + size + 1);
    memset(padded, '\n', lines);
    memset(padded + lines, ' ', padding - lines);
    memcpy(padded + padding, equals + 1, size);
    struct dg_yaml *parsed = dg_yaml_parse(program->arena, program->diag, at->file, padded, padding + size);
    if (!parsed) return NULL;
    if (parsed->count == 1) return parsed->item[0].value;
    dg_diag_error(program->diag, at, "--set %s: expected one value after =", assignment);
    return NULL;
}

/* The mapping or list at `place`, or a new mapping put there, and at `key` of `node` where `place` is NULL. */
static struct dg_yaml *descend(struct dg_arena *arena, struct dg_yaml *node, const char *key, struct dg_yaml **place,
                               const struct dg_origin *at)
{
    if (place && (*place)->kind != DG_YAML_SCALAR) return *place;
    struct dg_yaml *inner = dg_arena_alloc(arena, sizeof *inner);
    *inner = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = *at};
    if (place)
        *place = inner;
    else
        dg_yaml_put(arena, node, key, inner);
    return inner;
}

bool dg_program_set(struct dg_program *program, struct dg_yaml *map, const char *assignment, int number)
{
    struct dg_arena *arena = program->arena;
    const char *equals = strchr(assignment, '=');
    struct dg_origin at = {.file = "--set", .line = number, .column = 1};
    /* All assignments together are one text, a line each, so that messages can show the line. */
    program->settings = dg_arena_printf(arena, "%s%s\n", program->settings ? program->settings : "", assignment);
    dg_diag_source(program->diag, at.file, program->settings);
    if (!equals || equals == assignment || strchr(assignment, '\n')) {
        dg_diag_error(program->diag, &at, "expected key=value, e.g. --set batch=16");
        return false;
    }
    struct dg_yaml *value = parse_value(program, assignment, equals, &at), *node = map;
    if (!value) return false;
    char *path = dg_arena_strndup(arena, assignment, (size_t)(equals - assignment));
    for (char *key = path, *dot; key; key = dot) {
        dot = strchr(key, '.');
        if (dot) *dot++ = 0;
        struct dg_yaml **place = child(node, key);
        if (!*key || (!place && node->kind != DG_YAML_MAP)) {
            dg_diag_error(program->diag, &at, "--set %s: there is no %s to set a part of", assignment,
                          *key ? key : "empty key");
            return false;
        }
        if (dot) {
            node = descend(arena, node, key, place, &at);
        } else if (place) {
            *place = value;
        } else {
            dg_yaml_put(arena, node, key, value);
            node->item[node->count - 1].key_origin = at;
        }
    }
    return true;
}

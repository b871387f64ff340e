/* `--set`: values from the command line, put into the tree before anybody reads it. */
#include "compiler/language/program.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of `key` in a mapping or a list; NULL if it is not there. */
static struct dg_yaml **child(struct dg_yaml *node, const char *key)
{
    char *end;
    long position = strtol(key, &end, 10);
    if (node->kind == DG_YAML_LIST)
        return isdigit((unsigned char)*key) && !*end && (size_t)position < node->count ? &node->item[position].value
                                                                                       : NULL;
    for (size_t i = 0; i < node->count; i++)
        if (!strcmp(node->item[i].key, key)) return &node->item[i].value;
    return NULL;
}

bool dg_program_set(struct dg_program *program, struct dg_yaml *map, const char *assignment, int number)
{
    struct dg_arena *arena = program->arena;
    const char *equals = strchr(assignment, '=');
    const char *file = "--set";
    struct dg_origin at = {.file = file, .line = number, .column = 1};
    /* All assignments together are one text, a line each, so that messages can show the line. */
    const char *before = program->settings ? program->settings : "";
    program->settings = dg_arena_printf(arena, "%s%s\n", before, assignment);
    dg_diag_source(program->diag, file, program->settings);
    if (!equals || equals == assignment || strchr(assignment, '\n')) {
        dg_diag_error(program->diag, &at, "expected key=value, e.g. --set batch=16");
        return false;
    }
    /* The value, where it stands in that text: so its places are right. */
    size_t lines = (size_t)number - 1, padding = lines + (size_t)(equals - assignment) + 1, size = strlen(equals + 1);
    char *padded = dg_arena_alloc(arena, padding + size + 1);
    memset(padded, '\n', lines);
    memset(padded + lines, ' ', padding - lines);
    memcpy(padded + padding, equals + 1, size);
    struct dg_yaml *parsed = dg_yaml_parse(arena, program->diag, file, padded, padding + size);
    if (!parsed) return false;
    if (parsed->count != 1) {
        dg_diag_error(program->diag, &at, "--set %s: expected one value after =", assignment);
        return false;
    }
    struct dg_yaml *value = parsed->item[0].value;

    char *path = dg_arena_strndup(arena, assignment, (size_t)(equals - assignment));
    struct dg_yaml *node = map;
    for (char *key = path, *dot; key; key = dot) {
        dot = strchr(key, '.');
        if (dot) *dot++ = 0;
        struct dg_yaml **place = child(node, key);
        if (!*key || (!place && node->kind != DG_YAML_MAP)) {
            dg_diag_error(program->diag, &at, "--set %s: there is no %s to set a part of", assignment,
                          *key ? key : "empty key");
            return false;
        }
        if (dot && place && (*place)->kind != DG_YAML_SCALAR) {
            node = *place;
        } else if (dot) { /* a mapping in place of nothing or of a plain value */
            struct dg_yaml *inner = dg_arena_alloc(arena, sizeof *inner);
            *inner = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = at};
            if (place)
                *place = inner;
            else
                dg_yaml_put(arena, node, key, inner);
            node = inner;
        } else if (place) {
            *place = value;
        } else {
            dg_yaml_put(arena, node, key, value);
            node->item[node->count - 1].key_origin = at;
        }
    }
    return true;
}

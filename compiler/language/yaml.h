/* Parses YAML text to a tree with places, by libyaml. Anchors, aliases, tags, merge keys, keys that are no words and duplicate
 * keys are refused; depth and size are bounded. */
#ifndef DG_COMPILER_LANGUAGE_YAML_H
#define DG_COMPILER_LANGUAGE_YAML_H

#include "compiler/base/diag.h"

enum dg_yaml_kind { DG_YAML_SCALAR, DG_YAML_LIST, DG_YAML_MAP };

struct dg_yaml {
    enum dg_yaml_kind kind;
    struct dg_origin origin;
    const char *text; /* scalars */
    bool quoted;      /* "..." or '...' */
    struct dg_yaml_item {
        const char *key; /* maps */
        struct dg_origin key_origin;
        struct dg_yaml *value;
        bool used; /* dg_yaml_get has returned it; dg_yaml_check_used reports the others */
    } * item;
    size_t count, capacity;
    const char **asked; /* keys that dg_yaml_get was called with: what an unknown key may have meant */
    size_t num_asked, asked_capacity;
};

/* All documents of the text, as a list node. NULL: reported. */
struct dg_yaml *dg_yaml_parse(struct dg_arena *arena, struct dg_diagnostics *diag, const char *file, const char *text,
                              size_t size);

/* The item of `key` in a map (NULL map: none), not marked as used. NULL if absent. */
struct dg_yaml_item *dg_yaml_find(const struct dg_yaml *map, const char *key);
/* The value of `key` in a map (NULL map: none), marked as used. NULL if absent. */
struct dg_yaml *dg_yaml_get(struct dg_arena *arena, struct dg_yaml *map, const char *key);
/* The same, but a key that is not there is not named among those that could be. */
struct dg_yaml *dg_yaml_get_if(struct dg_arena *arena, struct dg_yaml *map, const char *key);
/* Reports every key of the map that nobody asked for; `what` names the map in the message. */
void dg_yaml_check_used(struct dg_diagnostics *diag, const struct dg_yaml *map, const char *what);
/* Replaces or adds an item. */
void dg_yaml_put(struct dg_arena *arena, struct dg_yaml *map, const char *key, struct dg_yaml *value);

#endif

/* `like` of a recipe: the recipe of that name with this one's keys in the place of its own. */
#include "compiler/language/program.h"

#include <string.h>

enum { MAX_LIKE = 16 };

/* A copy whose mappings and lists may be changed; scalars are shared. */
static struct dg_yaml *copy_tree(struct dg_arena *arena, const struct dg_yaml *tree)
{
    struct dg_yaml *copy = dg_arena_alloc(arena, sizeof *copy);
    *copy = (struct dg_yaml){.kind = tree->kind, .origin = tree->origin, .text = tree->text, .quoted = tree->quoted};
    for (size_t i = 0; i < tree->count; i++) {
        copy->item = dg_arena_grow(arena, copy->item, copy->count, &copy->capacity, sizeof *copy->item);
        copy->item[copy->count] = tree->item[i];
        copy->item[copy->count].used = false;
        copy->item[copy->count++].value = copy_tree(arena, tree->item[i].value);
    }
    return copy;
}

static void remove_item(struct dg_yaml *map, struct dg_yaml_item *item)
{
    size_t behind = (size_t)(map->item + map->count - (item + 1));
    memmove(item, item + 1, behind * sizeof *item);
    map->count--;
}

/* Takes out the keys of `without`, a list of paths as "loss.teacher_temp". False: reported. */
static bool take_out(struct dg_program *program, struct dg_yaml *map, const struct dg_yaml *without)
{
    if (without->kind != DG_YAML_LIST) {
        dg_diag_error(program->diag, &without->origin, "`without` must be a list of keys, as in [loss.teacher_temp]");
        return false;
    }
    for (size_t i = 0; i < without->count; i++) {
        const struct dg_yaml *path = without->item[i].value;
        struct dg_yaml *group = map;
        const char *key = path->kind == DG_YAML_SCALAR ? path->text : "";
        for (const char *dot; group && (dot = strchr(key, '.')); key = dot + 1) {
            const char *name = dg_arena_strndup(program->arena, key, (size_t)(dot - key));
            const struct dg_yaml_item *inner = dg_yaml_find(group, name);
            group = inner && inner->value->kind == DG_YAML_MAP ? inner->value : NULL;
        }
        struct dg_yaml_item *item = dg_yaml_find(group, key);
        if (item) {
            remove_item(group, item);
            continue;
        }
        dg_diag_error(program->diag, &path->origin, "without: the other recipe has no key %s",
                      path->kind == DG_YAML_SCALAR ? path->text : "that is a list");
        return false;
    }
    return true;
}

/* Puts the keys of `over` into `map`: mappings key by key, everything else, and a curve, as a whole. */
static void merge(struct dg_arena *arena, struct dg_yaml *map, const struct dg_yaml *over)
{
    map->origin = over->origin;
    for (size_t i = 0; i < over->count; i++) {
        const struct dg_yaml_item *item = &over->item[i];
        struct dg_yaml_item *there = dg_yaml_find(map, item->key);
        bool maps = there && there->value->kind == DG_YAML_MAP && item->value->kind == DG_YAML_MAP;
        if (maps && !dg_yaml_find(item->value, "curve") && !dg_yaml_find(there->value, "curve")) {
            merge(arena, there->value, item->value);
            continue;
        }
        dg_yaml_put(arena, map, item->key, item->value);
        dg_yaml_find(map, item->key)->key_origin = item->key_origin;
    }
}

/* The recipe that `like` of another names. NULL: reported. */
static const struct dg_definition *find_base(struct dg_program *program, const struct dg_definition *recipe,
                                             const struct dg_yaml *like, int depth)
{
    if (like->kind != DG_YAML_SCALAR) {
        dg_diag_error(program->diag, &like->origin, "`like` wants the name of a recipe");
        return NULL;
    }
    const struct dg_definition *base = dg_program_definition(program, DG_DEFINITION_RECIPE, like->text);
    if (!base)
        dg_diag_error(program->diag, &like->origin, "there is no recipe %s%s", like->text,
                      dg_program_nearest(program, like->text));
    else if (base == recipe || depth == MAX_LIKE)
        dg_diag_error(program->diag, &like->origin, "recipe %s is like itself", like->text);
    else
        return base;
    return NULL;
}

bool dg_program_resolve_like(struct dg_program *program, struct dg_definition *recipe)
{
    struct dg_arena *arena = program->arena;
    const struct dg_yaml_item *like;
    for (int depth = 0; (like = dg_yaml_find(recipe->map, "like")); depth++) {
        const struct dg_definition *base = find_base(program, recipe, like->value, depth);
        if (!base) return false;
        struct dg_yaml *map = copy_tree(arena, base->map), *own = copy_tree(arena, recipe->map);
        remove_item(own, dg_yaml_find(own, "like")); /* the base's stays, for the next turn */
        struct dg_yaml_item *without = dg_yaml_find(own, "without");
        if (without) {
            if (!take_out(program, map, without->value)) return false;
            remove_item(own, without);
        }
        merge(arena, map, own);
        dg_yaml_get(arena, map, "recipe"); /* its name has been read */
        recipe->map = map;
    }
    return true;
}

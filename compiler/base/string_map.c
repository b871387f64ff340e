#include "compiler/base/string_map.h"

#include "ops/base/base.h"

#include <string.h>

/* Where the name is, or would be. At least half of the slots are empty. */
static struct dg_string_map_slot *find(const struct dg_string_map *names, const char *name)
{
    size_t at = (size_t)dg_fnv1a(DG_FNV_BASIS, name, strlen(name)) & (names->num_slots - 1);
    while (names->slot[at].name && strcmp(names->slot[at].name, name)) at = (at + 1) & (names->num_slots - 1);
    return &names->slot[at];
}

const uint32_t *dg_string_map_find(const struct dg_string_map *names, const char *name)
{
    const struct dg_string_map_slot *slot = names->num_slots ? find(names, name) : NULL;
    return slot && slot->name ? &slot->number : NULL;
}

void dg_string_map_add(struct dg_arena *arena, struct dg_string_map *names, const char *name, uint32_t number)
{
    if (names->count * 2 >= names->num_slots) {
        struct dg_string_map larger = {.num_slots = names->num_slots ? names->num_slots * 2 : 64,
                                       .count = names->count};
        larger.slot = dg_arena_alloc(arena, larger.num_slots * sizeof *larger.slot);
        for (size_t i = 0; i < names->num_slots; i++)
            if (names->slot[i].name) *find(&larger, names->slot[i].name) = names->slot[i];
        *names = larger;
    }
    *find(names, name) = (struct dg_string_map_slot){name, number};
    names->count++;
}

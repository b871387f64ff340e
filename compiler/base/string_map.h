/* From names to numbers, by a hash table: looking one up takes the same time however many there are. */
#ifndef DG_COMPILER_BASE_STRING_MAP_H
#define DG_COMPILER_BASE_STRING_MAP_H

#include "compiler/base/arena.h"

#include <stdint.h>

struct dg_string_map_slot {
    const char *name; /* NULL: empty */
    uint32_t number;
};
struct dg_string_map { /* zero-initialise; all memory is the arena's */
    struct dg_string_map_slot *slot;
    size_t num_slots, count;
};

/* The name's number; NULL if it is not there. */
const uint32_t *dg_string_map_find(const struct dg_string_map *names, const char *name);
/* Adds a name that is not there, keeping the pointer. */
void dg_string_map_add(struct dg_arena *arena, struct dg_string_map *names, const char *name, uint32_t number);

#endif

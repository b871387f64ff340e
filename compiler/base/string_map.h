/* From names to numbers, by a hash table: looking one up takes the same time however many there are. */
#ifndef DG_COMPILER_BASE_STRING_MAP_H
#define DG_COMPILER_BASE_STRING_MAP_H

#include "compiler/base/arena.h"

#include <stdint.h>

struct dg_name_slot {
    const char *name; /* NULL: empty */
    uint32_t number;
};
struct dg_names { /* zero-initialise; all memory is the arena's */
    struct dg_name_slot *slot;
    size_t num_slots, count;
};

/* The name's number; NULL if it is not there. */
const uint32_t *dg_names_find(const struct dg_names *names, const char *name);
/* Adds a name that is not there, keeping the pointer. */
void dg_names_add(struct dg_arena *arena, struct dg_names *names, const char *name, uint32_t number);

#endif

/* Tensors by group, for messages: how many there are of each first component of a name. */
#ifndef DG_RUNTIME_LAYOUTS_GROUPS_H
#define DG_RUNTIME_LAYOUTS_GROUPS_H

#include <stdint.h>

enum { DG_GROUPS_MAX = 24 };

struct dg_groups {
    char name[DG_GROUPS_MAX][64];
    int64_t count[DG_GROUPS_MAX], all;
    int used;
    char text[1000];
};

/* Counts a tensor in the group of the first `components` of its name. */
void dg_groups_add(struct dg_groups *groups, const char *name, int components);
/* "head (8), decoder_blocks (96)", in the order in which they were met. */
const char *dg_groups_text(struct dg_groups *groups);

#endif

/* How libraries name a network's tensors, and what these are called here: the official names, which are timm's for Vision
 * Transformers and torchvision's for ResNets. */
#ifndef DG_RUNTIME_LAYOUTS_LAYOUTS_H
#define DG_RUNTIME_LAYOUTS_LAYOUTS_H

#include "ops/base/base.h"

enum { DG_LAYOUT_NAME = 320, DG_LAYOUT_PARTS = 3, DG_LAYOUT_PATCHES = 4 };

struct dg_layout_row {
    const char
        *theirs; /* # is a number that is taken over, * one that is not; what follows the pattern is taken over */
    const char *ours;
    int part; /* 1 to 3: rows of a tensor that is made of three, query, key and value. DG_LAYOUT_PATCHES: a table of positions
               * without the class token's */
};

struct dg_name_layout {
    const char *what;                /* "a Vision Transformer under transformers' names" */
    const char *sign[2];             /* names that such a network has, from its beginning; the second may be NULL */
    const struct dg_layout_row *row; /* NULL: the names are ours */
    double eps;             /* of its layer norms, by the library's default; 0: it has none, or it is not known */
    bool keys_without_bias; /* the bias of keys may be absent, and is zero then */
};

extern const struct dg_name_layout dg_layouts[];
extern const int dg_layout_count;

/* Translates `theirs`, a name below the network's prefix, to `ours`. Returns the row's `part`, 0 for a tensor of its own; a name that
 * no row has stays as it is. */
int dg_layout_translate(const struct dg_name_layout *layout, const char *theirs, char ours[DG_LAYOUT_NAME]);

/* The other way: what the library calls `ours`, by the first row that has it; of a tensor that is made of three their `part`. False:
 * there is no such row, and the name stays as it is. */
bool dg_layout_translate_back(const struct dg_name_layout *layout, const char *ours, int part,
                              char theirs[DG_LAYOUT_NAME]);

/* The first layout of which `name` is a sign; NULL: there is none. */
const struct dg_name_layout *dg_layout_find(const char *name);

#endif

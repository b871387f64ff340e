/* Where the patches of a Vision Transformer lie in its images. */
#ifndef DG_RUNTIME_DRAW_PATCHES_H
#define DG_RUNTIME_DRAW_PATCHES_H

#include "runtime/plan/open.h"

/* Patch (r, c) covers the pixels [r * size, (r + 1) * size) x [c * size, (c + 1) * size). If the size does not divide
 * the image, the rest at its right and bottom is covered by no patch, as in the published code. Tokens are the class
 * token, registers if there are any, then the patches row by row. */
struct dg_patches {
    int height, width; /* of the input's images */
    int rows, cols;    /* of patches */
    int size;          /* of a patch's side, in pixels */
    int64_t first;     /* tokens before those of the patches */
};

/* Pixels that the patches cover. */
static inline int dg_patches_height(const struct dg_patches *p) { return p->rows * p->size; }
static inline int dg_patches_width(const struct dg_patches *p) { return p->cols * p->size; }
static inline int64_t dg_patches_count(const struct dg_patches *p) { return (int64_t)p->rows * p->cols; }
static inline int64_t dg_patches_tokens(const struct dg_patches *p) { return p->first + dg_patches_count(p); }

/* Finds the patches of the entry of role DG_ENTRY_ATTENTION or DG_ENTRY_TOKENS. DG_ERR_USAGE: the plan has no such
 * entry, since its backbone is no Vision Transformer. DG_ERR_UNSUPPORTED: the network is not of the published kind (one
 * class token, perhaps registers, then a grid of square patches). */
enum dg_status dg_patches_init(const struct dg_plan *plan, enum dg_entry_role role, struct dg_patches *patches,
                               struct dg_error *err);

#endif

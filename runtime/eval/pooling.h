/* What `dinorun features` makes of an image's tokens: one of them, all of them, or means over the patches. */
#ifndef DG_RUNTIME_EVAL_POOLING_H
#define DG_RUNTIME_EVAL_POOLING_H

#include "runtime/draw/patches.h"

enum dg_token_pooling {
    DG_POOLING_CLS,            /* [dim]: what the entry `features` has, of a ViT the class token */
    DG_POOLING_TOKENS,         /* [tokens, dim]: the class token, registers if there are any, patches row by row */
    DG_POOLING_PATCHES,        /* [rows, cols, dim] */
    DG_POOLING_PATCH_MEAN,     /* [dim]: mean of the patches */
    DG_POOLING_GEM,            /* [dim]: GeM of the patches, (mean of max(x, 1e-6)^4)^(1/4), as in the official
                                * eval_copy_detection.py */
    DG_POOLING_CLS_GEM,        /* [2 dim]: the class token, then GeM */
    DG_POOLING_CLS_PATCH_MEAN, /* [2 dim]: the class token, then the mean */
};

#define DG_POOLING_NAMES "cls|tokens|patches|patch-mean|gem|cls+gem|cls+patch-mean" /* in the order of the enum */

enum { DG_POOLING_MAX_DIMS = 3 };

/* The one of that name, which is among DG_POOLING_NAMES. */
enum dg_token_pooling dg_pooling_find(const char *name);

/* The entry that computes what it is made of: DG_ENTRY_FEATURES, or DG_ENTRY_TOKENS. */
enum dg_entry_role dg_pooling_role(enum dg_token_pooling pooling);

/* Sets the dimensions of an image's output, and returns how many there are. `dim` is a token's length; `patches` are
 * those of the entry `tokens`, and not read for DG_POOLING_CLS. */
int dg_pooling_shape(enum dg_token_pooling pooling, const struct dg_patches *patches, int64_t dim,
                     int64_t shape[DG_POOLING_MAX_DIMS]);

/* Makes the output of one image of its tokens [tokens, dim]. Sums are in f64. For DG_POOLING_CLS `tokens` is the
 * entry's output [dim]. */
void dg_pooling_apply(enum dg_token_pooling pooling, const struct dg_patches *patches, int64_t dim, const float *tokens,
                      float *out);

#endif

/* What a layer norm has beside its input: an op that makes it of a sum needs to know. */
#ifndef DG_OPS_NORM_LAYER_NORM_H
#define DG_OPS_NORM_LAYER_NORM_H

#include "ops/op.h"

extern const struct dg_op dg_op_layer_norm;

enum { DG_LAYER_NORM_EPS };                                           /* attribute */
enum { DG_LAYER_NORM_SRC, DG_LAYER_NORM_WEIGHT, DG_LAYER_NORM_BIAS }; /* inputs */
enum { DG_LAYER_NORM_DST, DG_LAYER_NORM_MEAN, DG_LAYER_NORM_RSTD, DG_LAYER_NORM_OUTPUTS };

/* For the `join` of an op that adds: where the sum's first reader is a layer norm, add_layer_norm takes both over. `src` and
 * `residual` are the terms, and `rate` is drop path's, of src; 0: it is a plain sum. False: it is no layer norm. */
bool dg_join_layer_norm(struct dg_fusion *f, dg_value src, dg_value residual, double rate);

#endif

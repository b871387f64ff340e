/* Where batch_norm has its attributes and inputs: a convolution that folds one in needs to know. */
#ifndef DG_OPS_NORM_BATCH_NORM_H
#define DG_OPS_NORM_BATCH_NORM_H

#include "ops/op.h"

extern const struct dg_op dg_op_batch_norm;

enum { DG_NORM_EPS, DG_NORM_MOMENTUM, DG_NORM_RELU }; /* attributes */
enum {
    DG_NORM_SRC,
    DG_NORM_WEIGHT,
    DG_NORM_BIAS,
    DG_NORM_RUNNING_MEAN,
    DG_NORM_RUNNING_VAR,
    DG_NORM_TRACKED,
    DG_NORM_INPUTS
};

#endif

/* Where the gradient of a linear layer's weights has what it reads and makes: an op that makes the bias's gradient in its
 * place needs to know. */
#ifndef DG_OPS_DENSE_LINEAR_H
#define DG_OPS_DENSE_LINEAR_H

#include "ops/op.h"

extern const struct dg_op dg_op_linear_grad_weights;

enum { DG_LINEAR_GRAD_SRC, DG_LINEAR_GRAD_DIFF_DST, DG_LINEAR_GRAD_ACC_WEIGHT, DG_LINEAR_GRAD_ACC_BIAS }; /* inputs */
enum { DG_LINEAR_GRAD_WEIGHT, DG_LINEAR_GRAD_BIAS };                                                      /* outputs */

#endif

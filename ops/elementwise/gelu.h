/* What gradients of gelu share: operands and shapes. */
#ifndef DG_OPS_ELEMENTWISE_GELU_H
#define DG_OPS_ELEMENTWISE_GELU_H

#include "ops/op.h"

enum { DG_GELU_GRAD_SRC, DG_GELU_GRAD_DIFF_DST }; /* inputs */
enum { DG_GELU_GRAD_DIFF_SRC };                   /* output */

#define DG_GELU_GRAD_INPUTS                                                                                            \
    [DG_GELU_GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT}, [DG_GELU_GRAD_DIFF_DST] = {"diff_dst",                      \
                                                                                      DG_BF16_OK | DG_COMPACT}
#define DG_GELU_GRAD_OUTPUT                                                                                            \
    [DG_GELU_GRAD_DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(DG_GELU_GRAD_DIFF_DST)}

enum dg_status dg_gelu_grad_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);

#endif

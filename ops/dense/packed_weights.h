/* Weights of products in the layout that oneDNN's matmul chooses, rounded to bf16 in a plan in bf16: made once a step for all
 * products that read them, instead of in each run. compiler/passes/pack_weights.c decides where.
 *
 * The layout is that of one product of a usual number of rows. oneDNN chooses the same for any number from a few dozen on, on the
 * CPUs that were tried. What it chooses is seen when a session is opened: a product that wants another layout packs for itself, as it
 * does where a plan has no packed weights. */
#ifndef DG_OPS_DENSE_PACKED_WEIGHTS_H
#define DG_OPS_DENSE_PACKED_WEIGHTS_H

#include "ops/dnnl/dnnl.h"

/* dst = src weight^T, as in linear and conv2d, and diff_src = diff_dst weight: two layouts. */
enum dg_packed_for { DG_PACKED_FOR_DST, DG_PACKED_FOR_DIFF_SRC };

/* (weight [out, ...]) -> packed: its bytes are oneDNN's. */
extern const struct dg_op dg_op_pack_weights, dg_op_pack_weights_grad_src;

/* Is input `packed` absent, or of the shape that the ops above make? */
enum dg_status dg_packed_check(const struct dg_desc *packed, const struct dg_desc *weight, struct dg_error *err);

/* Do the packed weights have the layout that the product reads? `packed` may be absent. */
bool dg_packed_fits(const struct dg_prepare *p, const struct dg_desc *packed, enum dg_packed_for use,
                    const struct dg_gemm *gemm);

#endif

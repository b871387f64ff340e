/* What ops of a plan in bf16 share: operands that lie there as f32, and the gradient of weights. */
#ifndef DG_OPS_HALF_H
#define DG_OPS_HALF_H

#include "ops/op.h"
#include "ops/seam.h"

/* An operand of a matmul: as it lies there if that is bf16, else rounded into scratch on every run. */
struct dg_half {
    int64_t count, at; /* numbers to round, 0: none; where in scratch */
};
/* Of a plan in f32: nothing will be rounded. */
struct dg_half dg_half_open(struct dg_prepare *p, const struct dg_desc *desc);
const void *dg_half_run(const struct dg_half *half, const struct dg_run *run, const void *operand);

/* The gradient of weights [out, in] and of a bias [out], of an op with inputs (src, diff_dst, [acc_weight], [acc_bias]) and
 * outputs diff_weight, [diff_bias]: sums in f32, accumulators added after them. */
struct dg_weights_bf16 {
    struct dg_outer outer;
    struct dg_half diff_dst;
    int64_t weights, out;       /* elements */
    int64_t weight_at, bias_at; /* offsets in scratch, -1: straight into the output */
    int64_t dnnl_at;
};
enum dg_status dg_weights_bf16_open(struct dg_prepare *p, int64_t rows, int64_t in, int64_t out,
                                    struct dg_weights_bf16 *w, struct dg_error *err);
/* `src`: bf16 [rows, in]. */
enum dg_status dg_weights_bf16_run(struct dg_weights_bf16 *w, const struct dg_run *run, const void *src,
                                   struct dg_error *err);
void dg_weights_bf16_close(struct dg_weights_bf16 *w);

#endif

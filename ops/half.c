#include "ops/half.h"

#include "ops/kernels/kernels.h"

struct dg_half dg_half_open(struct dg_prepare *p, const struct dg_desc *desc)
{
    if (!p->call->bf16 || dg_is_bf16(desc)) return (struct dg_half){0};
    int64_t count = dg_desc_count(desc);
    return (struct dg_half){count, dg_op_scratch(p, count * dg_dtype_size(DG_BF16))};
}

const void *dg_half_run(const struct dg_half *half, const struct dg_run *run, const void *operand)
{
    if (!half->count) return operand;
    void *rounded = (char *)run->scratch + half->at;
    dg_kernels()->to_bf16(half->count, operand, rounded);
    return rounded;
}

enum dg_status dg_weights_bf16_open(struct dg_prepare *p, int64_t rows, int64_t in, int64_t out,
                                    struct dg_weights_bf16 *w, struct dg_error *err)
{
    const struct dg_op_call *call = p->call;
    struct dg_outer_spec spec = {.rows = rows, .in = in, .out = out, .bias = call->output_wanted[1]};
    *w = (struct dg_weights_bf16){.weights = out * in, .out = out, .weight_at = -1, .bias_at = -1};
    DG_TRY(dg_outer_open(p->engine, &spec, &w->outer, err));
    w->diff_dst = dg_half_open(p, &call->input[1]);
    if (!dg_absent(&call->input[2])) w->weight_at = dg_op_scratch(p, dg_desc_bytes(&call->output[0]));
    if (spec.bias && !dg_absent(&call->input[3])) w->bias_at = dg_op_scratch(p, dg_desc_bytes(&call->output[1]));
    w->dnnl_at = dg_op_scratch(p, w->outer.scratch_bytes);
    return DG_OK;
}

enum dg_status dg_weights_bf16_run(struct dg_weights_bf16 *w, const struct dg_run *run, const void *src,
                                   struct dg_error *err)
{
    char *scratch = run->scratch;
    float *weight = w->weight_at < 0 ? run->output[0] : (void *)(scratch + w->weight_at);
    float *bias = w->bias_at < 0 ? run->output[1] : (void *)(scratch + w->bias_at);
    const void *diff_dst = dg_half_run(&w->diff_dst, run, run->input[1]);
    DG_TRY(dg_outer_run(&w->outer, run->stream, src, diff_dst, weight, bias, scratch + w->dnnl_at, err));
    if (w->weight_at >= 0) dg_kernels()->add(w->weights, 0, 0, run->input[2], 0, weight, 0, run->output[0]);
    if (w->bias_at >= 0) dg_kernels()->add(w->out, 0, 0, run->input[3], 0, bias, 0, run->output[1]);
    return DG_OK;
}

void dg_weights_bf16_close(struct dg_weights_bf16 *w) { dg_outer_close(&w->outer); }

/* gelu_grad_sums (src, diff_dst, [acc_bias]) -> diff_src, diff_bias = acc_bias + the column sums of diff_src: gelu_grad, and
 * from the same sweep the gradient of the bias of the linear layer in front, which linear_grad_weights would read diff_src for. */
#include "ops/elementwise/gelu.h"
#include "ops/kernels/gelu.h"
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_gelu_grad, dg_op_linear_grad_weights, dg_op_gelu_grad_sums;

enum { ACC_BIAS = DG_GELU_GRAD_DIFF_DST + 1, ROWS }; /* further inputs */
enum { DIFF_BIAS = DG_GELU_GRAD_DIFF_SRC + 1 };      /* further output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(dg_gelu_grad_infer(call, output, err));
    const struct dg_desc *diff_src = &output[DG_GELU_GRAD_DIFF_SRC];
    DG_TRY(dg_want_rows(diff_src, "src", err));
    output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, &diff_src->dim[diff_src->ndim - 1]);
    return dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err);
}

struct state {
    int64_t images, each, cols; /* `each`: rows of an image */
    bool bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[DG_GELU_GRAD_SRC];
    *s = (struct state){src->dim[0], dg_desc_rows(src) / src->dim[0], src->dim[src->ndim - 1], dg_is_bf16(src)};
    dg_op_scratch(p, s->cols * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_gelu_kernels()->backward_sums(
        &(struct dg_gelu_sums_args){.rows = dg_survivors(r->input[ROWS], s->images) * s->each,
                                    .cols = s->cols,
                                    .bf16 = s->bf16,
                                    .src = r->input[DG_GELU_GRAD_SRC],
                                    .diff_dst = r->input[DG_GELU_GRAD_DIFF_DST],
                                    .diff_src = r->output[DG_GELU_GRAD_DIFF_SRC],
                                    .acc = r->input[ACC_BIAS],
                                    .sums = r->output[DIFF_BIAS],
                                    .partial = r->scratch,
                                    .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand inputs[] = {
    DG_GELU_GRAD_INPUTS, [ACC_BIAS] = {"acc_bias", DG_OPTIONAL}, [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand outputs[] = {
    DG_GELU_GRAD_OUTPUT, [DIFF_BIAS] = {"diff_bias", 0, DG_REUSE(ACC_BIAS)}, {0}};

const struct dg_op dg_op_gelu_grad_sums = {
    .name = "gelu_grad_sums",
    .inputs = inputs,
    .outputs = outputs,
    .bf16_alike = true,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    dg_value sums_of = dg_input_of(&m->consumer, "diff_dst"), diff_src = dg_output_of(&m->producer, "diff_src");
    if (sums_of != diff_src || !dg_is_wanted(&m->consumer, "diff_bias")) return false;
    made->op = &dg_op_gelu_grad_sums;
    made->input[DG_GELU_GRAD_SRC] = dg_input_of(&m->producer, "src");
    made->input[DG_GELU_GRAD_DIFF_DST] = dg_input_of(&m->producer, "diff_dst");
    made->input[ROWS] = dg_input_of(&m->producer, "rows");
    made->output[DG_GELU_GRAD_DIFF_SRC] = diff_src;
    made->input[ACC_BIAS] = dg_input_of(&m->consumer, "acc_bias");
    made->output[DIFF_BIAS] = dg_output_of(&m->consumer, "diff_bias");
    return true;
}

const struct dg_rewrite dg_fuse_gelu_grad_sums = {.name = "gelu_grad + linear_grad_weights",
                                                  .producer = &dg_op_gelu_grad,
                                                  .consumer = &dg_op_linear_grad_weights,
                                                  .phase = DG_FUSE_LATE,
                                                  .keeps_producer_output = true,
                                                  .build = build};

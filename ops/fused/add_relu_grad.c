/* add_relu_grad (a, b, dst) -> diff_src = a + b where dst is positive, else 0: the gradients that a ReLU's result gets from its two
 * readers, the branch and the shortcut of a ResNet's next block, summed, and relu_grad of the sum. */
#include "ops/elementwise/add.h"
#include "ops/kernels/add.h"
#include "ops/op_rewrite.h"

extern const struct dg_op dg_op_add, dg_op_relu_grad, dg_op_add_relu_grad;

enum { RELU_DST = DG_ADD_B + 1 }; /* further input */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(dg_add_infer(call, output, err));
    if (dg_desc_equal(&call->input[RELU_DST], &output[DG_ADD_DST])) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "a and dst differ in shape");
}

struct state {
    int64_t count; /* numbers */
    bool a_bf16, b_bf16, relu_dst_bf16, dst_bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *input = p->call->input, *output = p->call->output;
    *s = (struct state){.count = dg_desc_count(&output[DG_ADD_DST]),
                        .a_bf16 = dg_is_bf16(&input[DG_ADD_A]),
                        .b_bf16 = dg_is_bf16(&input[DG_ADD_B]),
                        .relu_dst_bf16 = dg_is_bf16(&input[RELU_DST]),
                        .dst_bf16 = dg_is_bf16(&output[DG_ADD_DST])};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_add_kernels()->add(&(struct dg_add_args){.count = s->count,
                                                .a_bf16 = s->a_bf16,
                                                .a = r->input[DG_ADD_A],
                                                .b_bf16 = s->b_bf16,
                                                .b = r->input[DG_ADD_B],
                                                .through_bf16 = s->relu_dst_bf16,
                                                .through = r->input[RELU_DST],
                                                .dst_bf16 = s->dst_bf16,
                                                .dst = r->output[DG_ADD_DST]});
    return DG_OK;
}

static const struct dg_operand inputs[] = {DG_ADD_INPUTS, [RELU_DST] = {"dst", DG_BF16_OK}, {0}};
static const struct dg_operand outputs[] = {[DG_ADD_DST] = {"diff_src", DG_BF16_OK, DG_REUSE(DG_ADD_A)}, {0}};

const struct dg_op dg_op_add_relu_grad = {
    .name = "add_relu_grad",
    .inputs = inputs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

static bool build(const struct dg_match *m, struct dg_new_node *made)
{
    if (dg_input_of(&m->consumer, "diff_dst") != m->producer.output[DG_ADD_DST]) return false;
    made->op = &dg_op_add_relu_grad;
    made->input[DG_ADD_A] = m->producer.input[DG_ADD_A];
    made->input[DG_ADD_B] = m->producer.input[DG_ADD_B];
    made->input[RELU_DST] = dg_input_of(&m->consumer, "dst");
    made->output[DG_ADD_DST] = dg_output_of(&m->consumer, "diff_src");
    return true;
}

const struct dg_rewrite dg_fuse_add_relu_grad = {.name = "add + relu_grad",
                                                 .producer = &dg_op_add,
                                                 .consumer = &dg_op_relu_grad,
                                                 .phase = DG_FUSE_LATE,
                                                 .build = build};

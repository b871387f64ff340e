/* add: dst = a + b, equal shapes. The residual connection. Gradient: diff_dst to both.
 * add_relu, which the compiler makes of a sum and the ReLU on it: dst = max(0, a + b), the end of a ResNet's block.
 *
 * In bf16 all of these may be bf16. The residual stream of a transformer stays f32 because the norms on it read that. */
#include "ops/kernels/add.h"
#include "ops/norm/layer_norm.h"

extern const struct dg_op dg_op_add_relu, dg_op_relu, dg_op_relu_grad;

enum { A, B }; /* inputs */
enum { DST };  /* output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[A], &call->input[B])) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT, "shapes differ: %s and %s", dg_desc_text(a, sizeof a, &call->input[A]),
                       dg_desc_text(b, sizeof b, &call->input[B]));
    }
    output[DST] = call->input[A];
    return dg_want_f32(&call->input[A], "input", err);
}

static enum dg_status add_to_both(struct dg_grad_builder *b, dg_value diff)
{
    for (int i = 0; i < 2; i++)
        if (b->wants[i]) DG_TRY(b->add_gradient(b, i, diff));
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b) { return add_to_both(b, b->diff_output[DST]); }

static bool absorb(struct dg_fusion *f)
{
    if (f->next != &dg_op_relu) return false;
    f->op = &dg_op_add_relu;
    return true;
}

static bool join(struct dg_fusion *f) { return dg_join_layer_norm(f, f->input[B], f->input[A], 0); }

struct state {
    int64_t count;
    bool half[2], dst_half;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){dg_desc_count(&p->call->output[DST]),
                        {dg_is_bf16(&p->call->input[A]), dg_is_bf16(&p->call->input[B])},
                        dg_is_bf16(&p->call->output[DST])};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_add_kernels()->add(&(struct dg_add_args){.count = s->count,
                                                .a_bf16 = s->half[0],
                                                .a = r->input[A],
                                                .b_bf16 = s->half[1],
                                                .b = r->input[B],
                                                .dst_bf16 = s->dst_half,
                                                .dst = r->output[DST]});
    return DG_OK;
}

static const struct dg_operand add_inputs[] = {
    [A] = {"a", DG_BF16_OK},
    [B] = {"b", DG_BF16_OK},
    {0},
};
static const struct dg_operand add_outputs[] = {
    [DST] = {"dst", DG_BF16_OK, DG_REUSE(A)},
    {0},
};

const struct dg_op dg_op_add = {
    .name = "add",
    .in_yaml = true,
    .doc = "Sum of two values.",
    .inputs = add_inputs,
    .outputs = add_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .absorb = absorb,
    .join = join,
    .prepare = prepare,
    .run = run,
};

static enum dg_status grad_relu(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_relu_grad, NULL, (dg_value[]){b->diff_output[DST], b->output[DST]}, 2, made));
    return add_to_both(b, made[0]);
}

static enum dg_status run_relu(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_add_kernels()->add(&(struct dg_add_args){.count = s->count,
                                                .relu = true,
                                                .a_bf16 = s->half[0],
                                                .a = r->input[A],
                                                .b_bf16 = s->half[1],
                                                .b = r->input[B],
                                                .dst_bf16 = s->dst_half,
                                                .dst = r->output[DST]});
    return DG_OK;
}

const struct dg_op dg_op_add_relu = {
    .name = "add_relu",
    .inputs = add_inputs,
    .outputs = add_outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad_relu,
    .prepare = prepare,
    .run = run_relu,
};

/* add: dst = a + b, equal shapes. The residual connection. Gradient: diff_dst to both.
 * With `relu`, which the compiler sets: dst = max(0, a + b), the end of a ResNet's block. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

extern const struct dg_op dg_op_relu_grad;

static const struct dg_attr_spec attrs[] = {
    {.name = "relu", .type = DG_ATTR_BOOL, .max = 1, .internal = true, .doc = "the ReLU after it is fused"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (!dg_desc_equal(&call->input[0], &call->input[1])) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT, "shapes differ: %s and %s", dg_desc_text(a, sizeof a, &call->input[0]),
                       dg_desc_text(b, sizeof b, &call->input[1]));
    }
    output[0] = call->input[0];
    return dg_want_f32(&call->input[0], "input", err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value diff = b->diff_output[0], made[DG_MAX_OUTPUTS];
    if (b->call->attr[0].i) {
        DG_TRY(b->emit(b, &dg_op_relu_grad, NULL, (dg_value[]){diff, b->output[0]}, 2, made));
        diff = made[0];
    }
    for (int i = 0; i < 2; i++)
        if (b->wants[i]) DG_TRY(b->give(b, i, diff));
    return DG_OK;
}

extern const struct dg_op dg_op_relu;

static bool absorb(struct dg_absorb *a)
{
    if (a->next != &dg_op_relu || a->attr[0].i) return false;
    a->attr[0].i = true;
    return true;
}

struct state {
    int64_t count;
    bool relu;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){dg_desc_count(&p->call->output[0]), p->call->attr[0].i};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    if (s->relu)
        dg_kernels()->add_relu(s->count, r->input[0], r->input[1], r->output[0]);
    else
        dg_kernels()->add(s->count, r->input[0], r->input[1], r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_add = {
    .name = "add",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 2,
    .max_inputs = 2,
    .output = {{"dst", 0}},
    .infer = infer,
    .grad = grad,
    .absorb = absorb,
    .inplace = {1},
    .prepare = prepare,
    .run = run,
};

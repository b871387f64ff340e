/* sigmoid, silu, hardsigmoid, hardswish, relu6: dst = f(src), number by number, one op each. activation_grad (src, diff_dst) ->
 * diff_src is the gradient of them all; an attribute says which. */
#include "ops/kernels/activation.h"
#include "ops/op.h"

extern const struct dg_op dg_op_sigmoid, dg_op_silu, dg_op_hardsigmoid, dg_op_hardswish, dg_op_relu6,
    dg_op_activation_grad;

static const struct dg_op *const ops[DG_ACTIVATIONS] = {[DG_SIGMOID] = &dg_op_sigmoid,
                                                        [DG_SILU] = &dg_op_silu,
                                                        [DG_HARDSIGMOID] = &dg_op_hardsigmoid,
                                                        [DG_HARDSWISH] = &dg_op_hardswish,
                                                        [DG_RELU6] = &dg_op_relu6};

enum { SRC, ROWS };                          /* inputs */
enum { DST };                                /* output */
enum { GRAD_SRC, GRAD_DIFF_DST, GRAD_ROWS }; /* inputs of the gradient */
enum { DIFF_SRC };                           /* output of the gradient */
enum { WHICH };                              /* attribute of the gradient */

static enum dg_activation which(const struct dg_op *op)
{
    int f = 0;
    while (f + 1 < DG_ACTIVATIONS && ops[f] != op) f++;
    return (enum dg_activation)f;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->input[SRC].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "input must have at least one dimension");
    output[DST] = call->input[SRC];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS], input[] = {b->input[SRC], b->diff_output[DST]};
    union dg_attr attr[] = {[WHICH] = {.i = which(b->call->op)}};
    DG_TRY(b->emit(b, &dg_op_activation_grad, attr, input, 2, made));
    return b->add_gradient(b, SRC, made[DIFF_SRC]);
}

struct state {
    enum dg_activation f;
    int64_t images, each; /* each: numbers of an image */
    bool bf16;
};

static enum dg_status open_state(struct dg_prepare *p, enum dg_activation f, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *src = &p->call->input[SRC];
    *s = (struct state){f, src->dim[0], dg_desc_count(src) / src->dim[0], dg_is_bf16(src)};
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, which(p->call->op), err);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_activation_kernels()->forward(s->f, dg_survivors(r->input[ROWS], s->images) * s->each, s->bf16, r->input[SRC],
                                     r->output[DST]);
    return DG_OK;
}

/* min(max(x, 0), 6) */
static dg_onnx_value onnx_relu6(struct dg_onnx_builder *b, dg_onnx_value x)
{
    return dg_onnx_binary(b, "Min", dg_onnx_unary(b, "Relu", x), dg_onnx_scalar(b, "six", 6));
}

static void onnx(struct dg_onnx_builder *b)
{
    enum dg_activation f = which(b->call->op);
    dg_onnx_value x = b->input[SRC], y;
    if (f == DG_RELU6) {
        y = onnx_relu6(b, x);
    } else if (f == DG_SIGMOID || f == DG_SILU) {
        y = dg_onnx_unary(b, "Sigmoid", x);
    } else {
        y = onnx_relu6(b, dg_onnx_binary(b, "Add", x, dg_onnx_scalar(b, "three", 3)));
        y = dg_onnx_binary(b, "Mul", y, dg_onnx_scalar(b, "sixth", 1.0 / 6));
    }
    b->output[DST] = f == DG_SILU || f == DG_HARDSWISH ? dg_onnx_binary(b, "Mul", x, y) : y;
}

static const struct dg_operand inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT}, [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(SRC)}, {0}};

#define ACTIVATION(word, sentence)                                                                                     \
    const struct dg_op dg_op_##word = {                                                                                \
        .name = #word,                                                                                                 \
        .in_yaml = true,                                                                                               \
        .doc = sentence,                                                                                               \
        .inputs = inputs,                                                                                              \
        .outputs = outputs,                                                                                            \
        .bf16_alike = true,                                                                                            \
        .reach = DG_REACH_ROW,                                                                                         \
        .infer = infer,                                                                                                \
        .grad = grad,                                                                                                  \
        .onnx = onnx,                                                                                                  \
        .prepare = prepare,                                                                                            \
        .run = run,                                                                                                    \
    }
ACTIVATION(sigmoid, "1 / (1 + exp(-x)).");
ACTIVATION(silu, "x sigmoid(x), also known as swish.");
ACTIVATION(hardsigmoid, "min(max(x + 3, 0), 6) / 6.");
ACTIVATION(hardswish, "x hardsigmoid(x).");
ACTIVATION(relu6, "min(max(x, 0), 6).");

static const struct dg_attr_spec grad_attrs[] = {
    [WHICH] = {.name = "which", .type = DG_ATTR_INT, .required = true, .max = DG_ACTIVATIONS - 1, .internal = true},
    {0},
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[GRAD_SRC];
    if (src->ndim < 1 || !dg_desc_equal(src, &call->input[GRAD_DIFF_DST]))
        return dg_fail(err, DG_ERR_INPUT, "src and diff_dst differ in shape");
    output[DIFF_SRC] = *src;
    return DG_OK;
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, (enum dg_activation)p->call->attr[WHICH].i, err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_activation_kernels()->backward(s->f, dg_survivors(r->input[GRAD_ROWS], s->images) * s->each, s->bf16,
                                      r->input[GRAD_SRC], r->input[GRAD_DIFF_DST], r->output[DIFF_SRC]);
    return DG_OK;
}

static const struct dg_operand grad_inputs[] = {[GRAD_SRC] = {"src", DG_BF16_OK | DG_COMPACT},
                                                [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
                                                [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                                {0}};
static const struct dg_operand grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT, DG_REUSE(GRAD_DIFF_DST)}, {0}};

const struct dg_op dg_op_activation_grad = {
    .name = "activation_grad",
    .attrs = grad_attrs,
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .bf16_alike = true,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_grad,
    .run = run_grad,
};

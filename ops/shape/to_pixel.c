/* to_pixel: src [N,C] -> dst [N,1,1,C], the same bytes: a vector as an image of one pixel, which convolutions of 1x1 and
 * gates of channels work on. Its gradient is the mean over that pixel. */
#include "ops/op.h"

extern const struct dg_op dg_op_global_avg_pool;

enum { SRC }; /* input */
enum { DST }; /* output */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    DG_TRY(dg_want_ndim(src, 2, "input", err));
    output[DST] = dg_desc_make(DG_F32, 4, (int64_t[]){src->dim[0], 1, 1, src->dim[1]});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_global_avg_pool, NULL, &b->diff_output[DST], 1, made));
    return b->add_gradient(b, SRC, made[DST]);
}

static void onnx(struct dg_onnx_builder *b)
{
    b->output[DST] = dg_onnx_reshape(b, b->input[SRC], 4, (int64_t[]){0, b->call->input[SRC].dim[1], 1, 1});
}

static const struct dg_operand inputs[] = {[SRC] = {"src"}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", 0, DG_VIEW(SRC)}, {0}};

const struct dg_op dg_op_to_pixel = {
    .name = "to_pixel",
    .in_yaml = true,
    .doc = "A vector as an image of one pixel.",
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
};

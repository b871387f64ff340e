/* linear: dst = src weight^T + bias over the last dimension; weight [out, in] as in PyTorch.
 *
 *   linear              (src, weight, [bias], [packed]) -> dst
 *   linear_grad_src     (diff_dst, weight, [packed]) -> diff_src
 *   linear_grad_weights (src, diff_dst, [acc_weight], [acc_bias]) -> diff_weight, [diff_bias], each added to its accumulator
 *
 * Forward and diff_src are oneDNN matmuls on packed weights: packing costs one reorder a call, or a step where a plan packs them for
 * several calls (packed_weights.h), and is the fastest way from about a hundred rows on. The gradient of the weights is oneDNN's gemm, which can add to its accumulator.
 *
 * With a row map only the survivors' rows are multiplied. A oneDNN matmul is made for a number of rows, so one is made for each
 * of at most MAX_SIZES numbers as they occur.
 *
 * In a plan in bf16 the operands of all three are bf16 and sums are f32: packing rounds the weights, and activations that are
 * stored as f32 are rounded in scratch. The gradient of the weights is then a kernel of our own (ops/kernels/grad_weights.c):
 * oneDNN's inner product is as fast on one thread, but it shares its work less evenly and cannot add to an accumulator.
 *
 * In a plan whose products are made of bf16 parts (parts.h) each operand is split in scratch, and the same matmuls and the same kernel
 * run on each pair of parts, adding to what is there. */
#include "ops/dense/bf16_operand.h"
#include "ops/dense/packed_weights.h"
#include "ops/dense/parts.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/column_sum.h"
#include "ops/kernels/convert.h"
#include "ops/kernels/grad_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_op dg_op_linear_grad_src, dg_op_linear_grad_weights;

enum { SRC, WEIGHT, BIAS, ROWS, PACKED };                             /* inputs */
enum { DST };                                                         /* output */
enum { GRAD_DIFF_DST, GRAD_WEIGHT, GRAD_ROWS, GRAD_PACKED };          /* inputs of linear_grad_src */
enum { DIFF_SRC };                                                    /* output of linear_grad_src */
enum { OUTER_SRC, OUTER_DIFF_DST, ACC_WEIGHT, ACC_BIAS, OUTER_ROWS }; /* inputs of linear_grad_weights */
enum { DIFF_WEIGHT, DIFF_BIAS };                                      /* outputs of linear_grad_weights */

enum { OUT, WITH_BIAS }; /* attributes */
_Static_assert((int)GRAD_WEIGHT == WEIGHT, "run_matmul serves both");
enum { PACK_FROM_ROWS = 96 };

static const struct dg_attr_spec attrs[] = {
    {.name = "out", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 28, .doc = "output features"},
    {.name = "bias", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1, .doc = "add a bias"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC];
    if (dg_want_rows(src, "input", err) != DG_OK) return -1;
    int64_t in = src->dim[src->ndim - 1], out = call->attr[OUT].i;
    struct dg_init uniform = {DG_INIT_UNIFORM, 1.0 / sqrt((double)in)}; /* PyTorch's nn.Linear */
    need[0] = (struct dg_param_need){.name = "weight",
                                     .desc = dg_desc_make(DG_F32, 2, (int64_t[]){out, in}),
                                     .init = uniform,
                                     .init_from_yaml = true,
                                     .trainable = true};
    if (!call->attr[WITH_BIAS].i) return 1;
    need[1] = (struct dg_param_need){.name = "bias",
                                     .desc = dg_desc_make(DG_F32, 1, (int64_t[]){out}),
                                     .init = uniform,
                                     .init_if_replaced = {DG_INIT_CONSTANT, 0},
                                     .trainable = true};
    return 2;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[SRC], *weight = &call->input[WEIGHT];
    DG_TRY(dg_want_rows(src, "input", err));
    struct dg_desc want = dg_desc_make(DG_F32, 2, (int64_t[]){call->attr[OUT].i, src->dim[src->ndim - 1]});
    if (!dg_desc_equal(weight, &want)) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT, "weight must be %s, got %s", dg_desc_text(a, sizeof a, &want),
                       dg_desc_text(b, sizeof b, weight));
    }
    struct dg_desc vector = dg_desc_make(DG_F32, 1, want.dim);
    if (call->attr[WITH_BIAS].i ? !dg_desc_equal(&call->input[BIAS], &vector) : !dg_absent(&call->input[BIAS]))
        return dg_fail(err, DG_ERR_INPUT, "bias must have %lld elements", (long long)want.dim[0]);
    output[DST] = *src;
    output[DST].dim[src->ndim - 1] = call->attr[OUT].i;
    return dg_packed_check(&call->input[PACKED], weight, err);
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    bool bias = b->call->attr[WITH_BIAS].i;
    if (b->wants[WEIGHT] || (bias && b->wants[BIAS])) {
        dg_value input[] = {b->input[SRC], b->diff_output[DST], b->gradient_so_far(b, WEIGHT),
                            bias ? b->gradient_so_far(b, BIAS) : DG_NO_VALUE};
        DG_TRY(b->emit(b, &dg_op_linear_grad_weights, NULL, input, 4, made));
        b->set_gradient(b, WEIGHT, made[DIFF_WEIGHT]);
        if (bias) b->set_gradient(b, BIAS, made[DIFF_BIAS]);
    }
    if (b->wants[SRC]) {
        DG_TRY(b->emit(b, &dg_op_linear_grad_src, NULL, (dg_value[]){b->diff_output[DST], b->input[WEIGHT]}, 2, made));
        DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    }
    return DG_OK;
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[SRC], &call->input[WEIGHT]);
    return (struct dg_cost){flops, flops};
}

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *weight = &b->call->input[WEIGHT];
    int ndim = b->call->input[SRC].ndim, inputs = b->call->attr[WITH_BIAS].i ? 3 : 2;
    if (ndim == 2) {
        const struct dg_onnx_attr attr[] = {DG_ONNX_INT("transB", 1), {0}};
        b->output[DST] = b->add_node(b, "Gemm", attr, b->input, inputs); /* src, weight, bias */
        return;
    }
    dg_onnx_value turned = dg_onnx_transposed(b, "weight.T", b->data[WEIGHT], weight->dim[0], weight->dim[1]);
    dg_onnx_value dst = dg_onnx_binary(b, "MatMul", dg_onnx_channels_last(b, b->input[SRC], ndim), turned);
    if (inputs == 3) dst = dg_onnx_binary(b, "Add", dst, b->input[BIAS]);
    b->output[DST] = dg_onnx_channels_first(b, dst, ndim);
}

/* A matmul of a number of rows, and of fewer where images are left out. */
struct product {
    struct dg_gemm gemm;
    int64_t images;        /* this and the next two are set if there is a row map */
    int64_t step;          /* the number of survivors is rounded up to a multiple of this, so that few sizes occur */
    struct dg_gemm *fewer; /* by the number of steps; a matmul is made when its size occurs first. NULL: no row map */
};

/* A product whose weights are parameters: packed per call in scratch, or once (`packed`), or not at all. */
struct matmul {
    struct product first, more; /* more: adds to dst; with operands in parts */
    enum dg_math math;
    bool packs, packed_once, packed_before; /* in a run; once a session; by another op */
    struct dg_bf16_operand src;
    struct dg_parts src_parts;
    int64_t weights, packed_each;        /* numbers of the weights; bytes of a packed part */
    int64_t scratch, packed_at, rest_at; /* offsets in scratch; rest_at: what parts of the weights leave */
};

enum { MAX_SIZES = 64 };

/* Which inputs have the row map and the packed weights, and for which product these are. */
struct matmul_inputs {
    int rows, packed;
    enum dg_packed_for use;
};

static enum dg_status open_product(struct dg_prepare *p, const struct dg_gemm_spec *spec, int rows,
                                   struct product *product, struct dg_error *err)
{
    DG_TRY(dg_gemm_open(p->engine, spec, &product->gemm, err));
    if (dg_absent(&p->call->input[rows])) return DG_OK;
    product->images = p->call->input[SRC].dim[0];
    product->step = (product->images + MAX_SIZES - 1) / MAX_SIZES;
    product->fewer = calloc(MAX_SIZES + 1, sizeof *product->fewer);
    return product->fewer ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

/* Prepares the product of input 0 with the weights, into output 0. */
static enum dg_status open_matmul(struct dg_prepare *p, struct dg_gemm_spec *spec, const struct matmul_inputs *inputs,
                                  struct dg_error *err)
{
    struct matmul *state = dg_op_state(p, sizeof *state, err);
    if (!state) return DG_ERR_MEMORY;
    bool in_parts = p->call->math != DG_MATH_F32;
    int parts = dg_part_count(p->call->math);
    state->math = p->call->math;
    spec->bf16 = p->call->bf16 || in_parts;
    spec->bf16_dst = p->call->output[DST].dtype == DG_BF16;
    spec->packs = spec->packs || spec->bf16;
    state->packs = spec->packs;
    state->packed_once = spec->packs && p->constant_params;
    DG_TRY(open_product(p, spec, inputs->rows, &state->first, err));
    state->packed_before =
        !in_parts && dg_packed_fits(p, &p->call->input[inputs->packed], inputs->use, &state->first.gemm);
    state->packed_each = dg_round_up(state->first.gemm.packed_bytes, 64);
    if (state->packed_once) {
        p->packed_bytes = parts * state->packed_each;
        p->packed_layout = state->first.gemm.packed_layout; /* of each part */
    } else if (state->packs && !state->packed_before) {
        state->packed_at = dg_op_scratch(p, parts * state->packed_each);
    }
    if (in_parts) {
        spec->bias = false;
        spec->post.sum = true;
        DG_TRY(open_product(p, spec, inputs->rows, &state->more, err));
        if (!dg_gemm_packs_alike(&state->first.gemm, &state->more.gemm))
            return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN packs weights of a sum in another way");
        state->weights = spec->n * spec->k;
        state->rest_at = dg_op_scratch(p, state->weights * dg_dtype_size(DG_F32));
        state->src_parts = dg_parts_make(p, dg_desc_count(&p->call->input[SRC]));
    }
    state->src = dg_bf16_operand_make(p, &p->call->input[SRC]);
    int64_t bytes[] = {state->first.gemm.scratch_bytes, state->more.gemm.scratch_bytes};
    state->scratch = dg_op_scratch(p, bytes[bytes[1] > bytes[0]]);
    return DG_OK;
}

/* The matmul for the survivors' rows or a few more, which nothing reads. NULL: there are no survivors. */
static struct dg_gemm *of_survivors(struct product *product, const int64_t *row_map)
{
    int64_t steps = product->fewer ? (dg_survivors(row_map, product->images) + product->step - 1) / product->step : -1;
    if (!steps) return NULL;
    if (steps < 0 || steps * product->step >= product->images) return &product->gemm;
    struct dg_gemm *fewer = &product->fewer[steps];
    int64_t rows = product->gemm.spec.m / product->images * steps * product->step;
    struct dg_error err;
    if (!fewer->matmul && (dg_gemm_open_rows(&product->gemm, rows, fewer, &err) != DG_OK ||
                           fewer->scratch_bytes > product->gemm.scratch_bytes))
        product->step = product->images; /* from now on the matmul of all rows is used */
    return product->step < product->images ? fewer : &product->gemm;
}

/* Packs the weights, or each of their parts. */
static enum dg_status pack_parts(const struct dg_run *r, const float *weight, char *packed, struct dg_error *err)
{
    struct matmul *state = r->state;
    char *scratch = r->scratch;
    float *rest = (float *)(scratch + state->rest_at);
    for (int k = 0, parts = dg_part_count(state->math); k < parts; k++) {
        DG_TRY(dg_gemm_pack(&state->first.gemm, r->stream, weight, packed + k * state->packed_each,
                            scratch + state->scratch, err));
        if (k + 1 < parts) dg_convert_kernels()->rest(state->weights, weight, rest);
        weight = rest;
    }
    return DG_OK;
}

/* Products of parts, which all add to dst but the first. */
static enum dg_status run_parts(const struct dg_run *r, const char *packed, const float *bias, const int64_t *row_map,
                                struct dg_error *err)
{
    struct matmul *state = r->state;
    char *scratch = (char *)r->scratch + state->scratch;
    const struct dg_part_product *product;
    int count = dg_part_products(state->math, &product);
    dg_parts_fill(&state->src_parts, r, r->input[SRC], state->src_parts.count);
    for (int k = 0; k < count; k++) {
        struct dg_gemm *gemm = of_survivors(k ? &state->more : &state->first, row_map);
        if (gemm)
            DG_TRY(dg_gemm_run(gemm, r->stream, dg_part(&state->src_parts, r, product[k].a),
                               packed + product[k].b * state->packed_each, k ? NULL : bias, r->output[DST], scratch,
                               err));
    }
    return DG_OK;
}

static enum dg_status run_matmul(const struct dg_run *r, const float *bias, const struct matmul_inputs *inputs,
                                 struct dg_error *err)
{
    struct matmul *state = r->state;
    char *scratch = r->scratch;
    const int64_t *row_map = r->input[inputs->rows];
    struct dg_gemm *gemm = of_survivors(&state->first, row_map);
    if (!gemm) return DG_OK;
    const void *weights = r->input[WEIGHT];
    if (state->packed_once) {
        weights = r->packed;
    } else if (state->packed_before) {
        weights = r->input[inputs->packed];
    } else if (state->packs) {
        DG_TRY(pack_parts(r, weights, scratch + state->packed_at, err));
        weights = scratch + state->packed_at;
    }
    if (state->math != DG_MATH_F32) return run_parts(r, weights, bias, row_map, err);
    const void *src = dg_bf16_operand_of(&state->src, r, r->input[SRC]);
    return dg_gemm_run(gemm, r->stream, src, weights, bias, r->output[DST], scratch + state->scratch, err);
}

static void close_product(struct product *product)
{
    for (int s = 0; product->fewer && s <= MAX_SIZES; s++) dg_gemm_close(&product->fewer[s]);
    free(product->fewer);
    dg_gemm_close(&product->gemm);
}

static void release(void *opaque)
{
    struct matmul *state = opaque;
    if (!state) return;
    close_product(&state->first);
    close_product(&state->more);
    free(state);
}

/* Is it packed by itself, and so by an op that packs for several? Parts are packed in each run. */
static bool packs_alone(const struct dg_op_call *call, int64_t rows)
{
    return call->math == DG_MATH_F32 && (rows >= PACK_FROM_ROWS || call->bf16);
}

static const struct matmul_inputs forward = {ROWS, PACKED, DG_PACKED_FOR_DST};

static struct dg_packing packing(const struct dg_op_call *call)
{
    int64_t rows = dg_desc_rows(&call->input[SRC]);
    return (struct dg_packing){packs_alone(call, rows) ? &dg_op_pack_weights : NULL, rows};
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    const struct dg_desc *src = &p->call->input[SRC], *weight = &p->call->input[WEIGHT];
    int64_t rows = dg_desc_rows(src), in = weight->dim[1];
    struct dg_gemm_spec spec = {.m = rows,
                                .n = weight->dim[0],
                                .k = in,
                                .weights_row = 1,
                                .weights_col = in,
                                .bias = p->call->attr[WITH_BIAS].i,
                                .packs = rows >= PACK_FROM_ROWS || p->constant_params};
    return open_matmul(p, &spec, &forward, err);
}

static enum dg_status pack(const struct dg_run *r, struct dg_error *err)
{
    return ((struct matmul *)r->state)->packed_once ? pack_parts(r, r->input[WEIGHT], r->packed, err) : DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    return run_matmul(r, ((struct matmul *)r->state)->first.gemm.bias ? r->input[BIAS] : NULL, &forward, err);
}

static const struct dg_operand linear_inputs[] = {
    [SRC] = {"src", DG_BF16_OK | DG_COMPACT},
    [WEIGHT] = {"weight", DG_PARAM},
    [BIAS] = {"bias", DG_PARAM | DG_OPTIONAL},
    [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    [PACKED] = {"packed", DG_BF16_OK | DG_OPTIONAL | DG_INTERNAL},
    {0},
};
static const struct dg_operand linear_outputs[] = {
    [DST] = {"dst", DG_BF16_OK | DG_COMPACT},
    {0},
};

const struct dg_op dg_op_linear = {
    .name = "linear",
    .in_yaml = true,
    .doc = "Fully connected layer.",
    .attrs = attrs,
    .inputs = linear_inputs,
    .outputs = linear_outputs,
    .reach = DG_REACH_ROW,
    .params = params,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .packing = packing,
    .onnx = onnx,
    .prepare = prepare,
    .pack = pack,
    .run = run,
    .release = release,
};

/* --- diff_src = diff_dst weight --- */

static enum dg_status infer_grad_src(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *diff_dst = &call->input[GRAD_DIFF_DST], *weight = &call->input[GRAD_WEIGHT];
    DG_TRY(dg_want_ndim(weight, 2, "weight", err));
    if (diff_dst->ndim < 2 || diff_dst->dim[diff_dst->ndim - 1] != weight->dim[0])
        return dg_fail(err, DG_ERR_INPUT, "diff_dst does not fit the weight");
    output[DIFF_SRC] = *diff_dst;
    output[DIFF_SRC].dim[diff_dst->ndim - 1] = weight->dim[1];
    return dg_packed_check(&call->input[GRAD_PACKED], weight, err);
}

static struct dg_cost cost_grad_src(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[GRAD_DIFF_DST], &call->input[GRAD_WEIGHT]);
    return (struct dg_cost){flops, flops};
}

static const struct matmul_inputs backward = {GRAD_ROWS, GRAD_PACKED, DG_PACKED_FOR_DIFF_SRC};

static struct dg_packing packing_grad_src(const struct dg_op_call *call)
{
    int64_t rows = dg_desc_rows(&call->input[GRAD_DIFF_DST]);
    return (struct dg_packing){packs_alone(call, rows) ? &dg_op_pack_weights_grad_src : NULL, rows};
}

static enum dg_status prepare_grad_src(struct dg_prepare *p, struct dg_error *err)
{
    const struct dg_desc *weight = &p->call->input[GRAD_WEIGHT];
    int64_t rows = dg_desc_rows(&p->call->input[GRAD_DIFF_DST]);
    struct dg_gemm_spec spec = {.m = rows,
                                .n = weight->dim[1],
                                .k = weight->dim[0],
                                .weights_row = weight->dim[1],
                                .weights_col = 1,
                                .packs = rows >= PACK_FROM_ROWS};
    return open_matmul(p, &spec, &backward, err);
}

static enum dg_status run_grad_src(const struct dg_run *r, struct dg_error *err)
{
    return run_matmul(r, NULL, &backward, err);
}

static const struct dg_operand linear_grad_src_inputs[] = {
    [GRAD_DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    [GRAD_WEIGHT] = {"weight"},
    [GRAD_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
    [GRAD_PACKED] = {"packed", DG_BF16_OK | DG_OPTIONAL | DG_INTERNAL},
    {0},
};
static const struct dg_operand linear_grad_src_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_BF16_OK | DG_COMPACT},
    {0},
};

const struct dg_op dg_op_linear_grad_src = {
    .name = "linear_grad_src",
    .inputs = linear_grad_src_inputs,
    .outputs = linear_grad_src_outputs,
    .infer = infer_grad_src,
    .grad = dg_no_gradient,
    .cost = cost_grad_src,
    .packing = packing_grad_src,
    .prepare = prepare_grad_src,
    .run = run_grad_src,
    .release = release,
};

/* --- diff_weight = diff_dst^T src --- */

static enum dg_status infer_grad_weights(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[OUTER_SRC], *diff_dst = &call->input[OUTER_DIFF_DST];
    if (src->ndim < 2 || diff_dst->ndim < 2 || dg_desc_rows(src) != dg_desc_rows(diff_dst))
        return dg_fail(err, DG_ERR_INPUT, "src and diff_dst differ in rows");
    int64_t in = src->dim[src->ndim - 1], out = diff_dst->dim[diff_dst->ndim - 1];
    output[DIFF_WEIGHT] = dg_desc_make(DG_F32, 2, (int64_t[]){out, in});
    output[DIFF_BIAS] = dg_desc_make(DG_F32, 1, (int64_t[]){out});
    DG_TRY(dg_want_accumulator(&call->input[ACC_WEIGHT], &output[DIFF_WEIGHT], err));
    return dg_want_accumulator(&call->input[ACC_BIAS], &output[DIFF_BIAS], err);
}

static struct dg_cost cost_grad_weights(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[OUTER_SRC], &call->output[DIFF_WEIGHT]);
    return (struct dg_cost){flops, flops};
}

struct weights_state {
    int64_t images, each, in, out;  /* each: rows per image */
    bool bf16, src_bf16, diff_bf16; /* operands are bf16; src and diff_dst are stored as bf16 */
    enum dg_math math;
    struct dg_parts src, diff_dst;
    int64_t kernel_at; /* offset in scratch */
};

static enum dg_status prepare_grad_weights(struct dg_prepare *p, struct dg_error *err)
{
    struct weights_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->images = p->call->input[OUTER_SRC].dim[0];
    s->each = dg_desc_rows(&p->call->input[OUTER_SRC]) / s->images;
    s->in = p->call->output[DIFF_WEIGHT].dim[1];
    s->out = p->call->output[DIFF_WEIGHT].dim[0];
    s->math = p->call->math;
    s->bf16 = p->call->bf16 || s->math != DG_MATH_F32;
    s->src_bf16 = dg_is_bf16(&p->call->input[OUTER_SRC]);
    s->diff_bf16 = dg_is_bf16(&p->call->input[OUTER_DIFF_DST]);
    int64_t bytes = s->out * p->threads * (int64_t)sizeof(float);
    if (s->bf16) bytes = dg_grad_weights_kernels()->scratch(s->in, s->out, NULL, p->threads);
    s->kernel_at = dg_op_scratch(p, bytes);
    s->src = dg_parts_make(p, dg_desc_count(&p->call->input[OUTER_SRC]));
    s->diff_dst = dg_parts_make(p, dg_desc_count(&p->call->input[OUTER_DIFF_DST]));
    return DG_OK;
}

/* Products of parts; the first adds to the accumulators, the others to the result. Each part of diff_dst is in the bias once. */
static void run_weights_parts(const struct dg_run *r, int64_t rows)
{
    const struct weights_state *s = r->state;
    const struct dg_part_product *product;
    int count = dg_part_products(s->math, &product);
    struct dg_grad_weights_args args = {.bf16 = true,
                                        .rows = rows,
                                        .in = s->in,
                                        .out = s->out,
                                        .src_bf16 = true,
                                        .diff_dst_bf16 = true,
                                        .acc_weight = r->input[ACC_WEIGHT],
                                        .acc_bias = r->input[ACC_BIAS],
                                        .diff_weight = r->output[DIFF_WEIGHT],
                                        .scratch = (char *)r->scratch + s->kernel_at,
                                        .threads = r->threads};
    dg_parts_fill(&s->src, r, r->input[OUTER_SRC], rows * s->in);
    dg_parts_fill(&s->diff_dst, r, r->input[OUTER_DIFF_DST], rows * s->out);
    for (int k = 0; k < count; k++) {
        args.src = dg_part(&s->src, r, product[k].b);
        args.diff_dst = dg_part(&s->diff_dst, r, product[k].a);
        args.diff_bias = product[k].b ? NULL : r->output[DIFF_BIAS];
        dg_grad_weights_kernels()->grad_weights(&args);
        args.acc_weight = args.diff_weight;
        if (args.diff_bias) args.acc_bias = args.diff_bias;
    }
}

static enum dg_status run_grad_weights(const struct dg_run *r, struct dg_error *err)
{
    const struct weights_state *s = r->state;
    int64_t rows = dg_survivors(r->input[OUTER_ROWS], s->images) * s->each;
    if (!rows) { /* no image survives */
        dg_begin_sum(r->output[DIFF_WEIGHT], r->input[ACC_WEIGHT], s->out * s->in);
        if (r->output[DIFF_BIAS]) dg_begin_sum(r->output[DIFF_BIAS], r->input[ACC_BIAS], s->out);
        return DG_OK;
    }
    if (s->math != DG_MATH_F32) {
        run_weights_parts(r, rows);
        return DG_OK;
    }
    if (s->bf16) {
        dg_grad_weights_kernels()->grad_weights(&(struct dg_grad_weights_args){.bf16 = true,
                                                                               .rows = rows,
                                                                               .in = s->in,
                                                                               .out = s->out,
                                                                               .src_bf16 = s->src_bf16,
                                                                               .src = r->input[OUTER_SRC],
                                                                               .diff_dst_bf16 = s->diff_bf16,
                                                                               .diff_dst = r->input[OUTER_DIFF_DST],
                                                                               .acc_weight = r->input[ACC_WEIGHT],
                                                                               .acc_bias = r->input[ACC_BIAS],
                                                                               .diff_weight = r->output[DIFF_WEIGHT],
                                                                               .diff_bias = r->output[DIFF_BIAS],
                                                                               .scratch = r->scratch,
                                                                               .threads = r->threads});
        return DG_OK;
    }
    float *diff_weight = r->output[DIFF_WEIGHT];
    const float *acc = r->input[ACC_WEIGHT];
    if (acc && acc != diff_weight) memcpy(diff_weight, acc, (size_t)(s->out * s->in) * sizeof *acc);
    DG_TRY(dg_sgemm(true, false, s->out, s->in, rows, r->input[OUTER_DIFF_DST], s->out, r->input[OUTER_SRC], s->in,
                    acc ? 1 : 0, diff_weight, s->in, err));
    if (r->output[DIFF_BIAS])
        dg_column_sum_kernels()->column_sum(&(struct dg_column_sum_args){.rows = rows,
                                                                         .cols = s->out,
                                                                         .src = r->input[OUTER_DIFF_DST],
                                                                         .acc = r->input[ACC_BIAS],
                                                                         .dst = r->output[DIFF_BIAS],
                                                                         .partial = r->scratch,
                                                                         .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand linear_grad_weights_inputs[] = {
    [OUTER_SRC] = {"src", DG_BF16_OK | DG_COMPACT},    [OUTER_DIFF_DST] = {"diff_dst", DG_BF16_OK | DG_COMPACT},
    [ACC_WEIGHT] = {"acc_weight", DG_OPTIONAL},        [ACC_BIAS] = {"acc_bias", DG_OPTIONAL},
    [OUTER_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP}, {0},
};
static const struct dg_operand linear_grad_weights_outputs[] = {
    [DIFF_WEIGHT] = {"diff_weight", 0, DG_REUSE(ACC_WEIGHT)},
    [DIFF_BIAS] = {"diff_bias", DG_OPTIONAL, DG_REUSE(ACC_BIAS)},
    {0},
};

const struct dg_op dg_op_linear_grad_weights = {
    .name = "linear_grad_weights",
    .inputs = linear_grad_weights_inputs,
    .outputs = linear_grad_weights_outputs,
    .infer = infer_grad_weights,
    .grad = dg_no_gradient,
    .cost = cost_grad_weights,
    .prepare = prepare_grad_weights,
    .run = run_grad_weights,
};

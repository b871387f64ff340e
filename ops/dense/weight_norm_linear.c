/* weight_norm_linear: the prototype layer (DINOHead.last_layer of the official code: torch.nn.utils.weight_norm). dst =
 * src w^T with w_k = g_k v_k / ||v_k||, no bias, no epsilon.
 *
 *   weight_norm_linear      (src [M,D], weight_g [K,1], weight_v [K,D]) -> dst [M,K]
 *   weight_norm_linear_grad (src, diff_dst, weight_g, weight_v, [acc_g], [acc_v]) -> [diff_src], [diff_g], diff_v
 *
 * K is 65,536 and M a few dozen, so w is as large as everything around it together: it is made a block of rows at a
 * time in a thread's scratch, used there, and never stored. */
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/weight_norm.h"
#include "ops/op.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

extern const struct dg_op dg_op_weight_norm_linear_grad;

enum { SRC, WEIGHT_G, WEIGHT_V };                                             /* inputs */
enum { DST };                                                                 /* output */
enum { GRAD_SRC, GRAD_DIFF_DST, GRAD_WEIGHT_G, GRAD_WEIGHT_V, ACC_G, ACC_V }; /* inputs of the gradient */
enum { DIFF_SRC, DIFF_G, DIFF_V };                                            /* outputs of the gradient */

enum { OUT, TRAIN_G };
enum { BLOCK = 256 }; /* prototypes a thread works on at a time: 256 KiB of w at D = 256 */

static const struct dg_attr_spec attrs[] = {
    {.name = "out", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 28, .doc = "prototypes"},
    {.name = "train_g", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1, .doc = "train the lengths weight_g too"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    if (dg_want_ndim(&call->input[SRC], 2, "input", err) != DG_OK) return -1;
    int64_t in = call->input[SRC].dim[1], out = call->attr[OUT].i;
    need[0] = (struct dg_param_need){.name = "weight_g",
                                     .desc = dg_desc_make(DG_F32, 2, (int64_t[]){out, 1}),
                                     .init = {DG_INIT_CONSTANT, 1},
                                     .init_if_replaced = {DG_INIT_CONSTANT, 1},
                                     .trainable = call->attr[TRAIN_G].i};
    need[1] = (struct dg_param_need){.name = "weight_v",
                                     .desc = dg_desc_make(DG_F32, 2, (int64_t[]){out, in}),
                                     .init = {DG_INIT_UNIFORM, 1.0 / sqrt((double)in)},
                                     .init_from_yaml = true,
                                     .trainable = true};
    return 2;
}

static enum dg_status check(const struct dg_desc *src, const struct dg_desc *g, const struct dg_desc *v,
                            struct dg_error *err)
{
    DG_TRY(dg_want_ndim(src, 2, "input", err));
    DG_TRY(dg_want_ndim(v, 2, "weight_v", err));
    struct dg_desc want_g = dg_desc_make(DG_F32, 2, (int64_t[]){v->dim[0], 1});
    if (v->dim[1] != src->dim[1] || !dg_desc_equal(g, &want_g))
        return dg_fail(err, DG_ERR_INPUT, "weight_g, weight_v and input do not fit");
    return DG_OK;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(&call->input[SRC], &call->input[WEIGHT_G], &call->input[WEIGHT_V], err));
    if (call->input[WEIGHT_V].dim[0] != call->attr[OUT].i)
        return dg_fail(err, DG_ERR_INPUT, "weight_v does not fit out");
    output[DST] = dg_desc_make(DG_F32, 2, (int64_t[]){call->input[SRC].dim[0], call->attr[OUT].i});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[SRC],
                        b->diff_output[DST],
                        b->input[WEIGHT_G],
                        b->input[WEIGHT_V],
                        b->wants[WEIGHT_G] ? b->gradient_so_far(b, WEIGHT_G) : DG_NO_VALUE,
                        b->gradient_so_far(b, WEIGHT_V)};
    DG_TRY(b->emit(b, &dg_op_weight_norm_linear_grad, NULL, input, 6, made));
    if (b->wants[SRC]) DG_TRY(b->add_gradient(b, SRC, made[DIFF_SRC]));
    if (b->wants[WEIGHT_G]) b->set_gradient(b, WEIGHT_G, made[DIFF_G]);
    if (b->wants[WEIGHT_V]) b->set_gradient(b, WEIGHT_V, made[DIFF_V]);
    return DG_OK;
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[SRC], &call->input[WEIGHT_V]);
    return (struct dg_cost){flops, flops};
}

struct state {
    int64_t rows, in, out;
    int64_t per_thread;  /* bytes of scratch */
    int64_t partial_src; /* offset of [threads, rows, in] */
    int threads;
};

/* `blocks` of [BLOCK, in], and two numbers a prototype, a thread. */
static struct state *open_state(struct dg_prepare *p, const struct dg_desc *src, const struct dg_desc *v, int blocks,
                                struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return NULL;
    s->rows = src->dim[0];
    s->in = v->dim[1];
    s->out = v->dim[0];
    s->threads = p->threads;
    s->per_thread = dg_round_up((blocks * BLOCK * s->in + 2 * BLOCK) * (int64_t)sizeof(float), 64);
    dg_op_scratch(p, s->per_thread * p->threads);
    return s;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, &p->call->input[SRC], &p->call->input[WEIGHT_V], 1, err) ? DG_OK : DG_ERR_MEMORY;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[SRC], *g = r->input[WEIGHT_G], *v = r->input[WEIGHT_V];
    float *dst = r->output[DST];
    int failed = 0;
#pragma omp parallel for schedule(static) num_threads(s->threads) reduction(| : failed)
    for (int64_t first = 0; first < s->out; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, s->out - first);
        float *w = (float *)((char *)r->scratch + s->per_thread * omp_get_thread_num()), *length = w + BLOCK * s->in;
        dg_weight_norm_kernels()->rows(count, s->in, g + first, v + first * s->in, w, length);
        failed |=
            dg_sgemm(false, true, s->rows, count, s->in, src, s->in, w, s->in, 0, dst + first, s->out, NULL) != DG_OK;
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

static const struct dg_operand weight_norm_linear_inputs[] = {
    [SRC] = {"src"},
    [WEIGHT_G] = {"weight_g", DG_PARAM},
    [WEIGHT_V] = {"weight_v", DG_PARAM},
    {0},
};
static const struct dg_operand weight_norm_linear_outputs[] = {
    [DST] = {"dst"},
    {0},
};

/* The weight is made once, here. */
static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("transB", 1), {0}};
    const struct dg_desc *v = &b->call->input[WEIGHT_V];
    int64_t out = v->dim[0], in = v->dim[1];
    float *weight = dg_onnx_room(b, out * (in + 1)); /* and the lengths of rows */
    if (!weight) return;
    dg_weight_norm_kernels()->rows(out, in, b->data[WEIGHT_G], b->data[WEIGHT_V], weight, weight + out * in);
    dg_onnx_value input[] = {b->input[SRC], b->add_floats(b, "weight", 2, v->dim, weight)};
    free(weight);
    b->output[DST] = b->add_node(b, "Gemm", attr, input, 2);
}

const struct dg_op dg_op_weight_norm_linear = {
    .name = "weight_norm_linear",
    .in_yaml = true,
    .doc = "Linear layer whose rows have a length of their own, without a bias.",
    .attrs = attrs,
    .inputs = weight_norm_linear_inputs,
    .outputs = weight_norm_linear_outputs,
    .reach = DG_REACH_ROW,
    .params = params,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[GRAD_SRC], *diff_dst = &call->input[GRAD_DIFF_DST],
                         *v = &call->input[GRAD_WEIGHT_V];
    DG_TRY(check(src, &call->input[GRAD_WEIGHT_G], v, err));
    struct dg_desc want = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], v->dim[0]});
    if (!dg_desc_equal(diff_dst, &want)) return dg_fail(err, DG_ERR_INPUT, "diff_dst has the wrong shape");
    output[DIFF_SRC] = *src;
    output[DIFF_G] = call->input[GRAD_WEIGHT_G];
    output[DIFF_V] = *v;
    DG_TRY(dg_want_accumulator(&call->input[ACC_G], &output[DIFF_G], err));
    return dg_want_accumulator(&call->input[ACC_V], &output[DIFF_V], err);
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double flops = 2 * dg_product_flops(&call->input[GRAD_SRC], &call->input[GRAD_WEIGHT_V]);
    return (struct dg_cost){flops, flops};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, &p->call->input[GRAD_SRC], &p->call->input[GRAD_WEIGHT_V], 2, err);
    if (!s) return DG_ERR_MEMORY;
    s->partial_src = dg_op_scratch(p, s->threads * s->rows * s->in * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[GRAD_SRC], *diff_dst = r->input[GRAD_DIFF_DST], *g = r->input[GRAD_WEIGHT_G],
                *v = r->input[GRAD_WEIGHT_V];
    const float *acc_g = r->input[ACC_G], *acc_v = r->input[ACC_V];
    float *diff_src = r->output[DIFF_SRC], *diff_g = r->output[DIFF_G], *diff_v = r->output[DIFF_V];
    float *partial = (float *)((char *)r->scratch + s->partial_src);
    int64_t size = s->rows * s->in;
    int failed = 0;
    if (diff_src) memset(partial, 0, (size_t)(s->threads * size) * sizeof *partial);
#pragma omp parallel for schedule(static) num_threads(s->threads) reduction(| : failed)
    for (int64_t first = 0; first < s->out; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, s->out - first);
        int thread = omp_get_thread_num();
        float *w = (float *)((char *)r->scratch + s->per_thread * thread), *diff_w = w + BLOCK * s->in,
              *length = diff_w + BLOCK * s->in;
        dg_weight_norm_kernels()->rows(count, s->in, g + first, v + first * s->in, w, length);
        if (diff_src)
            failed |= dg_sgemm(false, false, s->rows, s->in, count, diff_dst + first, s->out, w, s->in, 1,
                               partial + thread * size, s->in, NULL) != DG_OK;
        failed |= dg_sgemm(true, false, count, s->in, s->rows, diff_dst + first, s->out, src, s->in, 0, diff_w, s->in,
                           NULL) != DG_OK;
        dg_weight_norm_kernels()->rows_backward(
            &(struct dg_weight_norm_grad_args){.rows = count,
                                               .cols = s->in,
                                               .g = g + first,
                                               .v = v + first * s->in,
                                               .length = length,
                                               .diff_w = diff_w,
                                               .acc_g = acc_g ? acc_g + first : NULL,
                                               .acc_v = acc_v ? acc_v + first * s->in : NULL,
                                               .diff_g = diff_g ? diff_g + first : NULL,
                                               .diff_v = diff_v + first * s->in});
    }
    if (diff_src) {
#pragma omp parallel for schedule(static) num_threads(s->threads)
        for (int64_t i = 0; i < size; i++) { /* in the order of threads, so that a run repeats bit for bit */
            float sum = 0;
            for (int t = 0; t < s->threads; t++) sum += partial[t * size + i];
            diff_src[i] = sum;
        }
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

static const struct dg_operand weight_norm_linear_grad_inputs[] = {
    [GRAD_SRC] = {"src"},
    [GRAD_DIFF_DST] = {"diff_dst"},
    [GRAD_WEIGHT_G] = {"weight_g"},
    [GRAD_WEIGHT_V] = {"weight_v"},
    [ACC_G] = {"acc_g", DG_OPTIONAL},
    [ACC_V] = {"acc_v", DG_OPTIONAL},
    {0},
};
static const struct dg_operand weight_norm_linear_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL},
    [DIFF_G] = {"diff_g", DG_OPTIONAL, DG_REUSE(ACC_G)},
    [DIFF_V] = {"diff_v", 0, DG_REUSE(ACC_V)},
    {0},
};

const struct dg_op dg_op_weight_norm_linear_grad = {
    .name = "weight_norm_linear_grad",
    .inputs = weight_norm_linear_grad_inputs,
    .outputs = weight_norm_linear_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare_grad,
    .run = run_grad,
};

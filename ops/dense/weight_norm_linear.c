/* weight_norm_linear: the prototype layer (DINOHead.last_layer of the official code: torch.nn.utils.weight_norm). dst =
 * src w^T with w_k = g_k v_k / ||v_k||, no bias, no epsilon.
 *
 *   weight_norm_linear      (src [M,D], weight_g [K,1], weight_v [K,D]) -> dst [M,K]
 *   weight_norm_linear_grad (src, diff_dst, weight_g, weight_v, [acc_g], [acc_v]) -> [diff_src], [diff_g], diff_v
 *
 * K is 65,536 and M a few dozen, so w is as large as everything around it together: it is made a block of rows at a
 * time in a thread's scratch, used there, and never stored. */
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/kernels.h"
#include "ops/op.h"

#include <math.h>
#include <omp.h>
#include <string.h>

extern const struct dg_op dg_op_weight_norm_linear_grad;

enum { OUT, TRAIN_G };
enum { BLOCK = 256 }; /* prototypes a thread works on at a time: 256 KiB of w at D = 256 */

static const struct dg_attr_spec attrs[] = {
    {.name = "out", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 1 << 28, .doc = "prototypes"},
    {.name = "train_g", .type = DG_ATTR_BOOL, .value.i = 1, .max = 1, .doc = "train the lengths weight_g too"},
    {0},
};

static int params(const struct dg_op_call *call, struct dg_param_need *need, struct dg_error *err)
{
    if (dg_want_ndim(&call->input[0], 2, "input", err) != DG_OK) return -1;
    int64_t in = call->input[0].dim[1], out = call->attr[OUT].i;
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
    DG_TRY(dg_want_f32(src, "input", err));
    DG_TRY(dg_want_ndim(v, 2, "weight_v", err));
    DG_TRY(dg_want_f32(v, "weight_v", err));
    struct dg_desc want_g = dg_desc_make(DG_F32, 2, (int64_t[]){v->dim[0], 1});
    if (v->dim[1] != src->dim[1] || !dg_desc_equal(g, &want_g))
        return dg_fail(err, DG_ERR_INPUT, "weight_g, weight_v and input do not fit");
    return DG_OK;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    if (call->num_inputs != 3) return dg_fail(err, DG_ERR_INPUT, "needs weight_g and weight_v");
    DG_TRY(check(&call->input[0], &call->input[1], &call->input[2], err));
    if (call->input[2].dim[0] != call->attr[OUT].i) return dg_fail(err, DG_ERR_INPUT, "weight_v does not fit out");
    output[0] = dg_desc_make(DG_F32, 2, (int64_t[]){call->input[0].dim[0], call->attr[OUT].i});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {
        b->input[0],     b->diff_output[0], b->input[1], b->input[2], b->wants[1] ? b->partial(b, 1) : DG_NO_VALUE,
        b->partial(b, 2)};
    DG_TRY(b->emit(b, &dg_op_weight_norm_linear_grad, NULL, input, 6, made));
    if (b->wants[0]) DG_TRY(b->give(b, 0, made[0]));
    if (b->wants[1]) b->set(b, 1, made[1]);
    if (b->wants[2]) b->set(b, 2, made[2]);
    return DG_OK;
}

static struct dg_cost cost(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[0], &call->input[2]);
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
    return open_state(p, &p->call->input[0], &p->call->input[2], 1, err) ? DG_OK : DG_ERR_MEMORY;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[0], *g = r->input[1], *v = r->input[2];
    float *dst = r->output[0];
    int failed = 0;
#pragma omp parallel for schedule(static) num_threads(s->threads) reduction(| : failed)
    for (int64_t first = 0; first < s->out; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, s->out - first);
        float *w = (float *)((char *)r->scratch + s->per_thread * omp_get_thread_num()), *length = w + BLOCK * s->in;
        dg_kernels()->weight_norm_rows(count, s->in, g + first, v + first * s->in, w, length);
        failed |=
            dg_sgemm(false, true, s->rows, count, s->in, src, s->in, w, s->in, 0, dst + first, s->out, NULL) != DG_OK;
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

const struct dg_op dg_op_weight_norm_linear = {
    .name = "weight_norm_linear",
    .in_yaml = true,
    .attrs = attrs,
    .min_inputs = 1,
    .max_inputs = 1,
    .output = {{"dst", 0}},
    .params = params,
    .infer = infer,
    .grad = grad,
    .cost = cost,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *src = &call->input[0], *diff_dst = &call->input[1], *v = &call->input[3];
    DG_TRY(check(src, &call->input[2], v, err));
    struct dg_desc want = dg_desc_make(DG_F32, 2, (int64_t[]){src->dim[0], v->dim[0]});
    if (!dg_desc_equal(diff_dst, &want)) return dg_fail(err, DG_ERR_INPUT, "diff_dst has the wrong shape");
    output[0] = *src;
    output[1] = call->input[2];
    output[2] = *v;
    for (int o = 1; o < 3; o++)
        if (!dg_absent(&call->input[3 + o]) && !dg_desc_equal(&call->input[3 + o], &output[o]))
            return dg_fail(err, DG_ERR_INPUT, "accumulator has another shape");
    return DG_OK;
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double flops = 2 * dg_product_flops(&call->input[0], &call->input[3]);
    return (struct dg_cost){flops, flops};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = open_state(p, &p->call->input[0], &p->call->input[3], 2, err);
    if (!s) return DG_ERR_MEMORY;
    s->partial_src = dg_op_scratch(p, s->threads * s->rows * s->in * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *src = r->input[0], *diff_dst = r->input[1], *g = r->input[2], *v = r->input[3];
    const float *acc_g = r->input[4], *acc_v = r->input[5];
    float *diff_src = r->output[0], *diff_g = r->output[1], *diff_v = r->output[2];
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
        dg_kernels()->weight_norm_rows(count, s->in, g + first, v + first * s->in, w, length);
        if (diff_src)
            failed |= dg_sgemm(false, false, s->rows, s->in, count, diff_dst + first, s->out, w, s->in, 1,
                               partial + thread * size, s->in, NULL) != DG_OK;
        failed |= dg_sgemm(true, false, count, s->in, s->rows, diff_dst + first, s->out, src, s->in, 0, diff_w, s->in,
                           NULL) != DG_OK;
        dg_kernels()->weight_norm_rows_backward(count, s->in, g + first, v + first * s->in, length, diff_w,
                                                acc_g ? acc_g + first : NULL, acc_v ? acc_v + first * s->in : NULL,
                                                diff_g ? diff_g + first : NULL, diff_v + first * s->in);
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

const struct dg_op dg_op_weight_norm_linear_grad = {
    .name = "weight_norm_linear_grad",
    .min_inputs = 6,
    .max_inputs = 6,
    .output = {{"diff_src", DG_OUT_OPTIONAL}, {"diff_g", DG_OUT_OPTIONAL}, {"diff_v", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .inplace = {0, 5, 6},
    .prepare = prepare_grad,
    .run = run_grad,
};

/* mul: dst = a * b, where b has a's shape, or fewer dimensions, or ones in their place, and is then broadcast from the end as in
 * NumPy: a parameter [dim] scales channels (layer scale), a value [images, 1, 1, channels] is a gate of whole channels.
 *
 *   mul      (a, b) -> dst
 *   mul_sums (a, c, b, [acc]) -> diff_b: the sums of a * c over all that meet the same number of b, of which only the shape
 *            counts, added to the accumulator: the gradient of a b that is broadcast
 *
 * The gradient of a is a mul, and so is that of a b of a's shape. */
#include "ops/kernels/mul.h"
#include "ops/op.h"

extern const struct dg_op dg_op_mul, dg_op_mul_sums;

enum { A, B, ROWS };                       /* inputs */
enum { DST };                              /* output */
enum { SUM_A, SUM_C, SUM_B, ACC, S_ROWS }; /* inputs of mul_sums */
enum { DIFF_B };                           /* output of mul_sums */

/* How b goes with a, with neighbouring dimensions that b treats alike as one. False: it does not. */
static bool broadcast_of(const struct dg_desc *a, const struct dg_desc *b, struct dg_broadcast *s)
{
    *s = (struct dg_broadcast){{1, 1, 1, 1}, {0, 0, 0, 0}};
    int used = 0; /* dimensions of s, from the last one */
    int64_t step = 1;
    bool last = false;
    for (int d = 0; d < a->ndim || d < b->ndim; d++) {
        int64_t size = d < a->ndim ? a->dim[a->ndim - 1 - d] : 1, of_b = d < b->ndim ? b->dim[b->ndim - 1 - d] : 1;
        if (of_b != size && of_b != 1) return false;
        if (size == 1) continue;
        bool moves = of_b > 1;
        if (!used || moves != last) {
            if (used == 4) return false;
            used++;
            s->step[4 - used] = moves ? step : 0;
        }
        s->size[4 - used] *= size;
        step *= of_b;
        last = moves;
    }
    if (!used) s->step[3] = 1; /* one number */
    return true;
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    struct dg_broadcast broadcast;
    if (call->input[A].ndim < 1) return dg_fail(err, DG_ERR_INPUT, "the first input must have at least one dimension");
    if (!broadcast_of(&call->input[A], &call->input[B], &broadcast)) {
        char a[96], b[96];
        return dg_fail(err, DG_ERR_INPUT,
                       "the second input, %s, must have the dimensions of the first, %s, or 1 in their place",
                       dg_desc_text(b, sizeof b, &call->input[B]), dg_desc_text(a, sizeof a, &call->input[A]));
    }
    output[DST] = call->input[A];
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS], diff = b->diff_output[DST];
    if (b->wants[A]) {
        DG_TRY(b->emit(b, &dg_op_mul, NULL, (dg_value[]){diff, b->input[B]}, 2, made));
        DG_TRY(b->add_gradient(b, A, made[DST]));
    }
    if (!b->wants[B]) return DG_OK;
    struct dg_desc a = dg_desc_wide(&b->call->input[A]), factor = dg_desc_wide(&b->call->input[B]);
    if (dg_desc_equal(&a, &factor)) {
        DG_TRY(b->emit(b, &dg_op_mul, NULL, (dg_value[]){diff, b->input[A]}, 2, made));
        return b->add_gradient(b, B, made[DST]);
    }
    dg_value input[] = {diff, b->input[A], b->input[B], b->gradient_so_far(b, B)};
    DG_TRY(b->emit(b, &dg_op_mul_sums, NULL, input, 4, made));
    b->set_gradient(b, B, made[DIFF_B]);
    return DG_OK;
}

struct state {
    struct dg_broadcast broadcast;
    int64_t images, each; /* each: numbers of an image */
    int64_t sums;
    bool first_bf16, second_bf16, dst_bf16;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *a = &p->call->input[A], *b = &p->call->input[B];
    *s = (struct state){.images = a->dim[0],
                        .each = dg_desc_count(a) / a->dim[0],
                        .first_bf16 = dg_is_bf16(a),
                        .second_bf16 = dg_is_bf16(b),
                        .dst_bf16 = dg_is_bf16(&p->call->output[DST])};
    broadcast_of(a, b, &s->broadcast);
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_mul_kernels()->mul(&(struct dg_mul_args){.broadcast = s->broadcast,
                                                .count = dg_survivors(r->input[ROWS], s->images) * s->each,
                                                .a_bf16 = s->first_bf16,
                                                .a = r->input[A],
                                                .b_bf16 = s->second_bf16,
                                                .b = r->input[B],
                                                .dst_bf16 = s->dst_bf16,
                                                .dst = r->output[DST]});
    return DG_OK;
}

/* Images have their channels first there: where only the first input is one, it is turned to meet the other. */
static void onnx(struct dg_onnx_builder *b)
{
    int ndim = b->call->input[B].ndim == 4 ? 0 : b->call->input[A].ndim;
    dg_onnx_value a = dg_onnx_channels_last(b, b->input[A], ndim);
    b->output[DST] = dg_onnx_channels_first(b, dg_onnx_binary(b, "Mul", a, b->input[B]), ndim);
}

static const struct dg_operand inputs[] = {[A] = {"a", DG_BF16_OK | DG_COMPACT},
                                           [B] = {"b", DG_BF16_OK | DG_COMPACT},
                                           [ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                           {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst", DG_BF16_OK | DG_COMPACT, DG_REUSE(A)}, {0}};

const struct dg_op dg_op_mul = {
    .name = "mul",
    .in_yaml = true,
    .doc = "Product of two values, the second broadcast to the first.",
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_ROW,
    .infer = infer,
    .grad = grad,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_sums(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    struct dg_broadcast broadcast;
    const struct dg_desc *a = &call->input[SUM_A], *b = &call->input[SUM_B];
    if (a->ndim < 1 || !dg_desc_equal(a, &call->input[SUM_C]) || !broadcast_of(a, b, &broadcast))
        return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
    output[DIFF_B] = dg_desc_make(DG_F32, b->ndim, b->dim);
    return dg_want_accumulator(&call->input[ACC], &output[DIFF_B], err);
}

static enum dg_status prepare_sums(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *a = &p->call->input[SUM_A], *b = &p->call->input[SUM_B];
    *s = (struct state){.images = a->dim[0],
                        .each = dg_desc_count(a) / a->dim[0],
                        .sums = dg_desc_count(b),
                        .first_bf16 = dg_is_bf16(a),
                        .second_bf16 = dg_is_bf16(&p->call->input[SUM_C])};
    broadcast_of(a, b, &s->broadcast);
    dg_op_scratch(p, s->sums * p->threads * (int64_t)sizeof(float));
    return DG_OK;
}

static enum dg_status run_sums(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    dg_mul_kernels()->sums(&(struct dg_mul_sums_args){.broadcast = s->broadcast,
                                                      .count = dg_survivors(r->input[S_ROWS], s->images) * s->each,
                                                      .a_bf16 = s->first_bf16,
                                                      .a = r->input[SUM_A],
                                                      .c_bf16 = s->second_bf16,
                                                      .c = r->input[SUM_C],
                                                      .sums_count = s->sums,
                                                      .acc = r->input[ACC],
                                                      .sums = r->output[DIFF_B],
                                                      .partial = r->scratch,
                                                      .threads = r->threads});
    return DG_OK;
}

static const struct dg_operand sums_inputs[] = {[SUM_A] = {"a", DG_BF16_OK | DG_COMPACT},
                                                [SUM_C] = {"c", DG_BF16_OK | DG_COMPACT},
                                                [SUM_B] = {"b", DG_BF16_OK},
                                                [ACC] = {"acc", DG_OPTIONAL},
                                                [S_ROWS] = {"rows", DG_OPTIONAL | DG_ROW_MAP},
                                                {0}};
static const struct dg_operand sums_outputs[] = {[DIFF_B] = {"diff_b", 0, DG_REUSE(ACC)}, {0}};

const struct dg_op dg_op_mul_sums = {
    .name = "mul_sums",
    .inputs = sums_inputs,
    .outputs = sums_outputs,
    .infer = infer_sums,
    .grad = dg_no_gradient,
    .prepare = prepare_sums,
    .run = run_sums,
};

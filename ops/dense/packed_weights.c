/* pack_weights          (weight [out, ...]) -> packed: for dst = src weight^T
 * pack_weights_grad_src (weight [out, ...]) -> packed: for diff_src = diff_dst weight
 *
 * The shape of `packed` is an upper bound, since a plan is made without knowing the oneDNN that will run it: both sides of the
 * matrix rounded up to a multiple of 64, the widest block of its layouts. Where that does not hold, nothing is packed here, and the
 * products see it, too. */
#include "ops/dense/packed_weights.h"

#include <stdlib.h>

enum { WEIGHT }; /* input */
enum { PACKED }; /* output */

enum { BLOCK = 64, ROWS = 1024 }; /* ROWS: of the product whose layout is taken */

static struct dg_desc matrix_of(const struct dg_desc *weight)
{
    return dg_desc_make(DG_F32, 2, (int64_t[]){weight->dim[0], dg_desc_count(weight) / weight->dim[0]});
}

static struct dg_desc packed_desc(const struct dg_desc *weight)
{
    struct dg_desc matrix = matrix_of(weight);
    for (int d = 0; d < 2; d++) matrix.dim[d] = dg_round_up(matrix.dim[d], BLOCK);
    return matrix;
}

enum dg_status dg_packed_check(const struct dg_desc *packed, const struct dg_desc *weight, struct dg_error *err)
{
    if (dg_absent(packed)) return DG_OK;
    struct dg_desc is = dg_desc_wide(packed), want = packed_desc(weight);
    return dg_desc_equal(&is, &want) ? DG_OK : dg_fail(err, DG_ERR_INPUT, "the packed weights are not of this weight");
}

static enum dg_status open_reference(const struct dg_prepare *p, const struct dg_desc *matrix, enum dg_packed_for use,
                                     struct dg_gemm *gemm, struct dg_error *err)
{
    int64_t out = matrix->dim[0], in = matrix->dim[1];
    bool dst = use == DG_PACKED_FOR_DST;
    struct dg_gemm_spec spec = {.m = ROWS,
                                .n = dst ? out : in,
                                .k = dst ? in : out,
                                .weights_row = dst ? 1 : in,
                                .weights_col = dst ? in : 1,
                                .packs = true,
                                .bf16 = p->call->bf16};
    return dg_gemm_open(p->engine, &spec, gemm, err);
}

bool dg_packed_fits(const struct dg_prepare *p, const struct dg_desc *packed, enum dg_packed_for use,
                    const struct dg_gemm *gemm)
{
    if (dg_absent(packed) || !gemm->packed_bytes || gemm->packed_bytes > dg_desc_bytes(packed)) return false;
    bool dst = use == DG_PACKED_FOR_DST;
    struct dg_desc matrix =
        dg_desc_make(DG_F32, 2, (int64_t[]){dst ? gemm->spec.n : gemm->spec.k, dst ? gemm->spec.k : gemm->spec.n});
    struct dg_gemm reference;
    struct dg_error err;
    if (open_reference(p, &matrix, use, &reference, &err) != DG_OK) return false;
    bool fits = dg_gemm_packs_alike(gemm, &reference);
    dg_gemm_close(&reference);
    return fits;
}

/* --- the ops --- */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(dg_want_rows(&call->input[WEIGHT], "weight", err));
    output[PACKED] = packed_desc(&call->input[WEIGHT]);
    return DG_OK;
}

struct state {
    struct dg_gemm gemm;
    bool fits;
};

static void release(void *state)
{
    if (state) dg_gemm_close(&((struct state *)state)->gemm);
    free(state);
}

static enum dg_status prepare_for(struct dg_prepare *p, enum dg_packed_for use, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    struct dg_desc matrix = matrix_of(&p->call->input[WEIGHT]);
    DG_TRY(open_reference(p, &matrix, use, &s->gemm, err));
    s->fits = s->gemm.packed_bytes <= dg_desc_bytes(&p->call->output[PACKED]);
    dg_op_scratch(p, s->gemm.scratch_bytes);
    return DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    return prepare_for(p, DG_PACKED_FOR_DST, err);
}

static enum dg_status prepare_grad_src(struct dg_prepare *p, struct dg_error *err)
{
    return prepare_for(p, DG_PACKED_FOR_DIFF_SRC, err);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    struct state *s = r->state;
    return s->fits ? dg_gemm_pack(&s->gemm, r->stream, r->input[WEIGHT], r->output[PACKED], r->scratch, err) : DG_OK;
}

static const struct dg_operand inputs[] = {[WEIGHT] = {"weight"}, {0}};
static const struct dg_operand outputs[] = {[PACKED] = {"packed", DG_BF16_OK | DG_OPAQUE}, {0}};

const struct dg_op dg_op_pack_weights = {
    .name = "pack_weights",
    .inputs = inputs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
    .release = release,
};

const struct dg_op dg_op_pack_weights_grad_src = {
    .name = "pack_weights_grad_src",
    .inputs = inputs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare_grad_src,
    .run = run,
    .release = release,
};

/* grad_norms (P gradients, loss) -> norms f64 [P], summary f64 [2] = {norm over all, 1 if all is finite else 0}: the one
 * check at the end of a step, before anything is written. */
#include "ops/kernels/optimizer.h"
#include "ops/op.h"

#include <math.h>

enum { NORMS, SUMMARY }; /* outputs */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    int last = call->num_inputs - 1;
    if (!dg_desc_is_scalar(&call->input[last], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the last input must be the loss");
    output[NORMS] = dg_desc_make(DG_F64, 1, (int64_t[]){last});
    output[SUMMARY] = dg_desc_make(DG_F64, 1, (int64_t[]){2});
    return DG_OK;
}

enum { CHUNK = 4096 };

struct state {
    int count;
    struct {
        int64_t size, chunk; /* numbers, and how many chunks the ones before it have */
    } gradient[];
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    int count = p->call->num_inputs - 1;
    struct state *s = dg_op_state(p, sizeof *s + ((size_t)count + 1) * sizeof s->gradient[0], err);
    if (!s) return DG_ERR_MEMORY;
    s->count = count;
    for (int i = 0; i < count; i++) {
        s->gradient[i].size = dg_desc_count(&p->call->input[i]);
        s->gradient[i + 1].chunk = s->gradient[i].chunk + (s->gradient[i].size + CHUNK - 1) / CHUNK;
    }
    dg_op_scratch(p, s->gradient[count].chunk * (int64_t)sizeof(double));
    return DG_OK;
}

/* One parallel region over chunks of all gradients, whose bounds do not depend on threads: a region a gradient would be a
 * few hundred, most of them for a few hundred numbers. */
static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double *norms = r->output[NORMS], *summary = r->output[SUMMARY], *partial = r->scratch, all = 0;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t chunk = 0; chunk < s->gradient[s->count].chunk; chunk++) {
        int low = 0, high = s->count; /* the gradient that has it is in low .. high - 1 */
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (s->gradient[middle].chunk <= chunk)
                low = middle;
            else
                high = middle;
        }
        int64_t first = (chunk - s->gradient[low].chunk) * CHUNK;
        partial[chunk] = dg_optimizer_kernels()->sum_squares(dg_min_i64(CHUNK, s->gradient[low].size - first),
                                                             (const float *)r->input[low] + first);
    }
    for (int i = 0; i < s->count; i++) {
        double square = 0;
        for (int64_t chunk = s->gradient[i].chunk; chunk < s->gradient[i + 1].chunk; chunk++) square += partial[chunk];
        norms[i] = sqrt(square);
        all += square;
    }
    summary[0] = sqrt(all);
    summary[1] = isfinite(all) && isfinite(*(const double *)r->input[s->count]);
    return DG_OK;
}

static const struct dg_operand inputs[] = {{"gradients", DG_VARIADIC}, {"loss", .dtype = DG_F64}, {0}};
static const struct dg_operand outputs[] = {
    [NORMS] = {"norms", .dtype = DG_F64}, [SUMMARY] = {"summary", .dtype = DG_F64}, {0}};

const struct dg_op dg_op_grad_norms = {
    .name = "grad_norms",
    .inputs = inputs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

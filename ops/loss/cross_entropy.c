/* Softmax cross-entropy with labels: the mean over the rows that count.
 *
 *   cross_entropy      (logits [B,C], labels i64 [B]) -> loss, [lse f64 [B]]
 *   cross_entropy_grad (logits, labels, lse) -> diff_logits [B,C]
 *
 * The loss is an f64 scalar. A label of -1 marks a row that does not count, as a last, partial batch has them: it adds nothing,
 * and its gradient is zero; where no row counts the loss is 0. The loss is where differentiation starts, so cross_entropy_grad
 * takes its cotangent to be one. Exponentials are f64: beside the network that made the features these are few. */
#include "ops/op.h"

#include <math.h>

extern const struct dg_op dg_op_cross_entropy_grad;

enum { LOGITS, LABELS, LSE }; /* inputs; the last of the gradient only */
enum { LOSS, SAVED_LSE };     /* outputs */
enum { DIFF_LOGITS };         /* output of the gradient */

struct state {
    int64_t rows, cols;
};

static enum dg_status open_state(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){p->call->input[LOGITS].dim[0], p->call->input[LOGITS].dim[1]};
    return DG_OK;
}

static enum dg_status check(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *logits = &call->input[LOGITS], *labels = &call->input[LABELS];
    DG_TRY(dg_want_ndim(logits, 2, "logits", err));
    if (labels->ndim == 1 && labels->dim[0] == logits->dim[0]) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "labels must be an i64 a row of the logits");
}

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    output[LOSS] = dg_desc_scalar(DG_F64);
    output[SAVED_LSE] = dg_desc_make(DG_F64, 1, (int64_t[]){call->input[LOGITS].dim[0]});
    return DG_OK;
}

static enum dg_status grad(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    DG_TRY(b->emit(b, &dg_op_cross_entropy_grad, NULL,
                   (dg_value[]){b->input[LOGITS], b->input[LABELS], b->output[SAVED_LSE]}, 3, made));
    return b->add_gradient(b, LOGITS, made[DIFF_LOGITS]);
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, err));
    dg_op_scratch(p,
                  p->call->input[LOGITS].dim[0] * (int64_t)sizeof(double)); /* for lse, if that output is not wanted */
    return DG_OK;
}

static int64_t counting(const struct state *s, const int64_t *labels)
{
    int64_t count = 0;
    for (int64_t row = 0; row < s->rows; row++) count += labels[row] >= 0;
    return count;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *logits = r->input[LOGITS];
    const int64_t *labels = r->input[LABELS];
    double *lse = r->output[SAVED_LSE] ? r->output[SAVED_LSE] : r->scratch, sum = 0;
    for (int64_t row = 0; row < s->rows; row++)
        if (labels[row] < -1 || labels[row] >= s->cols)
            return dg_fail(err, DG_ERR_INPUT, "row %lld has label %lld; there are %lld classes", (long long)row,
                           (long long)labels[row], (long long)s->cols);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *x = logits + row * s->cols;
        float most = x[0];
        double total = 0;
        for (int64_t c = 1; c < s->cols; c++) most = x[c] > most ? x[c] : most;
        for (int64_t c = 0; c < s->cols; c++) total += exp((double)x[c] - (double)most);
        lse[row] = (double)most + log(total);
    }
    for (int64_t row = 0; row < s->rows; row++) /* in order, so that the sum does not depend on threads */
        if (labels[row] >= 0) sum += lse[row] - (double)logits[row * s->cols + labels[row]];
    int64_t count = counting(s, labels);
    *(double *)r->output[LOSS] = count ? sum / (double)count : 0;
    return DG_OK;
}

static const struct dg_operand cross_entropy_inputs[] = {
    [LOGITS] = {"logits"},
    [LABELS] = {"labels", .dtype = DG_I64},
    {0},
};
static const struct dg_operand cross_entropy_outputs[] = {
    [LOSS] = {"loss", .dtype = DG_F64},
    [SAVED_LSE] = {"lse", DG_SAVED, .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_cross_entropy = {
    .name = "cross_entropy",
    .inputs = cross_entropy_inputs,
    .outputs = cross_entropy_outputs,
    .infer = infer,
    .grad = grad,
    .prepare = prepare,
    .run = run,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    const struct dg_desc *lse = &call->input[LSE];
    if (lse->ndim != 1 || lse->dim[0] != call->input[LOGITS].dim[0])
        return dg_fail(err, DG_ERR_INPUT, "lse has the wrong shape");
    output[DIFF_LOGITS] = call->input[LOGITS];
    return DG_OK;
}

/* The forward has checked the labels. */
static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *logits = r->input[LOGITS];
    const int64_t *labels = r->input[LABELS];
    const double *lse = r->input[LSE];
    float *diff = r->output[DIFF_LOGITS];
    int64_t count = counting(s, labels);
    double share = count ? 1 / (double)count : 0;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s->rows; row++)
        for (int64_t c = 0; c < s->cols; c++) {
            int64_t i = row * s->cols + c;
            double p = labels[row] < 0 ? 0 : exp((double)logits[i] - lse[row]);
            diff[i] = (float)((p - (labels[row] == c)) * share);
        }
    return DG_OK;
}

static const struct dg_operand cross_entropy_grad_inputs[] = {
    [LOGITS] = {"logits"},
    [LABELS] = {"labels", .dtype = DG_I64},
    [LSE] = {"lse", .dtype = DG_F64},
    {0},
};
static const struct dg_operand cross_entropy_grad_outputs[] = {
    [DIFF_LOGITS] = {"diff_logits", 0, DG_REUSE(LOGITS)},
    {0},
};

const struct dg_op dg_op_cross_entropy_grad = {
    .name = "cross_entropy_grad",
    .inputs = cross_entropy_grad_inputs,
    .outputs = cross_entropy_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = open_state,
    .run = run_grad,
};

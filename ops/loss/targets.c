/* Targets of the teacher that are no softmax of centred logits (ops/loss/dino_loss.c): the comparisons of Caron et al. 2021, table 7
 * and appendices B and D. Logits are t [G*B,K], the rows of G views one behind the other; scalars are f64.
 *
 *   hard_target     (t, center [1,K]) -> q [G*B,K], batch_mean [1,K], entropy
 *   sinkhorn_target (t, teacher_temp) -> q, entropy
 *   unit_target     (t, center [1,K]) -> z [G*B,K], batch_mean [1,K], entropy
 *
 * hard_target is the limit of the softmax at temperature zero: 1 where t - center is largest, the first of equals. unit_target
 * scales t - center to length one, for losses on directions. sinkhorn_target makes each prototype's share of a view's images equal and
 * each image's probabilities sum to one, in turn, `iterations` times from exp(t / teacher_temp) on (Caron et al. 2020, algorithm 1): with
 * one iteration it is a softmax over the batch, whose rows are then divided by their sums (Caron et al. 2021, appendix B). Where
 * processes share a step, the images are those of all of them: in each iteration each process sends its sums of the prototypes to all.
 * The entropy of targets that are no probabilities, and of hard ones, is 0. */
#include "ops/kernels/dino.h"
#include "ops/kernels/vmath.h"
#include "ops/op.h"

#include <math.h>

enum { TEACHER, CENTER, TEACHER_TEMP = CENTER };                /* inputs */
enum { Q, BATCH_MEAN, ENTROPY, SINKHORN_ENTROPY = BATCH_MEAN }; /* outputs */
enum { ITERATIONS, VIEWS };                                     /* attributes of sinkhorn_target */

struct state {
    int64_t rows, cols;
    int64_t views, batch, ranks; /* of sinkhorn_target: rows are `batch` images of each view */
    int iterations;
    int64_t entropy_at, row_at, column_at, all_at; /* offsets in its scratch */
};

static enum dg_status open_state(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *t = &p->call->input[TEACHER];
    *s = (struct state){.rows = t->dim[0], .cols = t->dim[1]};
    return DG_OK;
}

static enum dg_status infer_centred(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *t = &call->input[TEACHER];
    DG_TRY(dg_want_ndim(t, 2, "teacher logits", err));
    output[Q] = *t;
    output[BATCH_MEAN] = dg_desc_make(DG_F32, 2, (int64_t[]){1, t->dim[1]});
    output[ENTROPY] = dg_desc_scalar(DG_F64);
    if (dg_desc_equal(&call->input[CENTER], &output[BATCH_MEAN])) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "center has the wrong shape");
}

/* --- hard_target --- */

static enum dg_status run_hard(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *center = r->input[CENTER];
    dg_dino_kernels()->row_mean(s->rows, s->cols, r->input[TEACHER], r->output[BATCH_MEAN]); /* before q overwrites t */
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *t = (const float *)r->input[TEACHER] + row * s->cols;
        float *q = (float *)r->output[Q] + row * s->cols;
        int64_t most = 0;
        float value = t[0] - center[0], check = value;
        for (int64_t k = 1; k < s->cols; k++) {
            check += 0 * t[k]; /* not a number if one of them is not: the finite check must see it */
            if (t[k] - center[k] <= value) continue;
            most = k;
            value = t[k] - center[k];
        }
        for (int64_t k = 0; k < s->cols; k++) q[k] = 0;
        q[most] = isfinite(check) ? 1 : NAN;
    }
    *(double *)r->output[ENTROPY] = 0;
    return DG_OK;
}

static const struct dg_operand centred_inputs[] = {[TEACHER] = {"teacher_logits"}, [CENTER] = {"center"}, {0}};
static const struct dg_operand hard_outputs[] = {
    [Q] = {"q", 0, DG_REUSE(TEACHER)},
    [BATCH_MEAN] = {"batch_mean"},
    [ENTROPY] = {"entropy", .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_hard_target = {
    .name = "hard_target",
    .inputs = centred_inputs,
    .outputs = hard_outputs,
    .infer = infer_centred,
    .grad = dg_stop_gradient, /* the teacher is detached */
    .prepare = open_state,
    .run = run_hard,
};

/* --- unit_target --- */

static enum dg_status run_unit(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *center = r->input[CENTER];
    dg_dino_kernels()->row_mean(s->rows, s->cols, r->input[TEACHER], r->output[BATCH_MEAN]); /* before z overwrites t */
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t row = 0; row < s->rows; row++) {
        const float *t = (const float *)r->input[TEACHER] + row * s->cols;
        float *z = (float *)r->output[Q] + row * s->cols;
        double square = 0;
        for (int64_t k = 0; k < s->cols; k++) {
            z[k] = t[k] - center[k];
            square += (double)z[k] * z[k];
        }
        float scale = (float)(1 / fmax(sqrt(square), 1e-12)); /* as l2_normalize */
        if (isnan(square)) scale = NAN;
        for (int64_t k = 0; k < s->cols; k++) z[k] *= scale;
    }
    *(double *)r->output[ENTROPY] = 0;
    return DG_OK;
}

static const struct dg_operand unit_outputs[] = {
    [Q] = {"z", 0, DG_REUSE(TEACHER)},
    [BATCH_MEAN] = {"batch_mean"},
    [ENTROPY] = {"entropy", .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_unit_target = {
    .name = "unit_target",
    .inputs = centred_inputs,
    .outputs = unit_outputs,
    .infer = infer_centred,
    .grad = dg_stop_gradient,
    .prepare = open_state,
    .run = run_unit,
};

/* --- sinkhorn_target --- */

static const struct dg_attr_spec sinkhorn_attrs[] = {
    {.name = "iterations",
     .type = DG_ATTR_INT,
     .required = true,
     .min = 1,
     .max = 1000,
     .internal = true,
     .doc = "how often columns and rows are scaled"},
    {.name = "views", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .internal = true},
    {0},
};

static enum dg_status infer_sinkhorn(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *t = &call->input[TEACHER];
    DG_TRY(dg_want_ndim(t, 2, "teacher logits", err));
    output[Q] = *t;
    output[SINKHORN_ENTROPY] = dg_desc_scalar(DG_F64);
    if (t->dim[0] % call->attr[VIEWS].i) return dg_fail(err, DG_ERR_INPUT, "the rows are no whole views");
    if (dg_desc_is_scalar(&call->input[TEACHER_TEMP], DG_F64)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "the temperature must be a scalar");
}

/* A number for each prototype of each view. */
static int64_t column_bytes(const struct dg_op_call *call)
{
    return call->attr[VIEWS].i * call->input[TEACHER].dim[1] * (int64_t)sizeof(float);
}

static struct dg_joins sinkhorn_joins(const struct dg_op_call *call)
{
    int64_t iterations = call->attr[ITERATIONS].i;
    return (struct dg_joins){.times = iterations, .bytes = iterations * column_bytes(call)};
}

static enum dg_status prepare_sinkhorn(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, err));
    struct state *s = p->state;
    s->iterations = (int)p->call->attr[ITERATIONS].i;
    s->views = p->call->attr[VIEWS].i;
    s->batch = s->rows / s->views;
    s->ranks = dg_ranks(p->call);
    s->entropy_at = dg_op_scratch(p, s->rows * (int64_t)sizeof(double));
    s->row_at = dg_op_scratch(p, s->rows * (int64_t)sizeof(float));
    s->column_at = dg_op_scratch(p, column_bytes(p->call));
    if (s->ranks > 1) s->all_at = dg_op_scratch(p, s->ranks * column_bytes(p->call));
    return DG_OK;
}

enum { BLOCK = 512 }; /* columns */

/* column[k] = ln sum over the rows n of exp(x[n][k] / temp - row[n]). */
static void scale_columns(const struct state *s, const float *x, float temp, const float *row, float *column,
                          int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < s->cols; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, s->cols - first);
        float most[BLOCK], sum[BLOCK];
        for (int64_t k = 0; k < count; k++) most[k] = -INFINITY, sum[k] = 0;
        for (int64_t n = 0; n < s->batch; n++) {
            const float *line = x + n * s->cols + first;
            for (int64_t k = 0; k < count; k++) most[k] = fmaxf(most[k], line[k] / temp - row[n]);
        }
        for (int64_t n = 0; n < s->batch; n++) {
            const float *line = x + n * s->cols + first;
#pragma omp simd
            for (int64_t k = 0; k < count; k++) sum[k] += dg_expf(line[k] / temp - row[n] - most[k]);
        }
        for (int64_t k = 0; k < count; k++) column[first + k] = most[k] + logf(sum[k]);
    }
}

/* column [views, cols], logarithms of the sums over this process's images, becomes those over the images of all. */
static enum dg_status join_columns(const struct dg_run *r, float *column, struct dg_error *err)
{
    const struct state *s = r->state;
    int64_t count = s->views * s->cols;
    float *all = (float *)((char *)r->scratch + s->all_at);
    DG_TRY(r->peers->gather(r->peers->context, column, count * (int64_t)sizeof(float), all, err));
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t k = 0; k < count; k++) {
        float most = -INFINITY, sum = 0;
        for (int64_t p = 0; p < s->ranks; p++) most = fmaxf(most, all[p * count + k]);
        for (int64_t p = 0; p < s->ranks; p++) sum += dg_expf(all[p * count + k] - most);
        column[k] = most + logf(sum);
    }
    return DG_OK;
}

/* row[n] = ln sum over the columns k of exp(x[n][k] / temp - column[k]). */
static void scale_rows(const struct state *s, const float *x, float temp, const float *column, float *row, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->batch; n++) {
        const float *line = x + n * s->cols;
        float most = -INFINITY;
        double sum = 0;
        for (int64_t k = 0; k < s->cols; k++) most = fmaxf(most, line[k] / temp - column[k]);
        for (int64_t first = 0; first < s->cols; first += BLOCK) {
            int64_t end = dg_min_i64(first + BLOCK, s->cols);
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t k = first; k < end; k++) part += dg_expf(line[k] / temp - column[k] - most);
            sum += part;
        }
        row[n] = (float)(most + log(sum));
    }
}

/* q = exp(x / temp - column - row), which may overwrite x; entropy[n] is that of row n. */
static void finish_rows(const struct state *s, float temp, const float *column, const float *row, const float *x,
                        float *q, double *entropy, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->batch; n++) {
        double sum = 0;
        for (int64_t first = 0; first < s->cols; first += BLOCK) {
            int64_t end = dg_min_i64(first + BLOCK, s->cols);
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t k = first; k < end; k++) {
                float log_q = x[n * s->cols + k] / temp - column[k] - row[n], p = dg_expf(log_q);
                part += p * log_q;
                q[n * s->cols + k] = p;
            }
            sum += part;
        }
        entropy[n] = -sum;
    }
}

static enum dg_status run_sinkhorn(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *x = r->input[TEACHER];
    float temp = (float)*(const double *)r->input[TEACHER_TEMP];
    double *entropy = (double *)((char *)r->scratch + s->entropy_at), sum = 0;
    float *row = (float *)((char *)r->scratch + s->row_at), *column = (float *)((char *)r->scratch + s->column_at);
    int64_t view = s->batch * s->cols; /* numbers */
    for (int64_t n = 0; n < s->rows; n++) row[n] = 0;
    for (int i = 0; i < s->iterations; i++) {
        for (int64_t v = 0; v < s->views; v++)
            scale_columns(s, x + v * view, temp, row + v * s->batch, column + v * s->cols, r->threads);
        if (s->ranks > 1) DG_TRY(join_columns(r, column, err));
        for (int64_t v = 0; v < s->views; v++)
            scale_rows(s, x + v * view, temp, column + v * s->cols, row + v * s->batch, r->threads);
    }
    for (int64_t v = 0; v < s->views; v++)
        finish_rows(s, temp, column + v * s->cols, row + v * s->batch, x + v * view, (float *)r->output[Q] + v * view,
                    entropy + v * s->batch, r->threads);
    for (int64_t n = 0; n < s->rows; n++) sum += entropy[n];
    *(double *)r->output[SINKHORN_ENTROPY] = sum / (double)s->rows;
    return DG_OK;
}

static const struct dg_operand sinkhorn_inputs[] = {
    [TEACHER] = {"teacher_logits"}, [TEACHER_TEMP] = {"teacher_temp", .dtype = DG_F64}, {0}};
static const struct dg_operand sinkhorn_outputs[] = {
    [Q] = {"q", 0, DG_REUSE(TEACHER)}, [SINKHORN_ENTROPY] = {"entropy", .dtype = DG_F64}, {0}};

const struct dg_op dg_op_sinkhorn_target = {
    .name = "sinkhorn_target",
    .attrs = sinkhorn_attrs,
    .joins = sinkhorn_joins,
    .inputs = sinkhorn_inputs,
    .outputs = sinkhorn_outputs,
    .infer = infer_sinkhorn,
    .grad = dg_stop_gradient,
    .prepare = prepare_sinkhorn,
    .run = run_sinkhorn,
};

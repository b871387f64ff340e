/* The DINO loss (Caron et al. 2021, section 3.1 and algorithm 1; DINOLoss of main_dino.py), for any number of student
 * groups.
 *
 *   dino_target    (t [2B,K], center [1,K], teacher_temp) -> [stats [2B,2]], q [2B,K], batch_mean [1,K], entropy
 *   dino_loss      (s [V*B,K], q, student_temp, [loss so far]) -> loss, [lse]
 *   dino_loss_grad (s, q, student_temp, lse) -> diff_s
 *   center_update  (center, batch_mean, center_momentum): center <- m center + (1 - m) batch_mean
 *
 * stats are what prototype_target makes of a teacher row in place of q (ops/fused/prototypes.c): the maximum of (logit - center)
 * / temp and one over the sum of exponentials, which is the largest q.
 *
 * Scalars are f64. A dino_loss sees one group of student crops (crop-major rows) and adds its share to the loss so far:
 * every student view v meets the teacher views i != v, and all 2n - 2 pairs of n crops weigh the same. The loss is
 * where differentiation starts, so dino_loss_grad takes its cotangent to be one. */
#include "ops/kernels/dino.h"
#include "ops/op.h"

#include <math.h>

extern const struct dg_op dg_op_dino_loss_grad;
extern const struct dg_attr_spec dg_dino_loss_attrs[];

enum { TEACHER, CENTER, TEACHER_TEMP };         /* inputs of dino_target */
enum { STATS, Q_OUT, BATCH_MEAN_OUT, ENTROPY }; /* outputs of dino_target */
enum { VIEWS };                                 /* attribute of dino_loss and its gradient */
enum { STUDENT, Q, STUDENT_TEMP, SO_FAR };      /* inputs of dino_loss */
enum { LOSS, SAVED_LSE };                       /* outputs of dino_loss */
enum { LSE = SO_FAR };                          /* the last input of dino_loss_grad */
enum { DIFF_STUDENT };                          /* output of dino_loss_grad */
enum { CENTER_SUM, BATCH_MEAN, MOMENTUM };      /* inputs of center_update */

struct state {
    int64_t rows, cols, batch, view0, views;
    double pair_weight; /* the weight of a pair of views in the mean over the whole batch */
};

static enum dg_status open_state(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *logits = &p->call->input[STUDENT];
    *s = (struct state){.rows = logits->dim[0], .cols = logits->dim[1], .batch = p->batch, .view0 = p->view0};
    dg_op_scratch(p, s->rows * (int64_t)sizeof(double)); /* one number a row */
    return DG_OK;
}

/* --- dino_target --- */

static enum dg_status infer_target(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *t = &call->input[TEACHER];
    DG_TRY(dg_want_ndim(t, 2, "teacher logits", err));
    output[STATS] = dg_desc_make(DG_F32, 2, (int64_t[]){t->dim[0], 2});
    output[Q_OUT] = *t;
    output[BATCH_MEAN_OUT] = dg_desc_make(DG_F32, 2, (int64_t[]){1, t->dim[1]});
    output[ENTROPY] = dg_desc_scalar(DG_F64);
    if (!dg_desc_equal(&call->input[CENTER], &output[BATCH_MEAN_OUT]) ||
        !dg_desc_is_scalar(&call->input[TEACHER_TEMP], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "center or temperature has the wrong shape");
    return DG_OK;
}

static float largest(const float *x, const float *minus, float over, int64_t count)
{
    float most = -INFINITY;
    for (int64_t k = 0; k < count; k++) most = fmaxf(most, (x[k] - (minus ? minus[k] : 0)) / over);
    return most;
}

static enum dg_status run_target(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    const float *t = r->input[TEACHER], *center = r->input[CENTER];
    float temp = (float)*(const double *)r->input[TEACHER_TEMP], *stats = r->output[STATS], *q = r->output[Q_OUT];
    double *entropy = r->scratch, sum = 0;
    dg_dino_kernels()->row_mean(s->rows, s->cols, t, r->output[BATCH_MEAN_OUT]); /* before q may overwrite t */
    for (int64_t row = 0; stats && row < s->rows; row++)
        stats[2 * row] = largest(t + row * s->cols, center, temp, s->cols);
    dg_dino_kernels()->target(s->rows, s->cols, t, center, temp, q, entropy);
    for (int64_t row = 0; stats && row < s->rows; row++)
        stats[2 * row + 1] = largest(q + row * s->cols, NULL, 1, s->cols);
    for (int64_t row = 0; row < s->rows; row++) sum += entropy[row];
    *(double *)r->output[ENTROPY] = sum / (double)s->rows;
    return DG_OK;
}

static const struct dg_operand dino_target_inputs[] = {
    [TEACHER] = {"teacher_logits"},
    [CENTER] = {"center"},
    [TEACHER_TEMP] = {"teacher_temp", .dtype = DG_F64},
    {0},
};
static const struct dg_operand dino_target_outputs[] = {
    [STATS] = {"stats", DG_OPTIONAL},
    [Q_OUT] = {"q", 0, DG_REUSE(TEACHER)},
    [BATCH_MEAN_OUT] = {"batch_mean"},
    [ENTROPY] = {"entropy", .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_dino_target = {
    .name = "dino_target",
    .inputs = dino_target_inputs,
    .outputs = dino_target_outputs,
    .infer = infer_target,
    .grad = dg_stop_gradient, /* the teacher is detached */
    .prepare = open_state,
    .run = run_target,
};

/* --- dino_loss --- */

/* Also the attributes of prototype_loss (ops/fused/prototypes.c). */
const struct dg_attr_spec dg_dino_loss_attrs[] = {
    {.name = "views",
     .type = DG_ATTR_INT,
     .required = true,
     .min = 2,
     .max = 4096,
     .internal = true,
     .doc = "number of all crops of an image"},
    {0},
};

static enum dg_status check(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *s = &call->input[STUDENT], *q = &call->input[Q];
    DG_TRY(dg_want_ndim(s, 2, "student logits", err));
    DG_TRY(dg_want_ndim(q, 2, "teacher targets", err));
    if (s->dim[1] != q->dim[1] || q->dim[0] % 2 || s->dim[0] % (q->dim[0] / 2) ||
        !dg_desc_is_scalar(&call->input[STUDENT_TEMP], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "student logits, teacher targets or temperature do not fit");
    return DG_OK;
}

static enum dg_status infer_loss(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    if (!dg_absent(&call->input[SO_FAR]) && !dg_desc_is_scalar(&call->input[SO_FAR], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the loss so far must be a scalar");
    output[LOSS] = dg_desc_scalar(DG_F64);
    output[SAVED_LSE] = dg_desc_make(DG_F32, 1, (int64_t[]){call->input[STUDENT].dim[0]});
    return DG_OK;
}

static enum dg_status grad_loss(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[STUDENT], b->input[Q], b->input[STUDENT_TEMP], b->output[SAVED_LSE]};
    DG_TRY(b->emit(b, &dg_op_dino_loss_grad, b->call->attr, input, 4, made));
    if (b->wants[SO_FAR])
        DG_TRY(b->add_gradient(b, SO_FAR, b->diff_output[LOSS])); /* the loss so far has the weight one */
    return b->wants[STUDENT] ? b->add_gradient(b, STUDENT, made[DIFF_STUDENT]) : DG_OK;
}

static enum dg_status prepare_loss(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, err));
    struct state *s = p->state;
    s->batch = p->call->input[Q].dim[0] / 2;
    s->views = p->call->attr[VIEWS].i;
    s->pair_weight = 1.0 / ((double)(s->batch * dg_slices(p->call)) * (double)(2 * s->views - 2));
    return DG_OK;
}

static enum dg_status run_loss(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double *term = r->scratch, sum = 0;
    struct dg_dino_pairs pairs = {.rows = s->rows,
                                  .cols = s->cols,
                                  .batch = s->batch,
                                  .view0 = s->view0,
                                  .s = r->input[STUDENT],
                                  .q = r->input[Q],
                                  .temp = (float)*(const double *)r->input[STUDENT_TEMP]};
    dg_dino_kernels()->loss(&pairs, r->output[SAVED_LSE], term);
    for (int64_t row = 0; row < s->rows; row++) sum += term[row];
    *(double *)r->output[LOSS] = (r->input[SO_FAR] ? *(const double *)r->input[SO_FAR] : 0) + sum * s->pair_weight;
    return DG_OK;
}

static const struct dg_operand dino_loss_inputs[] = {
    [STUDENT] = {"student_logits"},
    [Q] = {"q"},
    [STUDENT_TEMP] = {"student_temp", .dtype = DG_F64},
    [SO_FAR] = {"loss_so_far", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};
static const struct dg_operand dino_loss_outputs[] = {
    [LOSS] = {"loss", 0, DG_REUSE(SO_FAR), .dtype = DG_F64},
    [SAVED_LSE] = {"lse", DG_SAVED},
    {0},
};

const struct dg_op dg_op_dino_loss = {
    .name = "dino_loss",
    .attrs = dg_dino_loss_attrs,
    .inputs = dino_loss_inputs,
    .outputs = dino_loss_outputs,
    .infer = infer_loss,
    .grad = grad_loss,
    .prepare = prepare_loss,
    .run = run_loss,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    struct dg_desc lse = dg_desc_make(DG_F32, 1, call->input[STUDENT].dim);
    if (!dg_desc_equal(&call->input[LSE], &lse)) return dg_fail(err, DG_ERR_INPUT, "lse has the wrong shape");
    output[DIFF_STUDENT] = call->input[STUDENT];
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double temp = *(const double *)r->input[STUDENT_TEMP];
    struct dg_dino_pairs pairs = {.rows = s->rows,
                                  .cols = s->cols,
                                  .batch = s->batch,
                                  .view0 = s->view0,
                                  .s = r->input[STUDENT],
                                  .q = r->input[Q],
                                  .temp = (float)temp};
    dg_dino_kernels()->loss_backward(&pairs, r->input[LSE], (float)(s->pair_weight / temp), r->output[DIFF_STUDENT]);
    return DG_OK;
}

static const struct dg_operand dino_loss_grad_inputs[] = {
    [STUDENT] = {"student_logits"},
    [Q] = {"q"},
    [STUDENT_TEMP] = {"student_temp", .dtype = DG_F64},
    [LSE] = {"lse"},
    {0},
};
static const struct dg_operand dino_loss_grad_outputs[] = {
    [DIFF_STUDENT] = {"diff_s", 0, DG_REUSE(STUDENT)},
    {0},
};

const struct dg_op dg_op_dino_loss_grad = {
    .name = "dino_loss_grad",
    .attrs = dg_dino_loss_attrs,
    .inputs = dino_loss_grad_inputs,
    .outputs = dino_loss_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare_loss,
    .run = run_grad,
};

/* --- center_update --- */

static enum dg_status infer_center(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    if (dg_desc_equal(&call->input[CENTER_SUM], &call->input[BATCH_MEAN]) &&
        dg_desc_is_scalar(&call->input[MOMENTUM], DG_F64))
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "center, batch mean or momentum has the wrong shape");
}

static enum dg_status prepare_center(struct dg_prepare *p, struct dg_error *err)
{
    int64_t *count = dg_op_state(p, sizeof *count, err);
    if (!count) return DG_ERR_MEMORY;
    *count = dg_desc_count(&p->call->input[CENTER_SUM]);
    return DG_OK;
}

static enum dg_status run_center(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    float *center = r->input[CENTER_SUM];
    const float *mean = r->input[BATCH_MEAN];
    double momentum = *(const double *)r->input[MOMENTUM];
    float keep = (float)momentum, take = (float)(1 - momentum);
    for (int64_t k = 0; k < *(const int64_t *)r->state; k++) center[k] = center[k] * keep + mean[k] * take;
    return DG_OK;
}

static const struct dg_operand center_update_inputs[] = {
    [CENTER_SUM] = {"center", DG_UPDATED},
    [BATCH_MEAN] = {"batch_mean"},
    [MOMENTUM] = {"momentum", .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_center_update = {
    .name = "center_update",
    .inputs = center_update_inputs,
    .infer = infer_center,
    .grad = dg_no_gradient,
    .prepare = prepare_center,
    .run = run_center,
};

/* The DINO loss (Caron et al. 2021, section 3.1 and algorithm 1; DINOLoss of main_dino.py), for any number of student
 * groups.
 *
 *   dino_target    (t [2B,K], center [1,K], teacher_temp) -> q [2B,K], batch_mean [1,K], entropy
 *   dino_loss      (s [V*B,K], q, student_temp, [loss so far]) -> loss, [lse]
 *   dino_loss_grad (s, q, student_temp, lse) -> diff_s
 *   center_update  (center, batch_mean, center_momentum): center <- m center + (1 - m) batch_mean
 *
 * Scalars are f64. A dino_loss sees one group of student crops (crop-major rows) and adds its share to the loss so far:
 * every student view v meets the teacher views i != v, and all 2n - 2 pairs of n crops weigh the same. The loss is
 * where differentiation starts, so dino_loss_grad takes its cotangent to be one. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

extern const struct dg_op dg_op_dino_loss_grad;
extern const struct dg_attr_spec dg_dino_loss_attrs[];

struct state {
    int64_t rows, cols, batch, view0, views;
    double pair_weight; /* a pair's part of the mean over the images of the whole batch */
};

static enum dg_status open_state(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *logits = &p->call->input[0];
    *s = (struct state){.rows = logits->dim[0], .cols = logits->dim[1], .batch = p->batch, .view0 = p->view0};
    dg_op_scratch(p, s->rows * (int64_t)sizeof(double)); /* one number a row */
    return DG_OK;
}

/* --- dino_target --- */

static enum dg_status infer_target(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *t = &call->input[0];
    DG_TRY(dg_want_ndim(t, 2, "teacher logits", err));
    DG_TRY(dg_want_f32(t, "teacher logits", err));
    output[0] = *t;
    output[1] = dg_desc_make(DG_F32, 2, (int64_t[]){1, t->dim[1]});
    output[2] = dg_desc_scalar(DG_F64);
    if (!dg_desc_equal(&call->input[1], &output[1]) || !dg_desc_is_scalar(&call->input[2], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "center or temperature has the wrong shape");
    return DG_OK;
}

static enum dg_status run_target(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double *entropy = r->scratch, sum = 0;
    dg_kernels()->row_mean(s->rows, s->cols, r->input[0], r->output[1]); /* before q may overwrite t */
    dg_kernels()->dino_target(s->rows, s->cols, r->input[0], r->input[1], (float)*(const double *)r->input[2],
                              r->output[0], entropy);
    for (int64_t row = 0; row < s->rows; row++) sum += entropy[row];
    *(double *)r->output[2] = sum / (double)s->rows;
    return DG_OK;
}

const struct dg_op dg_op_dino_target = {
    .name = "dino_target",
    .min_inputs = 3,
    .max_inputs = 3,
    .output = {{"q", 0}, {"batch_mean", 0}, {"entropy", 0}},
    .infer = infer_target,
    .grad = dg_stop_gradient, /* the teacher is detached */
    .inplace = {1},
    .prepare = open_state,
    .run = run_target,
};

/* --- dino_loss --- */

/* Of ops/fused/prototypes.c, too. */
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
    const struct dg_desc *s = &call->input[0], *q = &call->input[1];
    DG_TRY(dg_want_ndim(s, 2, "student logits", err));
    DG_TRY(dg_want_f32(s, "student logits", err));
    DG_TRY(dg_want_ndim(q, 2, "teacher targets", err));
    DG_TRY(dg_want_f32(q, "teacher targets", err));
    if (s->dim[1] != q->dim[1] || q->dim[0] % 2 || s->dim[0] % (q->dim[0] / 2) ||
        !dg_desc_is_scalar(&call->input[2], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "student logits, teacher targets or temperature do not fit");
    return DG_OK;
}

static enum dg_status infer_loss(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    if (!dg_absent(&call->input[3]) && !dg_desc_is_scalar(&call->input[3], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the loss so far must be a scalar");
    output[0] = dg_desc_scalar(DG_F64);
    output[1] = dg_desc_make(DG_F32, 1, (int64_t[]){call->input[0].dim[0]});
    return DG_OK;
}

static enum dg_status grad_loss(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS];
    dg_value input[] = {b->input[0], b->input[1], b->input[2], b->output[1]};
    DG_TRY(b->emit(b, &dg_op_dino_loss_grad, b->call->attr, input, 4, made));
    if (b->wants[3]) DG_TRY(b->give(b, 3, b->diff_output[0])); /* what was summed so far weighs one, too */
    return b->wants[0] ? b->give(b, 0, made[0]) : DG_OK;
}

static enum dg_status prepare_loss(struct dg_prepare *p, struct dg_error *err)
{
    DG_TRY(open_state(p, err));
    struct state *s = p->state;
    s->batch = p->call->input[1].dim[0] / 2;
    s->views = p->call->attr[0].i;
    s->pair_weight = 1.0 / ((double)(s->batch * dg_slices(p->call)) * (double)(2 * s->views - 2));
    return DG_OK;
}

static enum dg_status run_loss(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double *term = r->scratch, sum = 0;
    dg_kernels()->dino_loss(s->rows, s->cols, s->batch, s->view0, r->input[0], r->input[1],
                            (float)*(const double *)r->input[2], r->output[1], term);
    for (int64_t row = 0; row < s->rows; row++) sum += term[row];
    *(double *)r->output[0] = (r->input[3] ? *(const double *)r->input[3] : 0) + sum * s->pair_weight;
    return DG_OK;
}

const struct dg_op dg_op_dino_loss = {
    .name = "dino_loss",
    .attrs = dg_dino_loss_attrs,
    .min_inputs = 4,
    .max_inputs = 4,
    .output = {{"loss", 0}, {"lse", DG_OUT_SAVED}},
    .infer = infer_loss,
    .grad = grad_loss,
    .inplace = {4},
    .prepare = prepare_loss,
    .run = run_loss,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    struct dg_desc lse = dg_desc_make(DG_F32, 1, call->input[0].dim);
    if (!dg_desc_equal(&call->input[3], &lse)) return dg_fail(err, DG_ERR_INPUT, "lse has the wrong shape");
    output[0] = call->input[0];
    return DG_OK;
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double temp = *(const double *)r->input[2];
    dg_kernels()->dino_loss_backward(s->rows, s->cols, s->batch, s->view0, r->input[0], r->input[1], (float)temp,
                                     r->input[3], (float)(s->pair_weight / temp), r->output[0]);
    return DG_OK;
}

const struct dg_op dg_op_dino_loss_grad = {
    .name = "dino_loss_grad",
    .attrs = dg_dino_loss_attrs,
    .min_inputs = 4,
    .max_inputs = 4,
    .output = {{"diff_s", 0}},
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .inplace = {1},
    .prepare = prepare_loss,
    .run = run_grad,
};

/* --- center_update --- */

static enum dg_status infer_center(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    if (call->input[0].dtype == DG_F32 && dg_desc_equal(&call->input[0], &call->input[1]) &&
        dg_desc_is_scalar(&call->input[2], DG_F64))
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "center, batch mean or momentum has the wrong shape");
}

static enum dg_status prepare_center(struct dg_prepare *p, struct dg_error *err)
{
    int64_t *count = dg_op_state(p, sizeof *count, err);
    if (!count) return DG_ERR_MEMORY;
    *count = dg_desc_count(&p->call->input[0]);
    return DG_OK;
}

static enum dg_status run_center(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    float *center = r->input[0];
    const float *mean = r->input[1];
    double momentum = *(const double *)r->input[2];
    float keep = (float)momentum, take = (float)(1 - momentum);
    for (int64_t k = 0; k < *(const int64_t *)r->state; k++) center[k] = center[k] * keep + mean[k] * take;
    return DG_OK;
}

const struct dg_op dg_op_center_update = {
    .name = "center_update",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_center,
    .grad = dg_no_gradient,
    .writes = 1,
    .prepare = prepare_center,
    .run = run_center,
};

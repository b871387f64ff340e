/* sgd (param, grad, norms, buffer, [teacher], lr, weight_decay, clip, momentum, -, [teacher momentum], [frozen]): clips by
 * this parameter's norm, adds weight decay to the gradient, steps along the gradient with momentum, averages into the
 * teacher. */
#include "ops/optim/sgd.h"

#include "ops/kernels/optimizer.h"

enum dg_status dg_sgd_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool ok = dg_desc_equal(&in[DG_SGD_PARAM], &in[DG_SGD_GRAD]) &&
              dg_desc_equal(&in[DG_SGD_PARAM], &in[DG_SGD_BUFFER]) && in[DG_SGD_NORMS].ndim == 1 &&
              call->attr[DG_STEP_NORM_INDEX].i < in[DG_SGD_NORMS].dim[0] &&
              (dg_absent(&in[DG_SGD_TEACHER]) || dg_desc_equal(&in[DG_SGD_PARAM], &in[DG_SGD_TEACHER]));
    for (int i = DG_SGD_LR; i < DG_SGD_INPUTS; i++) ok = ok && (dg_desc_is_scalar(&in[i], DG_F64) || dg_absent(&in[i]));
    ok = ok && (!dg_absent(&in[DG_SGD_TEACHER_MOMENTUM]) || dg_absent(&in[DG_SGD_TEACHER]));
    return ok ? DG_OK : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

enum dg_status dg_sgd_prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_sgd_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *param = &p->call->input[DG_SGD_PARAM];
    *s = (struct dg_sgd_state){dg_desc_count(param), p->call->attr[DG_STEP_NORM_INDEX].i,
                               p->call->attr[DG_STEP_DECAY].i, param->ndim != 1};
    dg_op_scratch(p, 2 * (s->count / 4096 + 1) * (int64_t)sizeof(double));
    return DG_OK;
}

void dg_sgd_step(const struct dg_run *r, float clip, double decay, double scale, double teacher_momentum)
{
    const struct dg_sgd_state *s = r->state;
    dg_optimizer_kernels()->sgd(&(struct dg_sgd_args){.count = s->count,
                                                      .param = r->input[DG_SGD_PARAM],
                                                      .buffer = r->input[DG_SGD_BUFFER],
                                                      .grad = r->input[DG_SGD_GRAD],
                                                      .teacher = r->input[DG_SGD_TEACHER],
                                                      .grad_scale = clip,
                                                      .decay = (float)decay,
                                                      .scale = (float)scale,
                                                      .sgd_momentum = (float)dg_step_scalar(r, DG_SGD_MOMENTUM),
                                                      .lr = (float)dg_step_scalar(r, DG_SGD_LR),
                                                      .momentum = (float)teacher_momentum,
                                                      .one_minus_momentum = (float)(1 - teacher_momentum)});
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_sgd_state *s = r->state;
    double momentum = dg_step_teacher_momentum(r, DG_SGD_TEACHER, DG_SGD_TEACHER_MOMENTUM);
    if (dg_step_is_frozen(r, s->count, DG_SGD_TEACHER, DG_SGD_FROZEN, momentum)) return DG_OK;
    float clip =
        dg_step_clip_factor(dg_step_scalar(r, DG_SGD_CLIP), ((const double *)r->input[DG_SGD_NORMS])[s->norm_index]);
    dg_sgd_step(r, clip, s->decay ? dg_step_scalar(r, DG_SGD_WEIGHT_DECAY) : 0, 1, momentum);
    return DG_OK;
}

static const struct dg_step_input step_inputs[] = {DG_SGD_STEP_INPUTS, [DG_SGD_ETA] = {.source = DG_STEP_ABSENT}};

static const struct dg_operand inputs[] = {DG_SGD_OPERANDS, [DG_SGD_ETA] = {"eta", DG_OPTIONAL, .dtype = DG_F64}};

const struct dg_op dg_op_sgd = {
    .name = "sgd",
    .step_inputs = step_inputs,
    .attrs = dg_step_attrs,
    .inputs = inputs,
    .infer = dg_sgd_infer,
    .grad = dg_no_gradient,
    .prepare = dg_sgd_prepare,
    .run = run,
};

/* adamw (param, grad, norms, exp_avg, exp_avg_sq, step, [teacher], lr, weight_decay, clip, beta1, beta2, eps, [momentum],
 * [frozen]): clips by this parameter's norm, takes a step of AdamW (weight decay apart from the gradient), averages into the
 * teacher. */
#include "ops/kernels/optimizer.h"
#include "ops/optim/step.h"

#include <math.h>

enum {
    PARAM,
    GRAD,
    NORMS,
    EXP_AVG,
    EXP_AVG_SQ,
    STEP,
    TEACHER,
    LR,
    WEIGHT_DECAY,
    CLIP,
    BETA1,
    BETA2,
    EPS,
    MOMENTUM,
    FROZEN,
    NUM_INPUTS
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool ok = dg_desc_equal(&in[PARAM], &in[GRAD]) && dg_desc_equal(&in[PARAM], &in[EXP_AVG]) &&
              dg_desc_equal(&in[PARAM], &in[EXP_AVG_SQ]) && dg_desc_is_scalar(&in[STEP], DG_I64) &&
              in[NORMS].ndim == 1 && call->attr[DG_STEP_NORM_INDEX].i < in[NORMS].dim[0] &&
              (dg_absent(&in[TEACHER]) || dg_desc_equal(&in[PARAM], &in[TEACHER]));
    for (int i = LR; i < NUM_INPUTS; i++) ok = ok && (dg_desc_is_scalar(&in[i], DG_F64) || (dg_absent(&in[i])));
    ok = ok && (!dg_absent(&in[MOMENTUM]) || dg_absent(&in[TEACHER]));
    return ok ? DG_OK : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

struct state {
    int64_t count, norm_index;
    bool decay;
};

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct state){dg_desc_count(&p->call->input[PARAM]), p->call->attr[DG_STEP_NORM_INDEX].i,
                        p->call->attr[DG_STEP_DECAY].i};
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double momentum = dg_step_teacher_momentum(r, TEACHER, MOMENTUM);
    if (dg_step_is_frozen(r, s->count, TEACHER, FROZEN, momentum)) return DG_OK;
    float clip = dg_step_clip_factor(dg_step_scalar(r, CLIP), ((const double *)r->input[NORMS])[s->norm_index]);
    double lr = dg_step_scalar(r, LR), beta1 = dg_step_scalar(r, BETA1), beta2 = dg_step_scalar(r, BETA2);
    double decay = s->decay ? dg_step_scalar(r, WEIGHT_DECAY) : 0;
    int64_t *step = r->input[STEP];
    double t = (double)++*step;
    dg_optimizer_kernels()->adamw(&(struct dg_adamw_args){.count = s->count,
                                                          .param = r->input[PARAM],
                                                          .exp_avg = r->input[EXP_AVG],
                                                          .exp_avg_sq = r->input[EXP_AVG_SQ],
                                                          .grad = r->input[GRAD],
                                                          .teacher = r->input[TEACHER],
                                                          .grad_scale = clip,
                                                          .decay = (float)(1 - lr * decay),
                                                          .beta1 = (float)beta1,
                                                          .one_minus_beta1 = (float)(1 - beta1),
                                                          .beta2 = (float)beta2,
                                                          .one_minus_beta2 = (float)(1 - beta2),
                                                          .step_size = (float)(lr / (1 - pow(beta1, t))),
                                                          .correction = (float)sqrt(1 - pow(beta2, t)),
                                                          .eps = (float)dg_step_scalar(r, EPS),
                                                          .momentum = (float)momentum,
                                                          .one_minus_momentum = (float)(1 - momentum)});
    return DG_OK;
}

static const struct dg_step_input step_inputs[] = {
    [PARAM] = {.source = DG_STEP_PARAM},
    [GRAD] = {.source = DG_STEP_GRADIENT},
    [NORMS] = {.source = DG_STEP_NORMS},
    [EXP_AVG] = {.source = DG_STEP_STATE, .name = "exp_avg"},
    [EXP_AVG_SQ] = {.source = DG_STEP_STATE, .name = "exp_avg_sq"},
    [STEP] = {.source = DG_STEP_COUNT, .name = "step"},
    [TEACHER] = {.source = DG_STEP_TEACHER},
    [LR] = {.source = DG_STEP_RATE, .name = "lr"},
    [WEIGHT_DECAY] = {.source = DG_STEP_CONTROL, .name = "weight_decay"},
    [CLIP] = {.source = DG_STEP_CONTROL, .name = "optim.clip"},
    [BETA1] = {.source = DG_STEP_CONTROL,
               .name = "optim.betas.0",
               .value = "0.9",
               .min = 0,
               .max = 0.99999999,
               .doc = "decay of the running mean of gradients"},
    [BETA2] = {.source = DG_STEP_CONTROL,
               .name = "optim.betas.1",
               .value = "0.999",
               .min = 0,
               .max = 0.99999999,
               .doc = "of that of their squares"},
    [EPS] = {.source = DG_STEP_CONTROL,
             .name = "optim.eps",
             .value = "1e-8",
             .min = 0,
             .max = 1,
             .doc = "added to the root of the mean of squares, against division by zero"},
    [MOMENTUM] = {.source = DG_STEP_AVERAGE, .name = "teacher.momentum"},
    [FROZEN] = {.source = DG_STEP_FREEZE, .name = "optim.freeze"},
    [NUM_INPUTS] = {.source = DG_STEP_END},
};

static const struct dg_operand inputs[] = {
    [PARAM] = {"param", DG_UPDATED},
    [GRAD] = {"grad"},
    [NORMS] = {"norms", .dtype = DG_F64},
    [EXP_AVG] = {"exp_avg", DG_UPDATED},
    [EXP_AVG_SQ] = {"exp_avg_sq", DG_UPDATED},
    [STEP] = {"step", DG_UPDATED, .dtype = DG_I64},
    [TEACHER] = {"teacher", DG_UPDATED | DG_OPTIONAL},
    [LR] = {"lr", .dtype = DG_F64},
    [WEIGHT_DECAY] = {"weight_decay", .dtype = DG_F64},
    [CLIP] = {"clip", .dtype = DG_F64},
    [BETA1] = {"beta1", .dtype = DG_F64},
    [BETA2] = {"beta2", .dtype = DG_F64},
    [EPS] = {"eps", .dtype = DG_F64},
    [MOMENTUM] = {"momentum", DG_OPTIONAL, .dtype = DG_F64},
    [FROZEN] = {"frozen", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_adamw = {
    .name = "adamw",
    .step_inputs = step_inputs,
    .attrs = dg_step_attrs,
    .inputs = inputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

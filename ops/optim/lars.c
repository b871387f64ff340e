/* lars (inputs of sgd, and eta): layer-wise adaptive rate scaling (You et al. 2017). The step of a matrix is scaled by
 * eta * |param| / |gradient + decay * param|; tensors of one dimension take neither this scale nor weight decay. */
#include "ops/kernels/optimizer.h"
#include "ops/optim/sgd.h"

#include <math.h>

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_sgd_state *s = r->state;
    double momentum = dg_step_teacher_momentum(r, DG_SGD_TEACHER, DG_SGD_TEACHER_MOMENTUM);
    if (dg_step_is_frozen(r, s->count, DG_SGD_TEACHER, DG_SGD_FROZEN, momentum)) return DG_OK;
    float clip =
        dg_step_clip_factor(dg_step_scalar(r, DG_SGD_CLIP), ((const double *)r->input[DG_SGD_NORMS])[s->norm_index]);
    double decay = s->decay && s->matrix ? dg_step_scalar(r, DG_SGD_WEIGHT_DECAY) : 0, scale = 1;
    if (s->matrix) {
        struct dg_lars_norms norms = dg_optimizer_kernels()->lars_norms(
            s->count, r->input[DG_SGD_PARAM], r->input[DG_SGD_GRAD], clip, (float)decay, r->scratch);
        if (norms.param_square > 0 && norms.direction_square > 0)
            scale = dg_step_scalar(r, DG_SGD_ETA) * sqrt(norms.param_square / norms.direction_square);
    }
    dg_sgd_step(r, clip, decay, scale, momentum);
    return DG_OK;
}

static const struct dg_step_input step_inputs[] = {
    DG_SGD_STEP_INPUTS,
    [DG_SGD_ETA] = {.source = DG_STEP_CONTROL,
                    .name = "optim.eta",
                    .value = "0.001",
                    .min = 0,
                    .max = 1000,
                    .doc = "how far a step goes, as a share of the weights' norm"},
};

static const struct dg_operand inputs[] = {DG_SGD_OPERANDS, [DG_SGD_ETA] = {"eta", .dtype = DG_F64}};

const struct dg_op dg_op_lars = {
    .name = "lars",
    .step_inputs = step_inputs,
    .attrs = dg_step_attrs,
    .inputs = inputs,
    .infer = dg_sgd_infer,
    .grad = dg_no_gradient,
    .prepare = dg_sgd_prepare,
    .run = run,
};

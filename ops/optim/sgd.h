/* The step with momentum that SGD and LARS share: inputs, checks, and the update itself. */
#ifndef DG_OPS_OPTIM_SGD_H
#define DG_OPS_OPTIM_SGD_H

#include "ops/optim/step.h"

enum {
    DG_SGD_PARAM,
    DG_SGD_GRAD,
    DG_SGD_NORMS,
    DG_SGD_BUFFER,
    DG_SGD_TEACHER,
    DG_SGD_LR,
    DG_SGD_WEIGHT_DECAY,
    DG_SGD_CLIP,
    DG_SGD_MOMENTUM,
    DG_SGD_ETA, /* LARS only */
    DG_SGD_TEACHER_MOMENTUM,
    DG_SGD_FROZEN,
    DG_SGD_INPUTS
};

/* What each input is, but DG_SGD_ETA, for struct dg_op.step_inputs. */
#define DG_SGD_STEP_INPUTS                                                                                             \
    [DG_SGD_PARAM] = {.source = DG_STEP_PARAM}, [DG_SGD_GRAD] = {.source = DG_STEP_GRADIENT},                          \
    [DG_SGD_NORMS] = {.source = DG_STEP_NORMS}, [DG_SGD_BUFFER] = {.source = DG_STEP_STATE, .name = "momentum"},       \
    [DG_SGD_TEACHER] = {.source = DG_STEP_TEACHER}, [DG_SGD_LR] = {.source = DG_STEP_RATE, .name = "lr"},              \
    [DG_SGD_WEIGHT_DECAY] = {.source = DG_STEP_CONTROL, .name = "weight_decay"},                                       \
    [DG_SGD_CLIP] = {.source = DG_STEP_CONTROL, .name = "optim.clip"},                                                 \
    [DG_SGD_MOMENTUM] = {.source = DG_STEP_CONTROL,                                                                    \
                         .name = "optim.momentum",                                                                     \
                         .value = "0.9",                                                                               \
                         .min = 0,                                                                                     \
                         .max = 0.99999999,                                                                            \
                         .doc = "share of the last step's direction in this one"},                                     \
    [DG_SGD_TEACHER_MOMENTUM] = {.source = DG_STEP_AVERAGE, .name = "teacher.momentum"},                               \
    [DG_SGD_FROZEN] = {.source = DG_STEP_FREEZE, .name = "optim.freeze"}, [DG_SGD_INPUTS] = {.source = DG_STEP_END}

/* The operands of both, but DG_SGD_ETA. */
#define DG_SGD_OPERANDS                                                                                                \
    [DG_SGD_PARAM] = {"param", DG_UPDATED}, [DG_SGD_GRAD] = {"grad"}, [DG_SGD_NORMS] = {"norms", .dtype = DG_F64},     \
    [DG_SGD_BUFFER] = {"buffer", DG_UPDATED}, [DG_SGD_TEACHER] = {"teacher", DG_UPDATED | DG_OPTIONAL},                \
    [DG_SGD_LR] = {"lr", .dtype = DG_F64}, [DG_SGD_WEIGHT_DECAY] = {"weight_decay", .dtype = DG_F64},                  \
    [DG_SGD_CLIP] = {"clip", .dtype = DG_F64}, [DG_SGD_MOMENTUM] = {"momentum", .dtype = DG_F64},                      \
    [DG_SGD_TEACHER_MOMENTUM] = {"teacher_momentum", DG_OPTIONAL, .dtype = DG_F64},                                    \
    [DG_SGD_FROZEN] = {"frozen", DG_OPTIONAL, .dtype = DG_F64}, [DG_SGD_INPUTS] = {0}

struct dg_sgd_state {
    int64_t count, norm_index;
    bool decay;
    bool matrix; /* two dimensions or more, or none */
};

/* The `infer` of both; LARS needs DG_SGD_ETA, SGD leaves it out. */
enum dg_status dg_sgd_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
enum dg_status dg_sgd_prepare(struct dg_prepare *p, struct dg_error *err);

/* buffer = momentum * buffer + scale * (clipped gradient + decay * param); param -= lr * buffer; then the average into the
 * teacher. `clip` is the factor of dg_step_clip_factor. */
void dg_sgd_step(const struct dg_run *r, float clip, double decay, double scale, double teacher_momentum);

#endif

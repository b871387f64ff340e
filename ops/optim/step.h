/* What the optimisers share. Every optimiser reads, among others, a parameter, its gradient, the norms of all gradients and
 * f64 scalars that change from step to step, and writes the parameter, its own state and the teacher's copy. */
#ifndef DG_OPS_OPTIM_STEP_H
#define DG_OPS_OPTIM_STEP_H

#include "ops/op.h"

/* The attributes of every optimiser: norm_index (which entry of `norms` belongs to this parameter) and decay (does weight
 * decay apply to it). */
enum { DG_STEP_NORM_INDEX, DG_STEP_DECAY };
extern const struct dg_attr_spec dg_step_attrs[];

/* The value of a scalar f64 input. */
static inline double dg_step_scalar(const struct dg_run *run, int input) { return *(const double *)run->input[input]; }

/* The factor that scales a gradient of this norm down to at most `clip`; 1 where clip is 0. */
float dg_step_clip_factor(double clip, double norm);

/* The weight of the teacher's old value in its average with the parameter: input `momentum`, 0 without a teacher. */
double dg_step_teacher_momentum(const struct dg_run *run, int teacher, int momentum);

/* True if the parameter (of `count` numbers, at input 0) is frozen at this step, which input `frozen` says. Then it takes no
 * decay, no moments and no step count; this averages it into the teacher, if there is one, and nothing else is to be done. */
bool dg_step_is_frozen(const struct dg_run *run, int64_t count, int teacher, int frozen, double momentum);

#endif

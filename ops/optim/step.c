#include "ops/optim/step.h"

#include "ops/kernels/optimizer.h"

const struct dg_attr_spec dg_step_attrs[] = {
    {.name = "norm_index", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 1 << 20, .internal = true},
    {.name = "decay", .type = DG_ATTR_BOOL, .required = true, .max = 1, .internal = true},
    {0},
};

float dg_step_clip_factor(double clip, double norm)
{
    double factor = clip > 0 ? clip / (norm + 1e-6) : 1;
    return factor < 1 ? (float)factor : 1.0f;
}

double dg_step_teacher_momentum(const struct dg_run *run, int teacher, int momentum)
{
    return run->input[teacher] ? dg_step_scalar(run, momentum) : 0;
}

bool dg_step_is_frozen(const struct dg_run *run, int64_t count, int teacher, int frozen, double momentum)
{
    if (!run->input[frozen] || dg_step_scalar(run, frozen) == 0) return false;
    if (run->input[teacher])
        dg_optimizer_kernels()->ema(count, run->input[DG_DATA], run->input[teacher], (float)momentum,
                                    (float)(1 - momentum));
    return true;
}

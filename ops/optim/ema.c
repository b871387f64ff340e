/* ema (param, teacher, [momentum]): averages what no optimiser trains into the teacher (buffers, frozen parameters);
 * without momentum it is copied, which any type can be. */
#include "ops/kernels/kernels.h"
#include "ops/optim/step.h"

#include <string.h>

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    bool averages = call->input[0].dtype == DG_F32 && dg_desc_is_scalar(&call->input[2], DG_F64);
    if (dg_desc_equal(&call->input[0], &call->input[1]) && (averages || dg_absent(&call->input[2]))) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_desc *desc = dg_op_state(p, sizeof *desc, err);
    if (!desc) return DG_ERR_MEMORY;
    *desc = p->call->input[0];
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_desc *desc = r->state;
    if (r->input[2]) {
        double momentum = dg_step_scalar(r, 2);
        dg_kernels()->average(dg_desc_count(desc), r->input[0], r->input[1], (float)momentum, (float)(1 - momentum));
    } else {
        memcpy(r->input[1], r->input[0], (size_t)dg_desc_bytes(desc));
    }
    return DG_OK;
}

const struct dg_op dg_op_ema = {
    .name = "ema",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer,
    .grad = dg_no_gradient,
    .writes = 2,
    .prepare = prepare,
    .run = run,
};

/* ema (param, teacher, [momentum]): averages what no optimiser trains into the teacher (buffers, frozen parameters);
 * without momentum it is copied, which any type can be. */
#include "ops/kernels/optimizer.h"
#include "ops/optim/step.h"

#include <string.h>

enum { PARAM, TEACHER, MOMENTUM }; /* inputs */

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    bool averages = call->input[PARAM].dtype == DG_F32 && dg_desc_is_scalar(&call->input[MOMENTUM], DG_F64);
    if (dg_desc_equal(&call->input[PARAM], &call->input[TEACHER]) && (averages || dg_absent(&call->input[MOMENTUM])))
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_desc *desc = dg_op_state(p, sizeof *desc, err);
    if (!desc) return DG_ERR_MEMORY;
    *desc = p->call->input[PARAM];
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_desc *desc = r->state;
    if (r->input[MOMENTUM]) {
        double momentum = dg_step_scalar(r, MOMENTUM);
        dg_optimizer_kernels()->ema(dg_desc_count(desc), r->input[PARAM], r->input[TEACHER], (float)momentum,
                                    (float)(1 - momentum));
    } else {
        memcpy(r->input[TEACHER], r->input[PARAM], (size_t)dg_desc_bytes(desc));
    }
    return DG_OK;
}

static const struct dg_operand inputs[] = {
    [PARAM] = {"param", .dtype = DG_ANY_DTYPE},
    [TEACHER] = {"teacher", DG_UPDATED, .dtype = DG_ANY_DTYPE},
    [MOMENTUM] = {"momentum", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_ema = {
    .name = "ema",
    .inputs = inputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

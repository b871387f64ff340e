/* layer_rate (rate, decay) -> the rate of a layer: rate * decay ^ power. Layer-wise decay of the learning rate (Clark et al. 2020, and the
 * fine-tuning of BEiT and DINOv2): `power` counts layers from the end of the network. Scalars are f64. */
#include "ops/op.h"

#include <math.h>

enum { RATE, DECAY }; /* inputs */
enum { POWER };

static const struct dg_attr_spec attrs[] = {
    {.name = "power", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 1 << 20, .internal = true},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    output[DG_RESULT] = dg_desc_scalar(DG_F64);
    if (dg_desc_is_scalar(&call->input[RATE], DG_F64) && dg_desc_is_scalar(&call->input[DECAY], DG_F64)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "rate and decay must be scalars");
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    double *power = dg_op_state(p, sizeof *power, err);
    if (!power) return DG_ERR_MEMORY;
    *power = (double)p->call->attr[POWER].i;
    return DG_OK;
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    double rate = *(const double *)r->input[RATE], decay = *(const double *)r->input[DECAY];
    *(double *)r->output[DG_RESULT] = rate * pow(decay, *(const double *)r->state);
    return DG_OK;
}

static const struct dg_operand inputs[] = {
    [RATE] = {"rate", .dtype = DG_F64}, [DECAY] = {"decay", .dtype = DG_F64}, {0}};
static const struct dg_operand outputs[] = {[DG_RESULT] = {"layer_rate", .dtype = DG_F64}, {0}};

const struct dg_op dg_op_layer_rate = {
    .name = "layer_rate",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .infer = infer,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run,
};

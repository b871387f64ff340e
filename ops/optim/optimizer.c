/* The end of a step: one check, then the commit.
 *
 *   grad_norms (P gradients, loss) -> norms f64 [P], summary f64 [2] = {norm over all, 1 if all is finite else 0}
 *   adamw      (param, grad, norms, exp_avg, exp_avg_sq, step, [teacher], lr, weight_decay, clip, beta1, beta2, eps,
 *               [momentum], [frozen]): clip by this parameter's norm, AdamW step, average into the teacher
 *   sgd, lars  (param, grad, norms, buffer, [teacher], lr, weight_decay, clip, sgd_momentum, [eta], [momentum], [frozen]):
 *              the same with SGD's step (momentum, weight decay added to the gradient) or LARS's (You et al. 2017)
 *   ema        (param, teacher, [momentum]): what is not trained is averaged all the same; without momentum it is copied
 *
 * A frozen parameter takes no decay, no moments and no step count, but is averaged. */
#include "ops/kernels/kernels.h"
#include "ops/op.h"

#include <math.h>
#include <string.h>

/* --- grad_norms --- */

static enum dg_status infer_norms(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    int last = call->num_inputs - 1;
    for (int i = 0; i < last; i++)
        if (call->input[i].dtype != DG_F32 || dg_absent(&call->input[i]))
            return dg_fail(err, DG_ERR_INPUT, "gradient %d is no f32 tensor", i);
    if (!dg_desc_is_scalar(&call->input[last], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the last input must be the loss");
    output[0] = dg_desc_make(DG_F64, 1, (int64_t[]){last});
    output[1] = dg_desc_make(DG_F64, 1, (int64_t[]){2});
    return DG_OK;
}

enum { CHUNK = 4096 };

struct norms_state {
    int count;
    struct {
        int64_t size, chunk; /* numbers, and how many chunks the ones before it have */
    } gradient[];
};

static enum dg_status prepare_norms(struct dg_prepare *p, struct dg_error *err)
{
    int count = p->call->num_inputs - 1;
    struct norms_state *s = dg_op_state(p, sizeof *s + ((size_t)count + 1) * sizeof s->gradient[0], err);
    if (!s) return DG_ERR_MEMORY;
    s->count = count;
    for (int i = 0; i < count; i++) {
        s->gradient[i].size = dg_desc_count(&p->call->input[i]);
        s->gradient[i + 1].chunk = s->gradient[i].chunk + (s->gradient[i].size + CHUNK - 1) / CHUNK;
    }
    dg_op_scratch(p, s->gradient[count].chunk * (int64_t)sizeof(double));
    return DG_OK;
}

/* One parallel region over chunks of all gradients, whose bounds do not depend on threads: a region a gradient would be a
 * few hundred, most of them for a few hundred numbers. */
static enum dg_status run_norms(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct norms_state *s = r->state;
    double *norms = r->output[0], *summary = r->output[1], *partial = r->scratch, all = 0;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t chunk = 0; chunk < s->gradient[s->count].chunk; chunk++) {
        int low = 0, high = s->count; /* the gradient that has it is in low .. high - 1 */
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (s->gradient[middle].chunk <= chunk)
                low = middle;
            else
                high = middle;
        }
        int64_t first = (chunk - s->gradient[low].chunk) * CHUNK;
        dg_kernels()->sum_squares(dg_min_i64(CHUNK, s->gradient[low].size - first),
                                  (const float *)r->input[low] + first, &partial[chunk]);
    }
    for (int i = 0; i < s->count; i++) {
        double square = 0;
        for (int64_t chunk = s->gradient[i].chunk; chunk < s->gradient[i + 1].chunk; chunk++) square += partial[chunk];
        norms[i] = sqrt(square);
        all += square;
    }
    summary[0] = sqrt(all);
    summary[1] = isfinite(all) && isfinite(*(const double *)r->input[s->count]);
    return DG_OK;
}

const struct dg_op dg_op_grad_norms = {
    .name = "grad_norms",
    .min_inputs = 2,
    .max_inputs = -1,
    .output = {{"norms", 0}, {"summary", 0}},
    .infer = infer_norms,
    .grad = dg_no_gradient,
    .prepare = prepare_norms,
    .run = run_norms,
};

/* --- adamw --- */

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
    ADAMW_INPUTS
};

static const struct dg_attr_spec step_attrs[] = {
    {.name = "norm_index", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 1 << 20, .internal = true},
    {.name = "decay", .type = DG_ATTR_BOOL, .required = true, .max = 1, .internal = true},
    {0},
};

static enum dg_status infer_adamw(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool ok = in[PARAM].dtype == DG_F32 && dg_desc_equal(&in[PARAM], &in[GRAD]) &&
              dg_desc_equal(&in[PARAM], &in[EXP_AVG]) && dg_desc_equal(&in[PARAM], &in[EXP_AVG_SQ]) &&
              dg_desc_is_scalar(&in[STEP], DG_I64) && in[NORMS].dtype == DG_F64 && in[NORMS].ndim == 1 &&
              call->attr[0].i < in[NORMS].dim[0] &&
              (dg_absent(&in[TEACHER]) || dg_desc_equal(&in[PARAM], &in[TEACHER]));
    for (int i = LR; i < ADAMW_INPUTS; i++) {
        bool optional = i == FROZEN || (i == MOMENTUM && dg_absent(&in[TEACHER]));
        ok = ok && (dg_desc_is_scalar(&in[i], DG_F64) || (optional && dg_absent(&in[i])));
    }
    return ok ? DG_OK : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

struct adamw_state {
    int64_t count, norm_index;
    bool decay;
};

static enum dg_status prepare_adamw(struct dg_prepare *p, struct dg_error *err)
{
    struct adamw_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    *s = (struct adamw_state){dg_desc_count(&p->call->input[PARAM]), p->call->attr[0].i, p->call->attr[1].i};
    return DG_OK;
}

static double value(const struct dg_run *r, int input) { return *(const double *)r->input[input]; }

static enum dg_status run_adamw(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct adamw_state *s = r->state;
    double momentum = r->input[TEACHER] ? value(r, MOMENTUM) : 0;
    if (r->input[FROZEN] && value(r, FROZEN) != 0) {
        if (r->input[TEACHER])
            dg_kernels()->average(s->count, r->input[PARAM], r->input[TEACHER], (float)momentum, (float)(1 - momentum));
        return DG_OK;
    }
    double lr = value(r, LR), beta1 = value(r, BETA1), beta2 = value(r, BETA2), clip = value(r, CLIP);
    double norm = ((const double *)r->input[NORMS])[s->norm_index];
    double factor = clip > 0 ? clip / (norm + 1e-6) : 1;
    int64_t *step = r->input[STEP];
    double t = (double)++*step;
    dg_kernels()->adamw(s->count, r->input[PARAM], r->input[GRAD], r->input[EXP_AVG], r->input[EXP_AVG_SQ],
                        r->input[TEACHER], factor < 1 ? (float)factor : 1.0f,
                        (float)(1 - lr * (s->decay ? value(r, WEIGHT_DECAY) : 0)), (float)beta1, (float)(1 - beta1),
                        (float)beta2, (float)(1 - beta2), (float)(lr / (1 - pow(beta1, t))),
                        (float)sqrt(1 - pow(beta2, t)), (float)value(r, EPS), (float)momentum, (float)(1 - momentum));
    return DG_OK;
}

static const struct dg_step_input adamw_inputs[] = {
    [PARAM] = {DG_STEP_PARAM, NULL},
    [GRAD] = {DG_STEP_GRADIENT, NULL},
    [NORMS] = {DG_STEP_NORMS, NULL},
    [EXP_AVG] = {DG_STEP_STATE, "exp_avg"},
    [EXP_AVG_SQ] = {DG_STEP_STATE, "exp_avg_sq"},
    [STEP] = {DG_STEP_COUNT, "step"},
    [TEACHER] = {DG_STEP_TEACHER, NULL},
    [LR] = {DG_STEP_CONTROL, "lr"},
    [WEIGHT_DECAY] = {DG_STEP_CONTROL, "weight_decay"},
    [CLIP] = {DG_STEP_CONTROL, "optim.clip"},
    [BETA1] = {DG_STEP_CONTROL, "optim.betas.0"},
    [BETA2] = {DG_STEP_CONTROL, "optim.betas.1"},
    [EPS] = {DG_STEP_CONTROL, "optim.eps"},
    [MOMENTUM] = {DG_STEP_AVERAGE, "teacher.momentum"},
    [FROZEN] = {DG_STEP_FREEZE, "optim.freeze"},
    [ADAMW_INPUTS] = {DG_STEP_END, NULL},
};

const struct dg_op dg_op_adamw = {
    .name = "adamw",
    .step_inputs = adamw_inputs,
    .attrs = step_attrs,
    .min_inputs = ADAMW_INPUTS,
    .max_inputs = ADAMW_INPUTS,
    .infer = infer_adamw,
    .grad = dg_no_gradient,
    .writes = 1 << PARAM | 1 << EXP_AVG | 1 << EXP_AVG_SQ | 1 << STEP | 1 << TEACHER,
    .prepare = prepare_adamw,
    .run = run_adamw,
};

/* --- sgd, lars --- */

enum {
    S_PARAM,
    S_GRAD,
    S_NORMS,
    S_BUFFER,
    S_TEACHER,
    S_LR,
    S_WEIGHT_DECAY,
    S_CLIP,
    S_MOMENTUM,
    S_ETA, /* lars only */
    S_TEACHER_MOMENTUM,
    S_FROZEN,
    SGD_INPUTS
};

extern const struct dg_op dg_op_sgd;

static enum dg_status infer_sgd(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    const struct dg_desc *in = call->input;
    bool ok = in[S_PARAM].dtype == DG_F32 && dg_desc_equal(&in[S_PARAM], &in[S_GRAD]) &&
              dg_desc_equal(&in[S_PARAM], &in[S_BUFFER]) && in[S_NORMS].dtype == DG_F64 && in[S_NORMS].ndim == 1 &&
              call->attr[0].i < in[S_NORMS].dim[0] &&
              (dg_absent(&in[S_TEACHER]) || dg_desc_equal(&in[S_PARAM], &in[S_TEACHER]));
    for (int i = S_LR; i < SGD_INPUTS; i++) {
        bool optional = i == S_FROZEN || (i == S_ETA && call->op == &dg_op_sgd) ||
                        (i == S_TEACHER_MOMENTUM && dg_absent(&in[S_TEACHER]));
        ok = ok && (dg_desc_is_scalar(&in[i], DG_F64) || (optional && dg_absent(&in[i])));
    }
    return ok ? DG_OK : dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

struct sgd_state {
    int64_t count, norm_index;
    bool decay, matrix;
};

static enum dg_status prepare_sgd(struct dg_prepare *p, struct dg_error *err)
{
    struct sgd_state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *param = &p->call->input[S_PARAM];
    *s = (struct sgd_state){dg_desc_count(param), p->call->attr[0].i, p->call->attr[1].i, param->ndim != 1};
    dg_op_scratch(p, 2 * (s->count / 4096 + 1) * (int64_t)sizeof(double));
    return DG_OK;
}

static enum dg_status run_sgd(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct sgd_state *s = r->state;
    double momentum = r->input[S_TEACHER] ? value(r, S_TEACHER_MOMENTUM) : 0;
    if (r->input[S_FROZEN] && value(r, S_FROZEN) != 0) {
        if (r->input[S_TEACHER])
            dg_kernels()->average(s->count, r->input[S_PARAM], r->input[S_TEACHER], (float)momentum,
                                  (float)(1 - momentum));
        return DG_OK;
    }
    double clip = value(r, S_CLIP), norm = ((const double *)r->input[S_NORMS])[s->norm_index], scale = 1;
    double factor = clip > 0 ? clip / (norm + 1e-6) : 1, decay = s->decay ? value(r, S_WEIGHT_DECAY) : 0;
    float grad_scale = factor < 1 ? (float)factor : 1.0f;
    if (r->input[S_ETA] && !s->matrix) decay = 0; /* LARS leaves tensors of one dimension alone */
    if (r->input[S_ETA] && s->matrix) {
        double param_square, direction_square;
        dg_kernels()->lars_norms(s->count, r->input[S_PARAM], r->input[S_GRAD], grad_scale, (float)decay, r->scratch,
                                 &param_square, &direction_square);
        if (param_square > 0 && direction_square > 0) scale = value(r, S_ETA) * sqrt(param_square / direction_square);
    }
    dg_kernels()->sgd(s->count, r->input[S_PARAM], r->input[S_GRAD], r->input[S_BUFFER], r->input[S_TEACHER],
                      grad_scale, (float)decay, (float)scale, (float)value(r, S_MOMENTUM), (float)value(r, S_LR),
                      (float)momentum, (float)(1 - momentum));
    return DG_OK;
}

/* All but [S_ETA], which SGD leaves empty. */
#define SGD_STEP_INPUTS                                                                                                \
    [S_PARAM] = {DG_STEP_PARAM, NULL}, [S_GRAD] = {DG_STEP_GRADIENT, NULL}, [S_NORMS] = {DG_STEP_NORMS, NULL},         \
    [S_BUFFER] = {DG_STEP_STATE, "momentum"}, [S_TEACHER] = {DG_STEP_TEACHER, NULL}, [S_LR] = {DG_STEP_CONTROL, "lr"}, \
    [S_WEIGHT_DECAY] = {DG_STEP_CONTROL, "weight_decay"}, [S_CLIP] = {DG_STEP_CONTROL, "optim.clip"},                  \
    [S_MOMENTUM] = {DG_STEP_CONTROL, "optim.momentum"}, [S_TEACHER_MOMENTUM] = {DG_STEP_AVERAGE, "teacher.momentum"},  \
    [S_FROZEN] = {DG_STEP_FREEZE, "optim.freeze"}, [SGD_INPUTS] = {DG_STEP_END, NULL}
static const struct dg_step_input sgd_inputs[] = {SGD_STEP_INPUTS, [S_ETA] = {DG_STEP_ABSENT, NULL}};
static const struct dg_step_input lars_inputs[] = {SGD_STEP_INPUTS, [S_ETA] = {DG_STEP_CONTROL, "optim.eta"}};

#define SGD(op_name, inputs)                                                                                           \
    {                                                                                                                  \
        .name = op_name, .attrs = step_attrs, .min_inputs = SGD_INPUTS, .max_inputs = SGD_INPUTS, .infer = infer_sgd,  \
        .grad = dg_no_gradient, .writes = 1 << S_PARAM | 1 << S_BUFFER | 1 << S_TEACHER, .prepare = prepare_sgd,       \
        .run = run_sgd, .step_inputs = inputs,                                                                         \
    }

const struct dg_op dg_op_sgd = SGD("sgd", sgd_inputs);
const struct dg_op dg_op_lars = SGD("lars", lars_inputs);

/* --- ema --- */

static enum dg_status infer_ema(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    (void)output;
    bool averages = call->input[0].dtype == DG_F32 && dg_desc_is_scalar(&call->input[2], DG_F64);
    if (dg_desc_equal(&call->input[0], &call->input[1]) && (averages || dg_absent(&call->input[2]))) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "shapes do not fit");
}

static enum dg_status prepare_ema(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_desc *desc = dg_op_state(p, sizeof *desc, err);
    if (!desc) return DG_ERR_MEMORY;
    *desc = p->call->input[0];
    return DG_OK;
}

static enum dg_status run_ema(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct dg_desc *desc = r->state;
    if (r->input[2]) {
        double momentum = value(r, 2);
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
    .infer = infer_ema,
    .grad = dg_no_gradient,
    .writes = 2,
    .prepare = prepare_ema,
    .run = run_ema,
};

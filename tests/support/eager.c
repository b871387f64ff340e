#include "tests/support/eager.h"

#include "ops/base/rng.h"
#include "ops/dnnl/cpu.h"
#include "ops/kernels/bf16.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_VALUES = 128, CANARY = 64 };

struct value {
    struct dg_desc desc;
    void *data;
};

struct eager {
    struct value value[MAX_VALUES];
    uint32_t num_values;
    dg_value gradient[MAX_VALUES];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int view0, batch;
    struct dg_step_info step;
    bool bf16;
};

void test_values(const char *name, double scale, int64_t count, float *values)
{
    struct dg_rng rng = dg_rng_open(7, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    for (int64_t i = 0; i < count; i++) values[i] = dg_rng_uniform(&rng, (float)-scale, (float)scale);
}

static void *guarded(int64_t bytes)
{
    unsigned char *data = aligned_alloc(64, (size_t)dg_round_up(bytes + CANARY, 64));
    assert_non_null(data);
    memset(data, 0xff, (size_t)bytes); /* NaN in f32 and f64 */
    memset(data + bytes, 0xa5, CANARY);
    return data;
}

static void check_guard(const void *data, int64_t bytes, const char *what)
{
    const unsigned char *byte = (const unsigned char *)data + bytes;
    for (int i = 0; i < CANARY; i++)
        if (byte[i] != 0xa5) fail_msg("%s wrote past its end", what);
}

/* Of f32 and bf16 alike. */
static double element(const struct value *value, int64_t i)
{
    return (double)dg_get(value->data, value->desc.dtype == DG_BF16, i);
}

/* What the generator says, in bf16 plans rounded to what bf16 can say. */
static void fill(struct eager *e, dg_value v, const char *name, double scale)
{
    struct value *value = &e->value[v];
    int64_t count = dg_desc_count(&value->desc);
    float *numbers = malloc((size_t)count * sizeof *numbers);
    test_values(name, scale, count, numbers);
    for (int64_t i = 0; i < count; i++)
        dg_put(value->data, value->desc.dtype == DG_BF16, i,
               e->bf16 ? dg_from_bf16(dg_to_bf16(numbers[i])) : numbers[i]);
    free(numbers);
}

static dg_value new_value(struct eager *e, const struct dg_desc *desc)
{
    assert_true(e->num_values < MAX_VALUES);
    e->value[e->num_values] = (struct value){*desc, guarded(dg_desc_bytes(desc))};
    e->gradient[e->num_values] = DG_NO_VALUE;
    return e->num_values++;
}

/* `half`: outputs to be stored as bf16, of those that may. */
static enum dg_status apply(struct eager *e, const struct dg_op *op, const union dg_attr *attr, const dg_value *input,
                            int num_inputs, uint32_t half, dg_value *output, struct dg_error *err)
{
    struct dg_desc in[32], out[DG_MAX_OUTPUTS] = {{0}};
    bool wanted[DG_MAX_OUTPUTS];
    union dg_attr defaults[DG_MAX_ATTRS];
    void *in_data[32], *out_data[DG_MAX_OUTPUTS] = {NULL};
    for (int a = 0; a < dg_op_num_attrs(op); a++) defaults[a] = op->attrs[a].value;
    for (int i = 0; i < num_inputs; i++) {
        bool absent = input[i] == DG_NO_VALUE;
        in[i] = absent ? DG_ABSENT_DESC : e->value[input[i]].desc;
        in_data[i] = absent ? NULL : e->value[input[i]].data;
    }
    struct dg_op_call call = {.op = op,
                              .attr = attr ? attr : defaults,
                              .num_inputs = num_inputs,
                              .input = in,
                              .num_outputs = dg_op_num_outputs(op),
                              .output = out,
                              .output_wanted = wanted,
                              .train = true,
                              .bf16 = e->bf16};
    DG_TRY(dg_op_infer(&call, out, err));
    for (int o = 0; o < call.num_outputs; o++) {
        struct dg_desc narrow = out[o];
        narrow.dtype = DG_BF16;
        wanted[o] = true;
        if (half >> o & 1 && out[o].dtype == DG_F32 && dg_op_stores(&call, o, &out[o], &narrow)) out[o] = narrow;
        output[o] = new_value(e, &out[o]);
        if (dg_is_view(&op->outputs[o])) { /* the same bytes */
            memcpy(e->value[output[o]].data, in_data[dg_reused_input(&op->outputs[o])], (size_t)dg_desc_bytes(&out[o]));
        }
        out_data[o] = e->value[output[o]].data;
    }
    if (!op->run) return DG_OK;
    struct dg_prepare p = {
        .call = &call, .threads = 2, .engine = e->engine, .stream = 99, .view0 = e->view0, .batch = e->batch};
    if (op->prepare) DG_TRY(op->prepare(&p, err));
    void *scratch = guarded(p.scratch_bytes);
    struct dg_run run = {.state = p.state,
                         .input = in_data,
                         .output = out_data,
                         .scratch = scratch,
                         .stream = e->stream,
                         .step = &e->step,
                         .threads = 2};
    enum dg_status status = op->run(&run, err);
    check_guard(scratch, p.scratch_bytes, op->name);
    for (int o = 0; o < call.num_outputs; o++) check_guard(out_data[o], dg_desc_bytes(&out[o]), op->name);
    free(scratch);
    if (op->release)
        op->release(p.state);
    else
        free(p.state);
    return status;
}

/* --- the gradient builder, run at once --- */

static enum dg_status emit(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output)
{
    struct eager *e = b->compiler;
    return apply(e, op, attr, input, num_inputs, e->bf16 ? UINT32_MAX : 0, output, b->err);
}

static dg_value gradient_so_far(struct dg_grad_builder *b, int i)
{
    return ((struct eager *)b->compiler)->gradient[b->input[i]];
}

static void set_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    ((struct eager *)b->compiler)->gradient[b->input[i]] = gradient;
}

static enum dg_status add_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    dg_value so_far = gradient_so_far(b, i);
    if (so_far != DG_NO_VALUE) {
        dg_value both[2] = {so_far, gradient};
        DG_TRY(emit(b, dg_op_find("add"), NULL, both, 2, &gradient));
    }
    set_gradient(b, i, gradient);
    return DG_OK;
}

static void must(enum dg_status status, const struct dg_error *err, const char *op)
{
    if (status != DG_OK) fail_msg("%s: %s", op, err->text);
}

static double largest(const double *x, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(x[i]));
    return most;
}

static double dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* d(reference . cotangent)/d input[i][element], by four points. */
static double difference(const struct op_case *c, const struct dg_op_call *call, double **input, int i, int64_t element,
                         double *output, const double *cotangent)
{
    static const double at[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
    double here = input[i][element], h = 1e-4, sum = 0;
    for (int k = 0; k < 4; k++) {
        input[i][element] = here + at[k] * h;
        c->reference(call, input, output);
        sum += weight[k] * dot(output, cotangent, dg_desc_count(&call->output[0]));
    }
    input[i][element] = here;
    return sum / (12 * h);
}

/* Gradient of input i against finite differences at up to 60 elements; `base` was in the accumulator. */
static void check_gradient(const struct op_case *c, struct eager *e, const struct dg_op_call *call, double **input,
                           int i, dg_value value, const double *base, double *output, const double *cotangent)
{
    dg_value gradient = e->gradient[value];
    if (gradient == DG_NO_VALUE) fail_msg("%s: no gradient for input %d", c->op, i);
    struct dg_desc shape = e->value[gradient].desc;
    shape.dtype = e->value[value].desc.dtype; /* of a bf16 value it may be f32, and the other way round */
    assert_true(dg_desc_equal(&shape, &e->value[value].desc));
    int64_t count = dg_desc_count(&e->value[value].desc), stride = count / 60 + 1;
    double want[61], worst = 0, most;
    int checked = 0;
    for (int64_t j = 0; j < count; j += stride) want[checked++] = difference(c, call, input, i, j, output, cotangent);
    most = largest(want, checked);
    if (!(most > 1e-6)) fail_msg("%s: the gradient of input %d is nearly all zero: this proves nothing", c->op, i);
    for (int k = 0; k < checked; k++) {
        double got = element(&e->value[gradient], k * stride) - (base ? base[k * stride] : 0);
        worst = fmax(worst, fabs(got - want[k]));
        if (!(fabs(got - want[k]) <= c->grad_tolerance * most))
            fail_msg("%s: gradient of input %d, element %lld: got %.9g, finite differences say %.9g (largest %.3g)",
                     c->op, i, (long long)(k * stride), got, want[k], most);
    }
}

void check_op(const struct op_case *c)
{
    const struct dg_op *op = dg_op_find(c->op);
    if (!op) fail_msg("no op %s", c->op);
    if (c->bf16 && dg_bf16_support() == DG_BF16_NONE) {
        print_message("skipped: %s in bf16, which this CPU cannot\n", c->op);
        return;
    }
    omp_set_num_threads(2);
    struct eager *e = calloc(1, sizeof *e);
    struct dg_error err = {0};
    e->view0 = c->view0;
    e->batch = c->batch;
    e->step.seed = 3;
    e->bf16 = c->bf16;
    assert_int_equal(dnnl_engine_create(&e->engine, dnnl_cpu, 0), dnnl_success);
    assert_int_equal(dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags), dnnl_success);

    /* Inputs, and the op's own parameters. */
    struct dg_desc desc[16];
    dg_value input[16], output[DG_MAX_OUTPUTS];
    bool trainable[16] = {false};
    int num_inputs = c->num_inputs;
    memcpy(desc, c->input, sizeof c->input);
    struct dg_op_call call = {.op = op, .attr = c->attr, .num_inputs = num_inputs, .input = desc, .train = true};
    struct dg_param_need need[DG_MAX_PARAMS];
    int params = op->params ? op->params(&call, need, &err) : 0;
    if (params < 0) fail_msg("%s: %s", c->op, err.text);
    for (int i = 0; i < params; i++) {
        desc[num_inputs] = need[i].desc;
        trainable[num_inputs++] = need[i].trainable;
    }
    double *exact[16];
    for (int i = 0; i < num_inputs; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%d", c->op, i);
        input[i] = DG_NO_VALUE;
        exact[i] = NULL;
        if (dg_absent(&desc[i])) continue;
        if (c->half_inputs >> i & 1) desc[i].dtype = DG_BF16;
        input[i] = new_value(e, &desc[i]);
        int64_t count = dg_desc_count(&desc[i]);
        fill(e, input[i], name, c->input_scale > 0 ? c->input_scale : 1);
        exact[i] = malloc((size_t)count * sizeof(double));
        for (int64_t j = 0; j < count; j++) exact[i][j] = element(&e->value[input[i]], j);
    }

    must(apply(e, op, c->attr, input, num_inputs, c->half_outputs, output, &err), &err, c->op);
    const struct dg_desc *dst = &e->value[output[0]].desc;
    int64_t count = dg_desc_count(dst);
    call.num_inputs = num_inputs;
    call.output = dst;
    call.num_outputs = 1;
    double *want = malloc((size_t)count * sizeof *want);
    c->reference(&call, exact, want);
    double most = largest(want, count);
    for (int64_t j = 0; j < count; j++) {
        double got = element(&e->value[output[0]], j);
        if (!(fabs(got - want[j]) <= c->tolerance * most))
            fail_msg("%s: output %lld: got %.9g, reference %.9g (largest %.3g)", c->op, (long long)j, got, want[j],
                     most);
    }
    for (int o = 0; o < dg_op_num_outputs(op); o++)
        assert_int_equal(e->value[output[o]].desc.dtype == DG_BF16, c->half_outputs >> o & 1);
    dg_value again[DG_MAX_OUTPUTS];
    must(apply(e, op, c->attr, input, num_inputs, c->half_outputs, again, &err), &err, c->op);
    assert_memory_equal(e->value[again[0]].data, e->value[output[0]].data, (size_t)dg_desc_bytes(dst));

    /* Backward, with something already in the parameters' accumulators. */
    dg_value diff[DG_MAX_OUTPUTS];
    bool wants[16];
    double *base[16] = {NULL};
    for (int o = 0; o < dg_op_num_outputs(op); o++) diff[o] = DG_NO_VALUE;
    diff[0] = new_value(e, dst);
    fill(e, diff[0], "cotangent", 1);
    for (int i = 0; i < num_inputs; i++) {
        wants[i] = i < c->num_inputs ? c->grad_input[i] : trainable[i];
        if (!wants[i] || i < c->num_inputs) continue;
        dg_value acc = new_value(e, &desc[i]);
        int64_t size = dg_desc_count(&desc[i]);
        fill(e, acc, "accumulator", 1);
        base[i] = malloc((size_t)size * sizeof(double));
        for (int64_t j = 0; j < size; j++) base[i][j] = element(&e->value[acc], j);
        e->gradient[input[i]] = acc;
    }
    double *cotangent = malloc((size_t)count * sizeof *cotangent);
    for (int64_t j = 0; j < count; j++) cotangent[j] = element(&e->value[diff[0]], j);
    struct dg_grad_builder b = {.call = &call,
                                .input = input,
                                .output = output,
                                .diff_output = diff,
                                .wants = wants,
                                .compiler = e,
                                .emit = emit,
                                .gradient_so_far = gradient_so_far,
                                .set_gradient = set_gradient,
                                .add_gradient = add_gradient,
                                .err = &err};
    struct dg_desc all_outputs[DG_MAX_OUTPUTS];
    for (int o = 0; o < dg_op_num_outputs(op); o++) all_outputs[o] = e->value[output[o]].desc;
    call.output = all_outputs;
    call.num_outputs = dg_op_num_outputs(op);
    must(op->grad(&b), &err, c->op);
    for (int i = 0; i < num_inputs; i++)
        if (wants[i]) check_gradient(c, e, &call, exact, i, input[i], base[i], want, cotangent);

    for (int i = 0; i < num_inputs; i++) {
        free(exact[i]);
        free(base[i]);
    }
    free(want);
    free(cotangent);
    for (uint32_t v = 0; v < e->num_values; v++) free(e->value[v].data);
    dnnl_stream_destroy(e->stream);
    dnnl_engine_destroy(e->engine);
    free(e);
}

void check_op_bf16(struct op_case c, uint64_t half_inputs, uint32_t half_outputs, double tolerance,
                   double grad_tolerance)
{
    c.bf16 = true;
    c.half_inputs = half_inputs;
    c.half_outputs = half_outputs;
    c.tolerance = tolerance;
    c.grad_tolerance = grad_tolerance;
    check_op(&c);
}

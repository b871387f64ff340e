#include "tests/support/one_op.h"
#include "tests/support/eager.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CANARY = 64 };

static void *guarded(int64_t bytes)
{
    unsigned char *data = aligned_alloc(64, (size_t)dg_round_up(bytes + CANARY, 64));
    assert_non_null(data);
    memset(data, 0xff, (size_t)bytes); /* NaN in f32 and f64 */
    memset(data + bytes, 0xa5, CANARY);
    return data;
}

static void check_guard(const void *data, int64_t bytes, const char *op)
{
    const unsigned char *byte = (const unsigned char *)data + bytes;
    for (int i = 0; i < CANARY; i++)
        if (byte[i] != 0xa5) fail_msg("%s wrote past the end", op);
}

static const struct dg_op *find(const struct one_op *o)
{
    const struct dg_op *op = dg_op_find(o->op);
    if (!op) fail_msg("no op %s", o->op);
    return op;
}

static struct dg_op_call call_of(const struct one_op *o, struct dg_desc *output, bool *wanted)
{
    const struct dg_op *op = find(o);
    for (int i = 0; i < DG_MAX_OUTPUTS; i++) wanted[i] = !(o->unwanted >> i & 1);
    return (struct dg_op_call){.op = op,
                               .attr = o->attr,
                               .num_inputs = o->num_inputs,
                               .input = o->desc,
                               .num_outputs = dg_op_num_outputs(op),
                               .output = output,
                               .output_wanted = wanted,
                               .train = !o->eval,
                               .bf16 = o->bf16,
                               .kept = o->kept};
}

struct one_op_result one_op_run(const struct one_op *o)
{
    const struct dg_op *op = find(o);
    struct one_op_result result = {0};
    struct dg_error err = {0};
    bool wanted[DG_MAX_OUTPUTS];
    struct dg_op_call call = call_of(o, result.desc, wanted);
    int threads = o->threads ? o->threads : 2;
    omp_set_num_threads(threads);
    if (dg_op_infer(&call, result.desc, &err) != DG_OK) fail_msg("%s: %s", o->op, err.text);
    for (int out = 0; out < call.num_outputs && o->bf16; out++) {
        struct dg_desc narrow = result.desc[out];
        narrow.dtype = DG_BF16;
        if (dg_op_stores(&call, out, &result.desc[out], &narrow)) result.desc[out] = narrow;
    }

    /* Inputs are copies, so that writing one by mistake is seen; declared writes go back to the caller's. */
    void *input[ONE_OP_INPUTS] = {NULL};
    bool taken[ONE_OP_INPUTS] = {false}; /* by an output in place */
    for (int i = 0; i < o->num_inputs; i++) {
        if (dg_absent(&o->desc[i])) continue;
        input[i] = guarded(dg_desc_bytes(&o->desc[i]));
        memcpy(input[i], o->data[i], (size_t)dg_desc_bytes(&o->desc[i]));
    }
    for (int out = 0; out < call.num_outputs; out++) {
        int source = dg_reused_input(&op->outputs[out]);
        if (!wanted[out]) continue;
        bool fits = source >= 0 && !dg_op_moves(op, o->kept, source, out) && input[source] &&
                    result.desc[out].dtype == o->desc[source].dtype;
        if ((dg_is_view(&op->outputs[out]) || o->in_place) && fits) {
            result.data[out] = input[source];
            taken[source] = true;
        } else {
            result.data[out] = guarded(dg_desc_bytes(&result.desc[out]));
        }
    }
    if (op->run) {
        dnnl_engine_t engine;
        dnnl_stream_t stream;
        assert_int_equal(dnnl_engine_create(&engine, dnnl_cpu, 0), dnnl_success);
        assert_int_equal(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), dnnl_success);
        struct dg_prepare p = {.call = &call,
                               .threads = threads,
                               .engine = engine,
                               .stream = o->stream,
                               .view0 = o->view0,
                               .batch = o->batch};
        if (op->prepare && op->prepare(&p, &err) != DG_OK) fail_msg("%s: %s", o->op, err.text);
        void *scratch = guarded(p.scratch_bytes);
        struct dg_run run = {.state = p.state,
                             .input = input,
                             .output = result.data,
                             .scratch = scratch,
                             .stream = stream,
                             .step = &o->step,
                             .threads = threads,
                             .kept = o->kept};
        if (op->run(&run, &err) != DG_OK) fail_msg("%s: %s", o->op, err.text);
        check_guard(scratch, p.scratch_bytes, o->op);
        free(scratch);
        if (op->release)
            op->release(p.state);
        else
            free(p.state);
        dnnl_stream_destroy(stream);
        dnnl_engine_destroy(engine);
    }
    for (int out = 0; out < call.num_outputs; out++)
        if (wanted[out]) check_guard(result.data[out], dg_desc_bytes(&result.desc[out]), o->op);
    for (int i = 0; i < o->num_inputs; i++) {
        if (!input[i] || taken[i]) continue;
        size_t bytes = (size_t)dg_desc_bytes(&o->desc[i]);
        check_guard(input[i], (int64_t)bytes, o->op);
        if (dg_op_input_has(op, o->num_inputs, i, DG_UPDATED))
            memcpy(o->data[i], input[i], bytes);
        else if (memcmp(o->data[i], input[i], bytes))
            fail_msg("%s wrote input %d, which it does not declare", o->op, i);
        free(input[i]);
    }
    return result;
}

void one_op_free(struct one_op_result *result)
{
    for (int i = 0; i < DG_MAX_OUTPUTS; i++) free(result->data[i]);
    *result = (struct one_op_result){0};
}

void one_op_refused(const struct one_op *o, const char *message)
{
    struct dg_desc output[DG_MAX_OUTPUTS] = {{0}};
    struct dg_error err = {0};
    bool wanted[DG_MAX_OUTPUTS];
    struct dg_op_call call = call_of(o, output, wanted);
    if (dg_op_infer(&call, output, &err) == DG_OK) fail_msg("%s took what it must refuse: %s", o->op, message);
    if (!strstr(err.text, message)) fail_msg("%s: \"%s\" does not say \"%s\"", o->op, err.text, message);
}

struct dg_desc f32_desc(const int64_t *dims)
{
    int n = 0;
    while (dims[n]) n++;
    return dg_desc_make(DG_F32, n, dims);
}

void assert_desc(struct dg_desc got, struct dg_desc want)
{
    char a[96], b[96];
    if (!dg_desc_equal(&got, &want))
        fail_msg("got %s, want %s", dg_desc_text(a, sizeof a, &got), dg_desc_text(b, sizeof b, &want));
}

float *random_f32(const char *name, double scale, int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    test_values(name, scale, count, values);
    return values;
}

void assert_near(const float *got, const double *want, int64_t count, double tolerance, const char *what)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * most))
            fail_msg("%s, element %lld: got %.9g, want %.9g (largest %.3g)", what, (long long)i, (double)got[i],
                     want[i], most);
}

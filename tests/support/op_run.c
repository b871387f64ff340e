#include "tests/support/op_run.h"

#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"
#include "tests/support/guarded.h"
#include "tests/support/op_facts.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- what was run --- */

static unsigned runs[256]; /* by the op's place in the registry */

unsigned op_runs_of(const char *op)
{
    for (int i = 0; i < dg_op_count(); i++)
        if (!strcmp(dg_op_at(i)->name, op)) return runs[i];
    return 0;
}

void op_forget_runs(void) { memset(runs, 0, sizeof runs); }

/* --- attributes --- */

const struct dg_op *op_by_name(const char *name)
{
    const struct dg_op *op = dg_op_find(name);
    if (!op) fail_msg("no op %s", name);
    return op;
}

void op_resolve_attrs(const struct dg_op *op, const struct op_attr *attrs, union dg_attr resolved[DG_MAX_ATTRS])
{
    bool given[DG_MAX_ATTRS] = {false};
    for (int a = 0; a < dg_op_num_attrs(op); a++) resolved[a] = op->attrs[a].value;
    for (int g = 0; g < DG_MAX_ATTRS && attrs[g].name; g++) {
        int a = dg_op_attr(op, attrs[g].name);
        if (a < 0) fail_msg("%s has no attribute %s", op->name, attrs[g].name);
        given[a] = true;
        if (op->attrs[a].type == DG_ATTR_FLOAT)
            resolved[a].f = attrs[g].value;
        else
            resolved[a].i = (int64_t)attrs[g].value;
    }
    for (int a = 0; a < dg_op_num_attrs(op); a++)
        if (op->attrs[a].required && !given[a] && op->attrs[a].type != DG_ATTR_PARAM)
            fail_msg("%s: attribute %s is not given", op->name, op->attrs[a].name);
}

double attr_of(const struct dg_op_call *call, const char *name)
{
    int a = dg_op_attr(call->op, name);
    if (a < 0) fail_msg("%s has no attribute %s", call->op->name, name);
    return call->op->attrs[a].type == DG_ATTR_FLOAT ? call->attr[a].f : (double)call->attr[a].i;
}

void op_set_attr(struct op_run *run, const char *name, double value)
{
    int a = 0;
    while (run->attrs[a].name && strcmp(run->attrs[a].name, name)) a++;
    assert_true(a < DG_MAX_ATTRS);
    run->attrs[a] = (struct op_attr){name, value};
}

/* --- running --- */

/* A run as the op sees it. */
struct world {
    union dg_attr attr[DG_MAX_ATTRS];
    bool wanted[DG_MAX_OUTPUTS];
    int num_inputs; /* all operands of the op's table, also those that the run leaves away */
    struct dg_desc desc[OP_INPUTS];
    void *data[OP_INPUTS]; /* the caller's */
    void *input[OP_INPUTS];
    bool taken[OP_INPUTS]; /* by an output in place */
    struct dg_op_call call;
    int threads;
};

static int count_inputs(const struct op_run *r)
{
    int n = 0;
    while (n < OP_INPUTS && (r->input[n].name || r->input[n].desc.dtype || dg_absent(&r->input[n].desc))) n++;
    return n;
}

/* Where input n of the run is among the op's. */
static int place_of(const struct dg_op *op, const struct op_run *r, int n)
{
    const char *name = r->input[n].name;
    int i = 0;
    if (!name) return n;
    while (i < dg_op_num_inputs(op) && strcmp(op->inputs[i].name, name)) i++;
    if (i == dg_op_num_inputs(op)) fail_msg("%s has no input %s", r->op, name);
    return i;
}

struct op_tensor *op_input(struct op_run *r, const char *name)
{
    int n = 0;
    while (n < count_inputs(r) && (!r->input[n].name || strcmp(r->input[n].name, name))) n++;
    assert_true(n < OP_INPUTS);
    r->input[n].name = name;
    return &r->input[n];
}

static void open_world(const struct op_run *r, struct dg_desc *output, struct world *w)
{
    const struct dg_op *op = op_by_name(r->op);
    *w = (struct world){.threads = r->threads ? r->threads : 2};
    if (!r->attr) op_resolve_attrs(op, r->attrs, w->attr);
    for (int o = 0; o < DG_MAX_OUTPUTS; o++) w->wanted[o] = !(r->unwanted >> o & 1);
    w->num_inputs = dg_op_num_inputs(op);
    for (int i = 0; i < OP_INPUTS; i++) w->desc[i] = DG_ABSENT_DESC;
    for (int n = 0; n < count_inputs(r); n++) {
        int i = place_of(op, r, n);
        if (i >= w->num_inputs) w->num_inputs = i + 1;
        w->desc[i] = r->input[n].desc;
        w->data[i] = r->input[n].data;
    }
    w->call = (struct dg_op_call){.op = op,
                                  .attr = r->attr ? r->attr : w->attr,
                                  .num_inputs = w->num_inputs,
                                  .input = w->desc,
                                  .num_outputs = dg_op_num_outputs(op),
                                  .output = output,
                                  .output_wanted = w->wanted,
                                  .train = !r->eval,
                                  .slices = r->slices,
                                  .ranks = r->ranks,
                                  .bf16 = r->bf16,
                                  .math = r->math};
}

static bool has_row_map(const struct world *w)
{
    for (int i = 0; i < w->num_inputs; i++)
        if (dg_op_input_has(w->call.op, w->num_inputs, i, DG_ROW_MAP) && !dg_absent(&w->desc[i])) return true;
    return false;
}

/* Notes that it ran, with a row map and in bf16 if it did. */
static void note_run(const struct world *w)
{
    const struct dg_op *op = w->call.op;
    bool rows = has_row_map(w);
    assert_true(dg_op_count() <= (int)(sizeof runs / sizeof *runs));
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i) == op) runs[i] |= OP_VALUE | (rows ? OP_ROWS : 0) | (w->call.bf16 ? OP_BF16 : 0);
}

/* Inputs are copies, so that writing one by mistake is seen; outputs are new or in the place of an input. */
static void make_room(const struct op_run *r, struct world *w, struct op_result *result)
{
    const struct dg_op *op = w->call.op;
    for (int i = 0; i < w->num_inputs; i++) {
        if (dg_absent(&w->desc[i])) continue;
        w->input[i] = guarded_alloc(dg_desc_bytes(&w->desc[i]));
        memcpy(w->input[i], w->data[i], (size_t)dg_desc_bytes(&w->desc[i]));
    }
    for (int o = 0; o < w->call.num_outputs; o++) {
        int source = op_output_reuses(op, o, has_row_map(w));
        if (!w->wanted[o]) continue;
        bool fits = source >= 0 && w->input[source] && result->desc[o].dtype == w->desc[source].dtype;
        if ((dg_is_view(&op->outputs[o]) || r->in_place) && fits) {
            result->data[o] = w->input[source];
            w->taken[source] = true;
        } else {
            result->data[o] = guarded_alloc(dg_desc_bytes(&result->desc[o]));
        }
    }
}

/* What an op gathers, counted on the way to the test's peers. */
struct counter {
    const struct dg_peers *peers;
    struct dg_joins joins;
};

static enum dg_status gather_counted(void *context, const void *mine, int64_t bytes, void *all, struct dg_error *err)
{
    struct counter *counter = context;
    counter->joins.times++;
    counter->joins.bytes += bytes;
    return counter->peers->gather(counter->peers->context, mine, bytes, all, err);
}

static void prepare_and_run(const struct op_run *r, struct world *w, struct op_result *result)
{
    const struct dg_op *op = w->call.op;
    struct dg_error err = {0};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    assert_int_equal(dnnl_engine_create(&engine, dnnl_cpu, 0), dnnl_success);
    assert_int_equal(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), dnnl_success);
    struct dg_prepare p = {.call = &w->call,
                           .threads = w->threads,
                           .engine = engine,
                           .stream = r->stream,
                           .view0 = r->view0,
                           .batch = r->batch,
                           .constant_params = r->constant_params};
    if (op->prepare && op->prepare(&p, &err) != DG_OK) fail_msg("%s: %s", r->op, err.text);
    struct counter counter = {.peers = r->peers};
    const struct dg_peers peers = {gather_counted, &counter};
    void *scratch = guarded_alloc(p.scratch_bytes), *packed = guarded_alloc(p.packed_bytes);
    struct dg_run run = {.state = p.state,
                         .input = w->input,
                         .output = result->data,
                         .scratch = scratch,
                         .packed = packed,
                         .stream = stream,
                         .step = &r->step,
                         .threads = w->threads,
                         .peers = r->peers ? &peers : NULL};
    if (r->constant_params && op->pack && op->pack(&run, &err) != DG_OK) fail_msg("%s: %s", r->op, err.text);
    if (op->run(&run, &err) != DG_OK) fail_msg("%s: %s", r->op, err.text);
    if (r->peers) {
        assert_int_equal(counter.joins.times, op->joins(&w->call).times);
        assert_int_equal(counter.joins.bytes, op->joins(&w->call).bytes);
    }
    guarded_check(scratch, p.scratch_bytes, r->op);
    guarded_check(packed, p.packed_bytes, r->op);
    free(scratch);
    free(packed);
    if (op->release)
        op->release(p.state);
    else
        free(p.state);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
}

/* Nothing was written but outputs, and inputs that the op declares to write: these go back to the caller's. */
static void check_writes(const struct op_run *r, struct world *w, const struct op_result *result)
{
    for (int o = 0; o < w->call.num_outputs; o++)
        if (w->wanted[o]) guarded_check(result->data[o], dg_desc_bytes(&result->desc[o]), r->op);
    for (int i = 0; i < w->num_inputs; i++) {
        if (!w->input[i] || w->taken[i]) continue;
        size_t bytes = (size_t)dg_desc_bytes(&w->desc[i]);
        guarded_check(w->input[i], (int64_t)bytes, r->op);
        if (dg_op_input_has(w->call.op, w->num_inputs, i, DG_UPDATED))
            memcpy(w->data[i], w->input[i], bytes);
        else if (memcmp(w->data[i], w->input[i], bytes))
            fail_msg("%s wrote input %d, which it does not declare", r->op, i);
        free(w->input[i]);
    }
}

struct op_result op_run(const struct op_run *r)
{
    struct op_result result = {0};
    struct dg_error err = {0};
    struct world w;
    open_world(r, result.desc, &w);
    omp_set_num_threads(w.threads);
    note_run(&w);
    if (dg_op_infer(&w.call, result.desc, &err) != DG_OK) fail_msg("%s: %s", r->op, err.text);
    for (int o = 0; o < w.call.num_outputs && r->bf16; o++) {
        struct dg_desc bf16 = result.desc[o];
        bf16.dtype = DG_BF16;
        if (!(r->f32_outputs >> o & 1) && dg_op_stores(&w.call, o, &result.desc[o], &bf16)) result.desc[o] = bf16;
    }
    make_room(r, &w, &result);
    if (w.call.op->run) prepare_and_run(r, &w, &result);
    check_writes(r, &w, &result);
    return result;
}

void op_result_free(struct op_result *result)
{
    for (int i = 0; i < DG_MAX_OUTPUTS; i++) free(result->data[i]);
    *result = (struct op_result){0};
}

void op_refused(const struct op_run *r, const char *message)
{
    struct dg_desc output[DG_MAX_OUTPUTS] = {{0}};
    struct dg_error err = {0};
    struct world w;
    open_world(r, output, &w);
    if (dg_op_infer(&w.call, output, &err) == DG_OK) fail_msg("%s took what it must refuse: %s", r->op, message);
    if (!strstr(err.text, message)) fail_msg("%s: \"%s\" does not say \"%s\"", r->op, err.text, message);
}

/* --- numbers --- */

void assert_desc(struct dg_desc got, struct dg_desc want)
{
    char a[96], b[96];
    if (!dg_desc_equal(&got, &want))
        fail_msg("got %s, want %s", dg_desc_text(a, sizeof a, &got), dg_desc_text(b, sizeof b, &want));
}

void test_values(const char *name, double scale, int64_t count, float *values)
{
    struct dg_rng rng = dg_rng_make(7, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    for (int64_t i = 0; i < count; i++) values[i] = dg_rng_uniform(&rng, (float)-scale, (float)scale);
}

float *random_f32(const char *name, double scale, int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    test_values(name, scale, count, values);
    return values;
}

struct two_types random_two_types(const char *name, double scale, int64_t count)
{
    struct two_types x = {random_f32(name, scale, count), malloc((size_t)count * sizeof(dg_bf16))};
    assert_non_null(x.bf16);
    for (int64_t i = 0; i < count; i++) {
        x.bf16[i] = dg_to_bf16(x.f32[i]);
        x.f32[i] = dg_from_bf16(x.bf16[i]);
    }
    return x;
}

void free_two_types(struct two_types *numbers)
{
    free(numbers->f32);
    free(numbers->bf16);
}

struct op_tensor tensor_of(const char *name, struct dg_desc desc, const struct two_types *numbers, bool bf16)
{
    if (bf16) desc.dtype = DG_BF16;
    return (struct op_tensor){name, desc, bf16 ? (void *)numbers->bf16 : numbers->f32};
}

void assert_same_output(const struct op_result *got, int o, const struct op_result *want, int w)
{
    assert_desc(got->desc[o], want->desc[w]);
    assert_memory_equal(got->data[o], want->data[w], (size_t)dg_desc_bytes(&want->desc[w]));
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

double op_element(const struct dg_desc *desc, const void *data, int64_t i)
{
    if (desc->dtype == DG_F64) return ((const double *)data)[i];
    if (desc->dtype == DG_I64) return (double)((const int64_t *)data)[i];
    if (desc->dtype == DG_U8) return ((const unsigned char *)data)[i];
    return (double)dg_get(data, desc->dtype == DG_BF16, i);
}

double bf16_half_ulp(double x)
{
    int exponent;
    if (x == 0) return 0;
    frexp(x, &exponent);
    return ldexp(1, exponent - 9);
}

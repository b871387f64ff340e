#include "tests/support/op_harness.h"

#include "ops/dnnl/cpu.h"
#include "ops/kernels/bf16.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_VALUES = 128, CHECKED = 60 /* elements of a gradient, about */ };

/* --- a case's inputs --- */

struct world {
    const struct op_case *c;
    const struct dg_op *op;
    struct op_run run;
    union dg_attr attr[DG_MAX_ATTRS];
    int given, num_inputs; /* own parameters are behind the inputs given */
    struct dg_desc desc[OP_INPUTS];
    void *data[OP_INPUTS];
    double *exact[OP_INPUTS]; /* inputs in f64 */
    bool wants[OP_INPUTS];    /* is its gradient checked? */
    struct dg_op_call call;   /* as a reference sees it */
    struct dg_desc output[DG_MAX_OUTPUTS];
    double *want[DG_MAX_OUTPUTS];
};

static int count_inputs(const struct op_case *c)
{
    int n = 0;
    while (n < CASE_INPUTS && c->input[n].desc.dtype) n++;
    return n;
}

/* Where input n of the case is among the op's. */
static int place_of(const struct op_case *c, int n)
{
    const struct dg_op *op = op_by_name(c->op);
    const char *name = c->input[n].name;
    bool variadic = dg_op_any_has(op, DG_VARIADIC);
    for (int i = 0; name && i < dg_op_num_inputs(op); i++)
        if (!strcmp(op->inputs[i].name, name)) return variadic ? n : i;
    if (name) fail_msg("%s has no input %s", c->op, name);
    return n;
}

/* In bf16, numbers that bf16 can represent, stored as f32 or bf16. */
static void *make_numbers(const struct op_input *in, const struct dg_desc *desc, const char *name, bool bf16)
{
    int64_t count = dg_desc_count(desc);
    void *data = malloc((size_t)dg_desc_bytes(desc));
    assert_non_null(data);
    if (in && in->data) return memcpy(data, in->data, (size_t)dg_desc_bytes(desc));
    if (desc->dtype == DG_I64) return memset(data, 0, (size_t)dg_desc_bytes(desc)); /* a count */
    assert_true(desc->dtype == DG_F32 || desc->dtype == DG_BF16);
    float *numbers = random_f32(name, in && in->scale > 0 ? in->scale : 1, count);
    for (int64_t i = 0; i < count; i++) {
        float x = numbers[i] + (in ? (float)in->offset : 0);
        dg_put(data, desc->dtype == DG_BF16, i, bf16 ? dg_from_bf16(dg_to_bf16(x)) : x);
    }
    free(numbers);
    return data;
}

static void set_input(struct world *w, int i, const struct op_input *in, struct dg_desc desc, bool as_bf16)
{
    if (as_bf16) desc.dtype = DG_BF16;
    w->desc[i] = desc;
    char name[64];
    snprintf(name, sizeof name, "%s.%d", w->op->name, i);
    w->data[i] = make_numbers(in, &desc, name, w->run.bf16);
    int64_t count = dg_desc_count(&desc);
    w->exact[i] = malloc((size_t)count * sizeof(double));
    assert_non_null(w->exact[i]);
    for (int64_t k = 0; k < count; k++) w->exact[i][k] = op_element(&desc, w->data[i], k);
}

/* `bf16_inputs`: bit i: input i is stored as bf16. */
static void open_world(struct world *w, const struct op_case *c, bool bf16, uint64_t bf16_inputs)
{
    struct dg_error err = {0};
    *w = (struct world){.c = c, .op = op_by_name(c->op)};
    op_resolve_attrs(w->op, c->attrs, w->attr);
    w->run = (struct op_run){.op = c->op,
                             .attr = w->attr,
                             .bf16 = bf16,
                             .stream = OP_STREAM,
                             .view0 = c->view0,
                             .batch = c->batch,
                             .slices = c->slices,
                             .step = c->step};
    w->run.step.seed = OP_SEED;
    for (int i = 0; i < OP_INPUTS; i++) w->desc[i] = DG_ABSENT_DESC;
    if (!w->op->params && !dg_op_any_has(w->op, DG_VARIADIC)) w->given = dg_op_num_inputs(w->op);
    for (int n = 0; n < count_inputs(c); n++) {
        int i = place_of(c, n);
        set_input(w, i, &c->input[n], c->input[n].desc, bf16_inputs >> i & 1);
        w->wants[i] = c->grad[n];
        if (i >= w->given) w->given = i + 1;
    }
    struct dg_desc f32[OP_INPUTS];
    for (int i = 0; i < w->given; i++) f32[i] = dg_desc_wide(&w->desc[i]);
    w->call = (struct dg_op_call){
        .op = w->op, .attr = w->attr, .num_inputs = w->given, .input = f32, .train = true, .slices = c->slices};
    struct dg_param_need need[DG_MAX_PARAMS];
    int params = w->op->params ? w->op->params(&w->call, need, &err) : 0;
    if (params < 0) fail_msg("%s: %s", c->op, err.text);
    for (int p = 0; p < params; p++) {
        w->wants[w->given + p] = need[p].trainable;
        set_input(w, w->given + p, NULL, need[p].desc, false);
    }
    w->call.input = w->desc;
    w->call.num_inputs = w->num_inputs = w->given + params;
    for (int i = 0; i < w->num_inputs; i++) w->run.input[i] = (struct op_tensor){NULL, w->desc[i], w->data[i]};
}

static void close_world(struct world *w)
{
    for (int i = 0; i < w->num_inputs; i++) {
        free(w->data[i]);
        free(w->exact[i]);
    }
    for (int o = 0; o < DG_MAX_OUTPUTS; o++) free(w->want[o]);
}

/* Room for what the reference makes of the outputs of `result`, which it describes to it. */
static void describe_outputs(struct world *w, const struct op_result *result)
{
    memcpy(w->output, result->desc, sizeof w->output);
    w->call.output = w->output;
    w->call.num_outputs = dg_op_num_outputs(w->op);
    for (int o = 0; o < w->call.num_outputs; o++) {
        w->want[o] = malloc((size_t)dg_desc_count(&result->desc[o]) * sizeof(double));
        assert_non_null(w->want[o]);
    }
}

static double largest(const double *x, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(x[i]));
    return most;
}

/* --- value --- */

static void check_value(const struct world *w, const struct op_result *result, int o)
{
    const struct dg_desc *desc = &result->desc[o];
    int64_t count = dg_desc_count(desc);
    double most = largest(w->want[o], count), near = w->c->f32 * most;
    if (w->run.bf16) near += w->c->bf16 * BF16_ROUNDING * most;
    for (int64_t j = 0; j < count; j++) {
        double got = op_element(desc, result->data[o], j), want = w->want[o][j];
        double stored = dg_is_bf16(desc) ? bf16_half_ulp(want) : 0;
        if (!(fabs(got - want) <= near + stored))
            fail_msg("%s: output %s, element %lld: got %.9g, reference %.9g (largest %.3g)", w->c->op,
                     w->op->outputs[o].name, (long long)j, got, want, most);
    }
}

/* The outputs that both have are the same, bit for bit. */
static void check_same(const struct world *w, struct op_run run, const struct op_result *first, const char *how)
{
    struct op_result other = op_run(&run);
    for (int o = 0; o < w->call.num_outputs; o++)
        if (other.data[o] && memcmp(other.data[o], first->data[o], (size_t)dg_desc_bytes(&first->desc[o])))
            fail_msg("%s: output %s has other bits %s", w->c->op, w->op->outputs[o].name, how);
    op_result_free(&other);
}

static struct op_result run_value(struct world *w, uint32_t bf16_outputs)
{
    w->run.f32_outputs = ~bf16_outputs;
    struct op_result result = op_run(&w->run);
    describe_outputs(w, &result);
    w->c->reference(&w->call, w->exact, w->want);
    for (int o = 0; o < w->call.num_outputs; o++) {
        if (w->run.bf16) assert_int_equal(dg_is_bf16(&result.desc[o]), bf16_outputs >> o & 1);
        if (o < (w->c->outputs ? w->c->outputs : 1)) check_value(w, &result, o);
    }
    check_same(w, w->run, &result, "when it runs again");
    struct op_run run = w->run;
    run.in_place = true;
    check_same(w, run, &result, "in place");
    for (int o = 0; o < w->call.num_outputs; o++) {
        if (!dg_is_optional_output(&w->op->outputs[o])) continue;
        run = w->run;
        run.unwanted = 1u << o;
        check_same(w, run, &result, "without another");
    }
    return result;
}

static void value_mode(const struct op_case *c)
{
    struct world w;
    open_world(&w, c, false, 0);
    struct op_result result = run_value(&w, 0);
    op_result_free(&result);
    close_world(&w);
}

/* --- gradient: the compiler's builder, run at once --- */

struct value {
    struct dg_desc desc;
    void *data;
};

struct tape {
    const struct world *w;
    struct value value[MAX_VALUES];
    uint32_t num_values;
    dg_value gradient[MAX_VALUES];
};

static dg_value add_value(struct tape *t, struct dg_desc desc, void *data)
{
    assert_true(t->num_values < MAX_VALUES);
    t->value[t->num_values] = (struct value){desc, data};
    t->gradient[t->num_values] = DG_NO_VALUE;
    return t->num_values++;
}

static enum dg_status emit(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output)
{
    struct tape *t = b->compiler;
    struct op_run run = t->w->run;
    run.op = op->name;
    run.attr = attr;
    run.f32_outputs = 0;
    memset(run.input, 0, sizeof run.input);
    for (int i = 0; i < num_inputs; i++) {
        bool absent = input[i] == DG_NO_VALUE;
        run.input[i].desc = absent ? DG_ABSENT_DESC : t->value[input[i]].desc;
        run.input[i].data = absent ? NULL : t->value[input[i]].data;
    }
    struct op_result result = op_run(&run);
    for (int o = 0; o < dg_op_num_outputs(op); o++) output[o] = add_value(t, result.desc[o], result.data[o]);
    return DG_OK;
}

static dg_value gradient_so_far(struct dg_grad_builder *b, int i)
{
    return ((struct tape *)b->compiler)->gradient[b->input[i]];
}

static void set_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    ((struct tape *)b->compiler)->gradient[b->input[i]] = gradient;
}

static enum dg_status add_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    dg_value so_far = gradient_so_far(b, i);
    if (so_far != DG_NO_VALUE) DG_TRY(emit(b, op_by_name("add"), NULL, (dg_value[]){so_far, gradient}, 2, &gradient));
    set_gradient(b, i, gradient);
    return DG_OK;
}

/* d(reference . cotangent)/d input[i][element], by four points. */
static double difference(struct world *w, int i, int64_t element, const double *cotangent)
{
    static const double at[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
    double here = w->exact[i][element], h = 1e-4, sum = 0;
    for (int k = 0; k < 4; k++) {
        double dot = 0;
        w->exact[i][element] = here + at[k] * h;
        w->c->reference(&w->call, w->exact, w->want);
        for (int64_t j = 0; j < dg_desc_count(&w->call.output[0]); j++) dot += w->want[0][j] * cotangent[j];
        sum += weight[k] * dot;
    }
    w->exact[i][element] = here;
    return sum / (12 * h);
}

/* The gradient of input i against finite differences at some elements; `base` was in the accumulator. */
static void check_gradient(struct world *w, const struct tape *t, int i, dg_value value, const float *base,
                           const double *cotangent)
{
    const char *op = w->c->op;
    dg_value gradient = t->gradient[value];
    if (gradient == DG_NO_VALUE) fail_msg("%s: no gradient for input %d", op, i);
    const struct value *got = &t->value[gradient];
    struct dg_desc shape = got->desc;
    shape.dtype = w->desc[i].dtype; /* of a bf16 value it may be f32, and the other way round */
    assert_desc(shape, w->desc[i]);
    int64_t count = dg_desc_count(&shape), stride = count / CHECKED + 1;
    double want[CHECKED + 1], tolerance = w->c->f32_grad;
    int checked = 0;
    if (w->run.bf16) tolerance = fmax(tolerance, w->c->bf16_grad * BF16_ROUNDING);
    for (int64_t j = 0; j < count; j += stride) want[checked++] = difference(w, i, j, cotangent);
    double most = largest(want, checked);
    if (!(most > 1e-6)) fail_msg("%s: the gradient of input %d is nearly all zero: this proves nothing", op, i);
    for (int k = 0; k < checked; k++) {
        double is = op_element(&got->desc, got->data, k * stride) - (base ? (double)base[k * stride] : 0);
        if (!(fabs(is - want[k]) <= tolerance * most))
            fail_msg("%s: gradient of input %d, element %lld: got %.9g, finite differences say %.9g (largest %.3g)", op,
                     i, (long long)(k * stride), is, want[k], most);
    }
}

/* Inputs, outputs and a random cotangent on the tape, and something in the accumulators of parameters. */
struct ends {
    dg_value input[OP_INPUTS], output[DG_MAX_OUTPUTS], diff[DG_MAX_OUTPUTS];
    const float *base[OP_INPUTS];
    double *cotangent;
};

static void open_ends(struct world *w, struct tape *t, const struct op_result *result, struct ends *e)
{
    *e = (struct ends){0};
    for (int i = 0; i < w->num_inputs; i++) {
        e->input[i] = dg_absent(&w->desc[i]) ? DG_NO_VALUE : add_value(t, w->desc[i], w->data[i]);
        if (!w->wants[i] || i < w->given) continue;
        e->base[i] = make_numbers(NULL, &w->desc[i], "accumulator", w->run.bf16);
        t->gradient[e->input[i]] = add_value(t, w->desc[i], (void *)(uintptr_t)e->base[i]);
    }
    for (int o = 0; o < w->call.num_outputs; o++) {
        e->output[o] = add_value(t, result->desc[o], result->data[o]);
        e->diff[o] = DG_NO_VALUE;
    }
    const struct dg_desc *dst = &result->desc[0];
    const struct op_input one = {.data = &(double){1}}; /* a loss is an f64 and weighs one */
    bool loss = dst->dtype == DG_F64;
    e->diff[0] = add_value(t, *dst, make_numbers(loss ? &one : NULL, dst, "cotangent", w->run.bf16));
    e->cotangent = malloc((size_t)dg_desc_count(dst) * sizeof(double));
    assert_non_null(e->cotangent);
    for (int64_t j = 0; j < dg_desc_count(dst); j++) e->cotangent[j] = op_element(dst, t->value[e->diff[0]].data, j);
}

/* Takes what `result` holds. */
static void check_gradients(struct world *w, struct op_result *result)
{
    struct dg_error err = {0};
    struct tape *t = calloc(1, sizeof *t);
    struct ends e;
    assert_non_null(t);
    t->w = w;
    open_ends(w, t, result, &e);
    struct dg_grad_builder b = {.call = &w->call,
                                .input = e.input,
                                .output = e.output,
                                .diff_output = e.diff,
                                .wants = w->wants,
                                .compiler = t,
                                .emit = emit,
                                .gradient_so_far = gradient_so_far,
                                .set_gradient = set_gradient,
                                .add_gradient = add_gradient,
                                .err = &err};
    if (w->op->grad(&b) != DG_OK) fail_msg("%s: %s", w->c->op, err.text);
    for (int i = 0; i < w->num_inputs; i++)
        if (w->wants[i]) check_gradient(w, t, i, e.input[i], e.base[i], e.cotangent);
    free(e.cotangent);
    for (uint32_t v = 0; v < t->num_values; v++) {
        bool input = false;
        for (int i = 0; i < w->num_inputs; i++) input = input || e.input[i] == v;
        if (!input) free(t->value[v].data);
    }
    free(t);
}

static void gradient_mode(const struct op_case *c)
{
    struct world w;
    open_world(&w, c, false, 0);
    struct op_result result = op_run(&w.run);
    describe_outputs(&w, &result);
    check_gradients(&w, &result);
    close_world(&w);
}

/* --- bf16 --- */

/* Bit i: input i is there and may be bf16. */
static uint64_t may_be_bf16(const struct op_case *c)
{
    const struct dg_op *op = op_by_name(c->op);
    uint64_t inputs = 0;
    for (int n = 0; n < count_inputs(c); n++)
        if (dg_op_input_has(op, dg_op_num_inputs(op), place_of(c, n), DG_BF16_OK))
            inputs |= UINT64_C(1) << place_of(c, n);
    return inputs;
}

/* Does the op take inputs and make outputs that are stored so? */
static bool stores(const struct op_case *c, uint64_t inputs, uint32_t outputs)
{
    struct world w;
    struct dg_desc inferred[DG_MAX_OUTPUTS] = {{0}};
    bool wanted[DG_MAX_OUTPUTS], takes;
    struct dg_error err = {0};
    for (int o = 0; o < DG_MAX_OUTPUTS; o++) wanted[o] = true;
    open_world(&w, c, true, inputs);
    w.call.bf16 = true;
    w.call.num_outputs = dg_op_num_outputs(w.op);
    w.call.output_wanted = wanted;
    takes = dg_op_infer(&w.call, inferred, &err) == DG_OK;
    for (int o = 0; o < w.call.num_outputs && takes; o++) {
        struct dg_desc stored = inferred[o];
        if (outputs >> o & 1) stored.dtype = DG_BF16;
        takes = dg_op_stores(&w.call, o, &inferred[o], &stored);
    }
    close_world(&w);
    return takes;
}

static void bf16_mode(const struct op_case *c)
{
    const struct dg_op *op = op_by_name(c->op);
    int inputs = dg_op_num_inputs(op), outputs = dg_op_num_outputs(op), tried = 0;
    if (dg_bf16_support() == DG_BF16_NONE) {
        print_message("skipped: this CPU has no bf16\n");
        skip();
    }
    for (uint64_t in = 0; in < UINT64_C(1) << inputs; in++)
        for (uint32_t out = 0; out < 1u << outputs; out++) {
            bool may = !(in & ~may_be_bf16(c));
            for (int o = 0; o < outputs; o++) may = may && (!(out >> o & 1) || op->outputs[o].flags & DG_BF16_OK);
            if (!may || !stores(c, in, out)) continue;
            struct world w;
            open_world(&w, c, true, in);
            struct op_result result = run_value(&w, out);
            if (c->modes & OP_GRADIENT)
                check_gradients(&w, &result);
            else
                op_result_free(&result);
            close_world(&w);
            tried++;
        }
    assert_true(tried > 1); /* all in f32, and something in bf16 */
}

/* --- rows --- */

void op_unpack_rows(const struct dg_desc *desc, const int64_t *row_map, const void *packed, void *full)
{
    size_t bytes = (size_t)(dg_desc_bytes(desc) / desc->dim[0]);
    for (int64_t i = 0; i < desc->dim[0]; i++) {
        int64_t place = dg_row_places(row_map)[i];
        if (place >= 0) memcpy((char *)full + (size_t)i * bytes, (const char *)packed + (size_t)place * bytes, bytes);
    }
}

/* Both make the same sums, perhaps in another order; stored as bf16 they may fall on two sides of a rounding. */
static void check_rows(const struct world *w, const struct op_result *some, const struct op_result *all, int o,
                       const int64_t *row_map, int64_t images)
{
    const struct dg_desc *desc = &all->desc[o];
    bool packed = w->op->outputs[o].flags & DG_COMPACT;
    int64_t count = dg_desc_count(desc), image = count / images;
    double most = 0;
    for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(op_element(desc, all->data[o], k)));
    for (int64_t k = 0; k < count; k++) {
        int64_t place = packed ? dg_row_places(row_map)[k / image] : 0;
        if (place < 0) continue;
        double got = op_element(desc, some->data[o], packed ? place * image + k % image : k);
        double want = op_element(desc, all->data[o], k), ulp = dg_is_bf16(desc) ? 2 * bf16_half_ulp(want) : 0;
        if (!(fabs(got - want) <= 2 * w->c->f32 * most + ulp))
            fail_msg("%s: output %s, element %lld: %.9g of some images, %.9g of all (largest %.3g)", w->c->op,
                     w->op->outputs[o].name, (long long)k, got, want, most);
    }
}

struct op_result op_draw_rows(const struct op_run *like, double rate, int64_t images)
{
    struct op_run draw = *like;
    draw.op = op_drawing_rows()->name;
    draw.attr = NULL;
    memset(draw.input, 0, sizeof draw.input);
    memset(draw.attrs, 0, sizeof draw.attrs);
    op_set_attr(&draw, "rate", rate);
    op_set_attr(&draw, "images", (double)images);
    return op_run(&draw);
}

static void compare_rows(const struct op_case *c, double rate, bool bf16)
{
    const struct dg_op *op = op_by_name(c->op);
    struct world w;
    open_world(&w, c, bf16, bf16 ? may_be_bf16(c) : 0);
    int64_t images = w.desc[0].dim[0];
    w.run.view0 = 2;
    w.run.batch = images % 10 ? (int)images : 10;
    w.run.step.step = 4;
    for (int a = 0; a < dg_op_num_attrs(op); a++)
        if (!strcmp(op->attrs[a].name, "rate")) w.attr[a].f = rate; /* drop path's own: of the same draw */
    struct op_result drawn = op_draw_rows(&w.run, rate, images);
    struct op_run some = w.run, all = w.run;
    const char *rows = op->inputs[dg_op_row_map(op)].name;
    *op_input(&some, rows) = (struct op_tensor){rows, drawn.desc[0], drawn.data[0]};
    for (int i = 0; i < w.num_inputs; i++) {
        if (!dg_op_input_has(op, dg_op_num_inputs(op), i, DG_COMPACT) || dg_absent(&w.desc[i])) continue;
        all.input[i].data = calloc(1, (size_t)dg_desc_bytes(&w.desc[i]));
        assert_non_null(all.input[i].data);
        struct dg_desc by_image = w.desc[i];
        by_image.dim[0] = images; /* of tensors whose first dimension is rows */
        by_image.dim[1] = dg_desc_count(&w.desc[i]) / images;
        by_image.ndim = 2;
        op_unpack_rows(&by_image, drawn.data[0], w.data[i], all.input[i].data);
    }
    struct op_result of_some = op_run(&some), of_all = op_run(&all);
    for (int o = 0; o < dg_op_num_outputs(op); o++) check_rows(&w, &of_some, &of_all, o, drawn.data[0], images);
    for (int i = 0; i < w.num_inputs; i++)
        if (all.input[i].data != w.data[i]) free(all.input[i].data);
    op_result_free(&of_some);
    op_result_free(&of_all);
    op_result_free(&drawn);
    close_world(&w);
}

static void rows_mode(const struct op_case *c)
{
    static const double rates[] = {0.1, 0.5, 0.998};
    bool bf16 = op_modes(op_by_name(c->op)) & OP_BF16 && dg_bf16_support() != DG_BF16_NONE;
    for (int r = 0; r < 3; r++)
        for (int b = 0; b < 1 + bf16; b++) compare_rows(c, rates[r], b);
}

/* --- the programs --- */

/* A case in one mode, or a test of its own. */
struct entry {
    const struct op_case *c;
    enum op_mode mode;
    const struct op_test *test;
    char name[160];
};

static void name_case(struct entry *e)
{
    char text[96];
    size_t size = sizeof e->name, n = (size_t)snprintf(e->name, size, "%s %s", e->c->op, op_mode_name(e->mode));
    for (int i = 0; i < count_inputs(e->c) && n < size; i++)
        n += (size_t)snprintf(e->name + n, size - n, " %s", dg_desc_text(text, sizeof text, &e->c->input[i].desc));
    for (int a = 0; a < DG_MAX_ATTRS && e->c->attrs[a].name && n < size; a++)
        n += (size_t)snprintf(e->name + n, size - n, " %s=%g", e->c->attrs[a].name, e->c->attrs[a].value);
}

static void run_case(void **state)
{
    static void (*const run[])(const struct op_case *) = {value_mode, gradient_mode, rows_mode, bf16_mode};
    const struct entry *e = *state;
    unsigned mode = e->mode;
    if (!(op_modes(op_by_name(e->c->op)) & mode)) fail_msg("%s has no mode %s", e->c->op, op_mode_name(e->mode));
    int m = 0;
    while (mode >> m != 1) m++;
    run[m](e->c);
}

/* Name number `index` of a test's, or NULL. */
static const char *op_of_test(const struct op_test *test, int index, char name[64])
{
    const char *at = test->ops;
    while (index-- && at) at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
    if (!at || !*at) return NULL;
    snprintf(name, 64, "%.*s", (int)strcspn(at, " "), at);
    return name;
}

/* The test, and that it ran what it says. */
static void run_own(void **state)
{
    const struct entry *e = *state;
    char op[64];
    op_forget_runs();
    e->test->run(state);
    unsigned must = e->test->modes & (OP_VALUE | OP_ROWS | OP_BF16);
    if (dg_bf16_support() == DG_BF16_NONE) must &= ~(unsigned)OP_BF16;
    for (int i = 0; op_of_test(e->test, i, op); i++)
        for (unsigned m = 1; m < 1u << OP_MODES; m <<= 1)
            if (must & op_modes(op_by_name(op)) & m & ~op_runs_of(op))
                fail_msg("%s does not run %s in mode %s", e->name, op, op_mode_name(m));
}

static int list_modes(const struct op_case *cases, size_t num_cases, const struct op_test *tests, size_t num_tests)
{
    char op[64];
    for (unsigned m = 1; m < 1u << OP_MODES; m <<= 1) {
        for (size_t c = 0; c < num_cases; c++)
            if (cases[c].modes & m) printf("%s %s\n", cases[c].op, op_mode_name(m));
        for (size_t t = 0; t < num_tests; t++)
            for (int i = 0; tests[t].modes & m && op_of_test(&tests[t], i, op); i++)
                if (op_modes(op_by_name(op)) & m) printf("%s %s\n", op, op_mode_name(m));
    }
    return 0;
}

int op_main(int argc, char **argv, const struct op_case *cases, size_t num_cases, const struct op_test *tests,
            size_t num_tests)
{
    if (argc > 1 && !strcmp(argv[1], "--list")) return list_modes(cases, num_cases, tests, num_tests);
    size_t most = OP_MODES * num_cases + num_tests, count = 0;
    struct entry *entry = calloc(most, sizeof *entry);
    struct CMUnitTest *unit = calloc(most, sizeof *unit);
    if (!entry || !unit) return 1;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    for (size_t c = 0; c < num_cases; c++)
        for (unsigned m = 1; m < 1u << OP_MODES; m <<= 1) {
            if (!(cases[c].modes & m)) continue;
            entry[count] = (struct entry){.c = &cases[c], .mode = (enum op_mode)m};
            name_case(&entry[count]);
            unit[count] = (struct CMUnitTest){.name = entry[count].name, .test_func = run_case};
            count++;
        }
    for (size_t t = 0; t < num_tests; t++) {
        entry[count].test = &tests[t];
        snprintf(entry[count].name, sizeof entry[count].name, "%s", tests[t].name);
        unit[count] = (struct CMUnitTest){.name = entry[count].name, .test_func = run_own};
        count++;
    }
    for (size_t i = 0; i < count; i++) unit[i].initial_state = &entry[i];
    int failed = _cmocka_run_group_tests(argv[0], unit, count, NULL, NULL);
    free(entry);
    free(unit);
    return failed;
}

#include "runtime/exec/bench.h"

#include "ops/base/rng.h"
#include "runtime/exec/peak.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *value, int count)
{
    qsort(value, (size_t)count, sizeof *value, by_value);
    return count % 2 ? value[count / 2] : 0.5 * (value[count / 2 - 1] + value[count / 2]);
}

struct timing {
    double *node;
    bool counts;
    const struct dg_bench_observer *observer;
};

static void on_op(void *context, uint32_t op, double seconds)
{
    struct timing *timing = context;
    if (!timing->counts) return;
    timing->node[op] += seconds;
    if (timing->observer->op) timing->observer->op(timing->observer->context, op, seconds);
}

static void random_inputs(struct dg_session *session, const struct dg_plan *plan)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t i = 0; i < entry->num_inputs; i++) {
        uint32_t t = plan->operand[entry->first_input + i];
        float *data = dg_session_data(session, t);
        if (plan->tensor[t].dtype != DG_F32) continue; /* labels: zeros are some */
        struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, i + 1, 0);
        for (uint64_t e = 0; e < plan->tensor[t].bytes / sizeof *data; e++) data[e] = dg_rng_uniform(&rng, -2, 2);
    }
}

static int by_seconds(const void *a, const void *b)
{
    const struct dg_bench_op *x = a, *y = b;
    return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

static void sum_ops(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_bench_result *result)
{
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        const char *name = dg_plan_string(plan, op->op);
        int o = 0;
        while (o < result->num_ops && strcmp(result->op[o].name, name)) o++;
        if (o == result->num_ops) result->op[result->num_ops++] = (struct dg_bench_op){.name = name};
        result->op[o].nodes++;
        result->op[o].seconds += result->node_seconds[n];
        result->op[o].flops += op->flops;
        result->op[o].useful += op->useful;
        result->op[o].bytes += op->bytes;
        result->flops += op->flops;
        result->useful += op->useful;
    }
    qsort(result->op, (size_t)result->num_ops, sizeof *result->op, by_seconds);
}

/* One bench: a session, and a number for each step. */
struct bench {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;
    const struct dg_bench_observer *observer;
    struct dg_session *session;
    struct dg_peak *peak;
    bool has_peak;
    int steps;
    double *time; /* [steps] seconds */
    double *rate; /* [DG_PEAK_MATMULS, steps] FLOP/s */
};

static enum dg_status run_step(struct bench *b, int64_t step, struct dg_run_length length, double *seconds,
                               struct dg_error *err)
{
    struct dg_step_info info = {.step = step};
    dg_session_set_controls(b->session, b->knobs, step, length);
    double begin = dg_seconds_now();
    DG_TRY(dg_session_compute(b->session, &info, err));
    DG_TRY(dg_session_commit(b->session, &info, err));
    *seconds = dg_seconds_now() - begin;
    return DG_OK;
}

static enum dg_status run_steps(struct bench *b, struct dg_bench_result *result, struct dg_error *err)
{
    struct dg_run_length length = {.steps_per_epoch = 1000, .epochs = (int64_t)dg_knobs_value(b->knobs, "epochs", 1)};
    const struct dg_bench_observer *observer = b->observer;
    struct timing timing = {.node = result->node_seconds, .observer = observer};
    random_inputs(b->session, b->plan);
    DG_TRY(dg_session_initialize(b->session, 0, err));
    DG_TRY(dg_session_pack(b->session, err));
    dg_session_observe_ops(b->session, on_op, &timing);
    for (int s = -1; s < b->steps; s++) { /* one to warm up */
        double seconds;
        timing.counts = s >= 0;
        if (s >= 0 && observer->begin) observer->begin(observer->context, dg_session_threads(b->session));
        DG_TRY(run_step(b, s + 1, length, &seconds, err));
        if (s >= 0 && observer->end) observer->end(observer->context);
        if (s >= 0) b->time[s] = seconds;
        if (s >= 0) result->waited += dg_session_waited(b->session) / b->steps;
        for (int i = 0; i < DG_PEAK_MATMULS && b->peak; i++) {
            double now;
            DG_TRY(dg_peak_run(b->peak, i, &now, err));
            if (s >= 0) b->rate[i * b->steps + s] = now;
        }
    }
    return DG_OK;
}

static void sum_up(const struct bench *b, struct dg_bench_result *result)
{
    const struct dg_plan_entry *entry = dg_session_entry(b->session);
    for (uint32_t n = 0; n < entry->num_ops; n++) result->node_seconds[n] /= b->steps;
    for (int s = 0; s < b->steps; s++) result->mean += b->time[s] / b->steps;
    result->seconds = median(b->time, b->steps);
    result->best = b->time[0]; /* sorted by now */
    for (int i = 0; i < DG_PEAK_MATMULS; i++) {
        result->peak_of[i] = median(b->rate + i * b->steps, b->steps);
        if (result->peak_of[i] > result->peak) result->peak = result->peak_of[i];
    }
    sum_ops(b->plan, entry, result);
}

static enum dg_status measure(struct bench *b, struct dg_bench_result *result, struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(b->session);
    result->batch = entry->batch;
    result->dtype = dg_plan_type(entry);
    result->threads = dg_session_threads(b->session);
    result->memory = dg_session_memory(b->session);
    result->op = calloc(entry->num_ops + 1, sizeof *result->op);
    result->node_seconds = calloc(entry->num_ops + 1, sizeof *result->node_seconds);
    const struct dg_exchange *exchange = dg_session_exchange(b->session);
    result->range = calloc(exchange->num_ranges + 1, sizeof *result->range);
    b->time = calloc((size_t)b->steps, sizeof *b->time);
    b->rate = calloc((size_t)b->steps * DG_PEAK_MATMULS, sizeof *b->rate);
    if (!result->op || !result->node_seconds || !result->range || !b->time || !b->rate)
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    result->num_ranges = exchange->num_ranges;
    result->slices = exchange->slices;
    result->joins = exchange->joins;
    result->joined_bytes = exchange->joined_bytes;
    if (exchange->num_ranges) memcpy(result->range, exchange->range, exchange->num_ranges * sizeof *result->range);
    if (b->has_peak) DG_TRY(dg_peak_open(entry->dtype == DG_BF16, &b->peak, err));
    DG_TRY(run_steps(b, result, err));
    sum_up(b, result);
    return DG_OK;
}

enum dg_status dg_bench(const struct dg_plan *plan, const struct dg_knobs *knobs,
                        const struct dg_bench_options *options, struct dg_bench_result *result, struct dg_error *err)
{
    *result = (struct dg_bench_result){.steps = options->steps};
    static const struct dg_bench_observer none = {0};
    struct bench b = {.plan = plan,
                      .knobs = knobs,
                      .observer = options->observer ? options->observer : &none,
                      .has_peak = options->peak,
                      .steps = options->steps};
    struct dg_session_options session = {
        .threads = options->threads, .log = options->log, .comm = options->comm, .one_of_many = options->one_of_many};
    DG_TRY(dg_session_open(plan, options->entry, &session, &b.session, err));
    enum dg_status status = measure(&b, result, err);
    dg_peak_close(b.peak);
    free(b.time);
    free(b.rate);
    dg_session_close(b.session);
    if (status != DG_OK) dg_bench_free(result);
    return status;
}

void dg_bench_free(struct dg_bench_result *result)
{
    free(result->op);
    free(result->node_seconds);
    free(result->range);
    *result = (struct dg_bench_result){0};
}

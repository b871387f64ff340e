#include "runtime/exec/bench.h"

#include "ops/base/rng.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/bf16.h"
#include "runtime/base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { PEAKS = 2, REPEATS = 3 };

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

/* --- the peak: plain matmuls --- */

struct peak {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct dg_gemm gemm[PEAKS];
    double flops[PEAKS];
    void *src, *weights, *dst;
    void *scratch;
    int64_t bytes[4];
};

static void close_peak(struct peak *peak)
{
    for (int r = 0; r < PEAKS; r++) dg_gemm_close(&peak->gemm[r]);
    if (peak->stream) dnnl_stream_destroy(peak->stream);
    if (peak->engine) dnnl_engine_destroy(peak->engine);
    dg_region_free(peak->src, peak->bytes[0]);
    dg_region_free(peak->weights, peak->bytes[1]);
    dg_region_free(peak->dst, peak->bytes[2]);
    dg_region_free(peak->scratch, peak->bytes[3]);
}

/* Matmuls of the entry's type, plain row-major. The bytes are those of f32 in both cases: in bf16 half of them are used. */
static enum dg_status open_peak(struct peak *peak, bool bf16, struct dg_error *err)
{
    static const int64_t shape[PEAKS][3] = {{2048, 2048, 2048}, {3152, 1536, 384}};
    if (dnnl_engine_create(&peak->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&peak->stream, peak->engine, dnnl_stream_default_flags) != dnnl_success)
        return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN has no CPU engine here");
    for (int r = 0; r < PEAKS; r++) {
        int64_t m = shape[r][0], n = shape[r][1], k = shape[r][2];
        struct dg_gemm_spec spec = {
            .m = m, .n = n, .k = k, .weights_row = n, .weights_col = 1, .bf16 = bf16, .bf16_dst = bf16};
        DG_TRY(dg_gemm_open(peak->engine, &spec, &peak->gemm[r], err));
        peak->flops[r] = 2.0 * (double)m * (double)n * (double)k;
        peak->bytes[0] = dg_max_i64(peak->bytes[0], m * k * 4);
        peak->bytes[1] = dg_max_i64(peak->bytes[1], n * k * 4);
        peak->bytes[2] = dg_max_i64(peak->bytes[2], m * n * 4);
        peak->bytes[3] = dg_max_i64(peak->bytes[3], peak->gemm[r].scratch_bytes + 64);
    }
    void *region[4] = {0};
    enum dg_status status = DG_OK;
    for (int i = 0; i < 4 && status == DG_OK; i++)
        status = dg_region_alloc("the matmuls to compare with", peak->bytes[i], &region[i], err);
    peak->src = region[0];
    peak->weights = region[1];
    peak->dst = region[2];
    peak->scratch = region[3];
    DG_TRY(status);
    struct dg_rng rng = dg_rng_open(0, DG_RNG_TEST, 0, 0);
    void *operand[] = {peak->src, peak->weights};
    for (int o = 0; o < 2; o++)
        for (int64_t i = 0; i < peak->bytes[o] / 4; i++) dg_put(operand[o], bf16, i, dg_rng_uniform(&rng, -1, 1));
    return DG_OK;
}

/* FLOP/s of one of them: the best of a few in a row, as the machine can do it. */
static enum dg_status run_peak(struct peak *peak, int r, double *rate, struct dg_error *err)
{
    *rate = 0;
    for (int i = 0; i < REPEATS; i++) {
        double begin = dg_seconds_now();
        DG_TRY(
            dg_gemm_run(&peak->gemm[r], peak->stream, peak->src, peak->weights, NULL, peak->dst, peak->scratch, err));
        double now = peak->flops[r] / (dg_seconds_now() - begin);
        if (now > *rate) *rate = now;
    }
    return DG_OK;
}

/* --- the step --- */

struct timing {
    double *node;
    bool counts;
};

static void on_op(void *context, uint32_t op, double seconds)
{
    struct timing *timing = context;
    if (timing->counts) timing->node[op] += seconds;
}

static void random_inputs(struct dg_session *session, const struct dg_plan *plan)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t i = 0; i < entry->num_inputs; i++) {
        uint32_t t = plan->operand[entry->first_input + i];
        float *data = dg_session_data(session, t);
        if (plan->tensor[t].dtype != DG_F32) continue; /* labels: zeros are some */
        struct dg_rng rng = dg_rng_open(0, DG_RNG_TEST, i + 1, 0);
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

static enum dg_status measure(const struct dg_plan *plan, const struct dg_knobs *knobs, struct dg_session *session,
                              struct peak *peak, int steps, double *time, double *rate, struct dg_bench_result *result,
                              struct dg_error *err)
{
    struct dg_run_length length = {.steps_per_epoch = 1000, .epochs = (int64_t)dg_knobs_value(knobs, "epochs", 1)};
    struct timing timing = {.node = result->node_seconds};
    random_inputs(session, plan);
    DG_TRY(dg_session_initialize(session, 0, err));
    DG_TRY(dg_session_pack(session, err));
    dg_session_observe_ops(session, on_op, &timing);
    for (int s = -1; s < steps; s++) { /* one to warm up */
        struct dg_step_info info = {.step = s + 1};
        timing.counts = s >= 0;
        dg_session_set_controls(session, knobs, s + 1, length);
        double begin = dg_seconds_now();
        DG_TRY(dg_session_compute(session, &info, err));
        DG_TRY(dg_session_commit(session, &info, err));
        if (s >= 0) time[s] = dg_seconds_now() - begin;
        for (int r = 0; r < PEAKS; r++) {
            double now;
            DG_TRY(run_peak(peak, r, &now, err));
            if (s >= 0) rate[r * steps + s] = now;
        }
    }
    for (uint32_t n = 0; n < dg_session_entry(session)->num_ops; n++) result->node_seconds[n] /= steps;
    result->seconds = median(time, steps);
    result->best = time[0]; /* sorted by now */
    for (int r = 0; r < PEAKS; r++) result->peak_of[r] = median(rate + r * steps, steps);
    result->peak = result->peak_of[0] > result->peak_of[1] ? result->peak_of[0] : result->peak_of[1];
    return DG_OK;
}

enum dg_status dg_bench(const struct dg_plan *plan, const struct dg_knobs *knobs, const char *entry, int steps,
                        int threads, struct dg_bench_result *result, struct dg_error *err)
{
    *result = (struct dg_bench_result){.steps = steps};
    struct dg_session *session;
    DG_TRY(dg_session_open(plan, entry, &(struct dg_session_options){.threads = threads}, &session, err));
    const struct dg_plan_entry *record = dg_session_entry(session);
    struct peak peak = {0};
    result->batch = record->batch;
    result->dtype = dg_dtype_name((enum dg_dtype)record->dtype);
    result->threads = dg_session_threads(session);
    result->memory = dg_session_memory(session);
    result->op = calloc(record->num_ops + 1, sizeof *result->op);
    result->node_seconds = calloc(record->num_ops + 1, sizeof *result->node_seconds);
    double *time = calloc((size_t)steps, sizeof *time), *rate = calloc((size_t)steps * PEAKS, sizeof *rate);
    enum dg_status status = DG_ERR_MEMORY;
    if (!result->op || !result->node_seconds || !time || !rate)
        dg_fail(err, status, "out of memory");
    else
        status = open_peak(&peak, record->dtype == DG_BF16, err);
    if (status == DG_OK) status = measure(plan, knobs, session, &peak, steps, time, rate, result, err);
    if (status == DG_OK) sum_ops(plan, record, result);
    close_peak(&peak);
    free(time);
    free(rate);
    dg_session_close(session);
    if (status != DG_OK) dg_bench_free(result);
    return status;
}

void dg_bench_free(struct dg_bench_result *result)
{
    free(result->op);
    free(result->node_seconds);
    *result = (struct dg_bench_result){0};
}

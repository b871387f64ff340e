/* How fast an entry runs on this machine, beside the machine's peak. */
#ifndef DG_RUNTIME_EXEC_BENCH_H
#define DG_RUNTIME_EXEC_BENCH_H

#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"

/* One op kind of the entry, summed over its nodes. */
struct dg_bench_op {
    const char *name;
    int nodes;
    double seconds;       /* a step */
    double flops, useful; /* a step */
    double bytes;         /* read and written, a step */
};

struct dg_bench_result {
    int steps;
    double seconds, best; /* a step: median and least */
    double mean;          /* a step: what the times of ops add up to, with what is between them */
    double flops, useful; /* a step; useful: linear, convolution and attention, without recomputation */
    double peak;          /* FLOP/s of the better of two plain matmuls, run between the steps (runtime/exec/peak.h) */
    double peak_of[2];    /* each of them: the median */
    int64_t batch;
    const char *dtype; /* as dg_plan_type() */
    int threads;
    struct dg_session_memory memory;
    struct dg_bench_op *op; /* slowest first; owned */
    int num_ops;
    double *node_seconds; /* [ops of the entry], a step; owned */
    /* Of a plan for several processes: what they exchange, in order (owned), and what each step waited for it on
     * average. */
    struct dg_exchange_range *range;
    uint32_t num_ranges;
    double waited;
    int64_t slices, joins, joined_bytes; /* as in struct dg_exchange */
};

/* Is told of each step that is timed: where it begins, after each op, and where it ends. Functions may be NULL. */
struct dg_bench_observer {
    void (*begin)(void *context, int threads);
    dg_op_observer *op;
    void (*end)(void *context);
    void *context;
};

struct dg_bench_options {
    const char *entry;
    int steps, threads;                       /* threads 0: all */
    const struct dg_log *log;                 /* NULL: none; traces of ops cost time that is measured, too */
    const struct dg_bench_observer *observer; /* NULL: none */
    struct dg_comm *comm;                     /* the processes that share each batch; NULL: there is one */
    bool one_of_many;                         /* as in struct dg_session_options */
    bool peak; /* also runs both matmuls after each step; otherwise the result's peak and peak_of are 0 */
};

/* Runs `steps` whole steps (compute and commit) of the entry on random input after one to warm up. Of several processes
 * each measures itself, and all have to call. */
enum dg_status dg_bench(const struct dg_plan *plan, const struct dg_knobs *knobs,
                        const struct dg_bench_options *options, struct dg_bench_result *result, struct dg_error *err);
void dg_bench_free(struct dg_bench_result *result);

#endif

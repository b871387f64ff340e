/* How fast an entry runs on this machine, and how much of the machine that is. */
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
    double flops, useful; /* a step; useful: linear, convolution, attention, recomputation not */
    double peak;       /* FLOP/s of the better of two plain matmuls, 2048^3 and 3152x1536x384, run between the steps */
    double peak_of[2]; /* each of them: the median */
    int64_t batch;
    const char *dtype; /* "f32", "bf16" */
    int threads;
    struct dg_session_memory memory;
    struct dg_bench_op *op; /* slowest first; owned */
    int num_ops;
    double *node_seconds; /* [ops of the entry], a step; owned */
};

/* Runs `steps` whole steps (compute and commit) of the entry on random input after one to warm up, each followed by both
 * matmuls. */
enum dg_status dg_bench(const struct dg_plan *plan, const struct dg_knobs *knobs, const char *entry, int steps,
                        int threads, struct dg_bench_result *result, struct dg_error *err);
void dg_bench_free(struct dg_bench_result *result);

#endif

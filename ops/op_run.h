/* Preparing and running an op on memory. */
#ifndef DG_OPS_OP_RUN_H
#define DG_OPS_OP_RUN_H

#include "ops/op_call.h"

/* Values that change from step to step and are not tensors. */
struct dg_step_info {
    uint64_t seed;
    int64_t step;  /* from 0 */
    int64_t slice; /* index of the slice of the batch, from 0 */
    /* Where processes share a batch, an input may hold this process's slices only: so many of them, from this one on; 0: all. */
    int64_t input_slices, input_first;
};

/* Filled by `prepare`. Everything but the out fields is input. */
struct dg_prepare {
    const struct dg_op_call *call;
    int threads;
    void *engine;     /* dnnl_engine_t */
    uint64_t stream;  /* FNV-1a of the node's path: its random stream */
    int view0, batch; /* row r of the leading dimension is image r % batch of view view0 + r / batch; where the batch
                              is cut, of a slice of `batch` images, the first of which is image slice * batch of the step */
    bool constant_params;  /* an evaluation entry: parameters do not change between runs, so `pack` may be used */
    int64_t scratch_bytes; /* out: needed during run, 64-byte aligned, shared between ops */
    int64_t packed_bytes;  /* out: retained between runs, filled by `pack`; only with constant_params */
    /* out: hash of all that the packed weights depend on besides the parameters, the kind of op and packed_bytes; 0: not known */
    uint64_t packed_layout;
    void *state; /* out: freed by `release` */
};

/* A row map says which images of an application survive drop path: their number n, then for each image its place among the
 * survivors or -1, then the survivors' images in order (-1 behind the n-th). An op whose input it is runs on the survivors only:
 * its operands with DG_COMPACT hold their rows one behind the other, and behind those anything. */
static inline int64_t dg_row_map_size(int64_t images) { return 1 + 2 * images; }
static inline int64_t dg_row_map_images(int64_t size) { return (size - 1) / 2; }
/* These take a map or NULL, which means that all images are there. */
static inline int64_t dg_survivors(const int64_t *rows, int64_t images) { return rows ? rows[0] : images; }
static inline const int64_t *dg_row_places(const int64_t *rows) { return rows ? rows + 1 : NULL; }
static inline const int64_t *dg_row_images(const int64_t *rows, int64_t images)
{
    return rows ? rows + 1 + images : NULL;
}

/* The processes that share a step, for ops that see the rows of all of them. */
struct dg_peers {
    /* all [ranks, bytes] = `mine` [bytes] of each, in the order of ranks. All of them call it for the same op at the same time. */
    enum dg_status (*gather)(void *context, const void *mine, int64_t bytes, void *all, struct dg_error *err);
    void *context;
};

struct dg_run {
    void *state;
    void *const *input;  /* pointer per input; NULL for absent ones */
    void *const *output; /* pointer per output; NULL for unwanted ones */
    void *scratch, *packed;
    void *stream; /* dnnl_stream_t */
    const struct dg_step_info *step;
    const struct dg_peers *peers; /* set where the call has ranks */
    int threads;
};

/* A zeroed state for `prepare`, set as p->state; NULL with err when memory is out. */
void *dg_op_state(struct dg_prepare *p, size_t size, struct dg_error *err);
/* A `prepare` for ops whose state is struct dg_op_count: the number of elements of their first output, of how many images they
 * are, and whether they are bf16. */
struct dg_op_count {
    int64_t count, images;
    bool bf16;
};
enum dg_status dg_op_prepare_count(struct dg_prepare *p, struct dg_error *err);
/* Reserves `bytes` of scratch behind what was asked for so far; returns its offset from the scratch pointer. */
int64_t dg_op_scratch(struct dg_prepare *p, int64_t bytes);

/* dst = acc, which may be dst; zeros where it is NULL. */
void dg_begin_sum(float *dst, const float *acc, int64_t count);

#endif

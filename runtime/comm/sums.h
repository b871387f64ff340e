/* Sums over processes, made over a plugin's movement of bytes. */
#ifndef DG_RUNTIME_COMM_SUMS_H
#define DG_RUNTIME_COMM_SUMS_H

#include "runtime/base/log.h"
#include "runtime/comm/plugin.h"

enum dg_sum_kind {
    DG_SUM_F32,
    DG_SUM_F64,
    DG_SUM_GRADIENTS, /* f32 that may travel as bf16 */
};

/* Processes that add up their numbers in the order of their ranks among each other. */
struct dg_sums_level {
    enum dg_mpi_group group;
    int ranks, rank;
    bool bf16;               /* gradients travel as bf16 */
    char *piece;             /* [ranks, a piece]: what others send of this process's piece */
    char *sum;               /* [a piece] */
    uint16_t *rounded;       /* [the numbers of a chunk] for bf16; else NULL */
    int *bytes, *at;         /* [ranks]: the pieces of all */
    int *own_bytes, *own_at; /* [ranks]: this process's piece, as of each rank */
    int64_t allocated;       /* bytes of all buffers */
    int64_t sent;            /* bytes that have left this process so far */
};

/* One level: all processes. Two: those of a machine, and then each of them with those of its place on the other
 * machines, which have as many processes each; what one adds up at the first level is what it adds up with others at
 * the second. */
struct dg_sums {
    const struct dg_mpi_plugin *mpi;
    int levels;
    struct dg_sums_level level[2];
};

/* Buffers of the levels, whose group, ranks, rank and bf16 are set. DG_ERR_MEMORY. */
enum dg_status dg_sums_open(struct dg_sums *sums, struct dg_error *err);
void dg_sums_close(struct dg_sums *sums);

/* data [count] = its sum over all processes, the same bits on each. False: a call of the plugin failed. */
bool dg_sums_add(struct dg_sums *sums, void *data, int64_t count, enum dg_sum_kind kind);

/* Bytes of the buffers. */
int64_t dg_sums_bytes(const struct dg_sums *sums);

#endif

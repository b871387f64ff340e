/* This process among others that train the same model: how many there are, and what they exchange.
 *
 * Processes are started by a launcher of MPI (mpirun, srun). The MPI library is no dependency: a plugin is linked
 * with it (runtime/comm/plugin.h), and opened where a launcher's variables say that there are other processes.
 * Without them every function takes NULL for the communicator and means one process.
 *
 * Sums are made here, in the order of ranks, over MPI's movement of bytes: element by element x0 + x1 + ... in the
 * type of the array. So their bits depend on the number of processes alone, not on the library, its version, the
 * transport or where processes run. Other ways to make them (enum dg_reduce, bf16) are the user's choice, and change
 * bits. All functions but the small questions are collective: every process calls them in the same order. One thread
 * calls them; a thread of the communicator, the courier, makes all calls of MPI, so that sums that were started go
 * on beside the computation. */
#ifndef DG_RUNTIME_COMM_COMM_H
#define DG_RUNTIME_COMM_COMM_H

#include "runtime/base/log.h"

struct dg_comm;

/* Who adds up, and in which order. */
enum dg_reduce {
    DG_REDUCE_RANKS,    /* in the order of ranks */
    DG_REDUCE_MACHINES, /* within machines in the order of ranks, then over machines in the order of their lowest ranks */
    DG_REDUCE_LIBRARY, /* the library's own all-reduce; bits then depend on it */
};

/* How sums are made. Those of rank 0 are those of all. */
struct dg_comm_sums {
    enum dg_reduce reduce;
    int together; /* DG_REDUCE_MACHINES: so many neighbouring ranks are taken for a machine; 0: those that share memory */
    /* Gradients travel as bf16, with DG_REDUCE_MACHINES between machines: numbers are rounded to bf16, added in f32,
     * and their sum is rounded once more, on every process the same. Not with DG_REDUCE_LIBRARY. */
    bool bf16;
};

struct dg_comm_options {
    double stall_limit; /* seconds that a call waits for others before it fails; 0: without end */
    struct dg_comm_sums sums;
    const struct dg_log *log; /* NULL: none */
};

/* The number of processes that the launcher has started, by its variables; 1 without one. No MPI is opened. */
int dg_comm_launched(void);

/* Joins the other processes. *comm is NULL and there is no error where there are none. DG_ERR_UNSUPPORTED: this
 * build has no plugin for the launcher's MPI, or the launcher is of another family than its library (the text names
 * the package or command); DG_ERR_USAGE: sums cannot be made as asked; DG_ERR_IO: MPI failed. Afterwards all agree
 * on the number of processes. */
enum dg_status dg_comm_open(const struct dg_comm_options *options, struct dg_comm **comm, struct dg_error *err);

/* Waits for the others and leaves. NULL is fine. */
void dg_comm_close(struct dg_comm *comm);

/* Ends all processes with the status, for failures that the others cannot know of. NULL: ends this one. */
void dg_comm_abort(struct dg_comm *comm, int status) __attribute__((noreturn));

int dg_comm_rank(const struct dg_comm *comm);  /* from 0 */
int dg_comm_ranks(const struct dg_comm *comm); /* 1 or more */
/* The machine that a rank runs on. */
const char *dg_comm_host(const struct dg_comm *comm, int rank);
/* "Open MPI 4.1.4". */
const char *dg_comm_library(const struct dg_comm *comm);
/* "ranks", "machines" or "mpi". */
const char *dg_reduce_name(enum dg_reduce reduce);
/* With DG_REDUCE_MACHINES: how many processes add up before machines do; else 1. */
int dg_comm_together(const struct dg_comm *comm);
/* How sums are made, for the user: "in the order of ranks". Returns `text`. */
const char *dg_comm_sums_text(const struct dg_comm *comm, char *text, size_t size);
/* Bytes that this process has sent for sums so far, and of them those between machines, which with other orders than
 * DG_REDUCE_MACHINES are all; 0 with DG_REDUCE_LIBRARY, where it is not known. */
struct dg_comm_sent {
    int64_t all, between;
};
struct dg_comm_sent dg_comm_sent(const struct dg_comm *comm);
/* Bytes that sums take besides what they sum up, 0 for one process. */
int64_t dg_comm_bytes(const struct dg_comm *comm);

/* Whether a collective call has failed: the other processes may wait for this one, and dg_comm_abort is all that is
 * left. */
bool dg_comm_failed(const struct dg_comm *comm);

/* This process lacks memory for a collective call that the others make: that call and all later ones have failed. Sets
 * *err, and returns its status. */
enum dg_status dg_comm_fail_alone(struct dg_comm *comm, const char *text, struct dg_error *err);

/* data [count] of f32 or f64 = its sum over all processes, the same bits on each. DG_ERR_IO, as of the next two: MPI
 * failed, or the others did not come within the stall limit; the process can only end then. */
enum dg_status dg_comm_sum(struct dg_comm *comm, void *data, int64_t count, bool f64, struct dg_error *err);

/* Starts such a sum and returns; the array must stay as it is until dg_comm_wait. Sums are made in the order in
 * which they were started. */
void dg_comm_start_sum(struct dg_comm *comm, void *data, int64_t count, bool f64);
/* The same for f32 that may travel as bf16, if that was asked for. */
void dg_comm_start_gradients(struct dg_comm *comm, float *data, int64_t count);

/* Waits for all sums that were started. */
enum dg_status dg_comm_wait(struct dg_comm *comm, struct dg_error *err);

/* data [bytes] of rank 0 goes to all. */
enum dg_status dg_comm_broadcast(struct dg_comm *comm, void *data, int64_t bytes, struct dg_error *err);

/* all [ranks, bytes] = `mine` [bytes] of every process, in the order of ranks; up to 1 MiB. */
enum dg_status dg_comm_gather(struct dg_comm *comm, const void *mine, int64_t bytes, void *all, struct dg_error *err);
/* The same in the middle of a step: beside sums that were started, and does not wait for them. */
enum dg_status dg_comm_gather_beside(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                     struct dg_error *err);

#endif

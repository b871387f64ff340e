/* What the processes of one training run agree on once it goes: before each step, whether to take it; that their
 * parameters are equal; and after a failure, whose it was. With one process (a NULL communicator) each function only
 * says what this process knows. */
#ifndef DG_RUNTIME_TRAIN_RANKS_H
#define DG_RUNTIME_TRAIN_RANKS_H

#include "runtime/comm/agree.h"
#include "runtime/data/bad_set.h"
#include "runtime/exec/session.h"

/* What each process had to do in the last steps: a slow one makes all wait. */
struct dg_rank_times {
    double *busy; /* [ranks] sums over steps, in seconds; owned */
    int64_t steps;
    bool said;
};
/* Every DG_RANK_TIMED steps, and once in a run: warns of the slowest process, if it takes a tenth more than the
 * middle one. */
enum { DG_RANK_TIMED = 100 };
void dg_ranks_find_slow(const struct dg_comm *comm, struct dg_rank_times *times, const struct dg_log *log);

/* What the processes agree on before a step. */
struct dg_rank_step {
    int64_t step;
    bool stop;                   /* this process was asked to stop; afterwards: any of them was */
    bool save;                   /* this process wants a checkpoint after the step; afterwards: any of them does */
    bool apart;                  /* afterwards: parameters or states differ */
    double busy;                 /* seconds that this process had to do in the last step, without waiting for others */
    struct dg_rank_times *times; /* receives those of all; NULL: nobody asks */
    struct dg_bad_set *bad;      /* of this process's images; afterwards also what others have found. NULL: none */
    void *records;               /* [dg_ranks_records_bytes] to work in: steps allocate nothing */
};
int64_t dg_ranks_records_bytes(const struct dg_comm *comm);

/* Collective, before a step: dg_comm_agree, and whether to stop. Each step compares another 1/DG_RANK_SHARES of all
 * parameters and states by their hashes: a difference is found within so many steps, and is DG_ERR_NUMERIC, as by
 * dg_ranks_compare. */
enum { DG_RANK_SHARES = 128 };
enum dg_status dg_ranks_before_step(struct dg_comm *comm, const struct dg_session *session, struct dg_rank_step *agreed,
                                    enum dg_status status, struct dg_error *err);

/* Collective: compares all parameters and states. DG_ERR_NUMERIC: they are not the same on all processes; the text
 * names the first tensor that differs, and the rank whose values are others than those of most. */
enum dg_status dg_ranks_compare(struct dg_comm *comm, const struct dg_session *session, struct dg_error *err);

/* Collective: rank 0 does `work`, which may take long, and the others wait. It says every now and then that it is
 * still at it, so the stall limit is for a process that is gone. */
enum dg_status dg_ranks_hold(struct dg_comm *comm, void (*work)(void *context), void *context, struct dg_error *err);

/* Collective: of what each process says of a fault at a place (runtime/exec/fault.h), the text of the earliest, of
 * the lowest rank; a batch norm spreads a fault to all. */
enum dg_status dg_ranks_fault(struct dg_comm *comm, int64_t place, char *text, size_t size, struct dg_error *err);

#endif

/* What processes that share a step's slices exchange: its sums over slices, in ranges that leave as soon as they are
 * complete. */
#ifndef DG_RUNTIME_EXEC_EXCHANGE_H
#define DG_RUNTIME_EXEC_EXCHANGE_H

#include "runtime/comm/comm.h"
#include "runtime/plan/view.h"

/* Sums over slices that follow each other in memory and are of one type: complete after op `ready` (its number
 * within the entry) of a process's last slice. */
struct dg_exchange_range {
    uint64_t offset; /* in DG_REGION_STEP */
    int64_t count;   /* numbers, with what is between two tensors */
    bool f64;        /* else f32 */
    bool gradients;  /* all of them */
    uint32_t ready;
};

static inline int64_t dg_exchange_bytes(const struct dg_exchange_range *range)
{
    return range->count * (range->f64 ? 8 : 4);
}

struct dg_exchange {
    int64_t first_slice, slices;     /* of each batch, that this process computes */
    struct dg_exchange_range *range; /* [num_ranges], in the order in which they are complete; owned */
    uint32_t num_ranges;             /* 0 for plans that were made for one process */
    /* In the middle of a slice: gathers of ops that see the rows of all processes, and the bytes that they send to
     * each of them. */
    int64_t joins, joined_bytes;
};

/* DG_ERR_USAGE: the entry's step cannot be shared by so many processes; the text says what can. `comm` may be NULL:
 * one. Where ops see the rows of all processes there must be as many as the plan was made for. */
enum dg_status dg_exchange_check(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                 const struct dg_comm *comm, struct dg_error *err);

/* Sets *exchange for this process, but for its joins; with `one_of_many`, without comm, for the first of those that
 * see each other's rows. DG_ERR_USAGE as above, DG_ERR_MEMORY. Freed by dg_exchange_free, also after a failure. */
enum dg_status dg_exchange_init(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                const struct dg_comm *comm, bool one_of_many, struct dg_exchange *exchange,
                                struct dg_error *err);
void dg_exchange_free(struct dg_exchange *exchange);

#endif

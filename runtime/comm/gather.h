/* Gathers of any length, and into memory of their own; a process that has none for them fails alone
 * (dg_comm_fail_alone). */
#ifndef DG_RUNTIME_COMM_GATHER_H
#define DG_RUNTIME_COMM_GATHER_H

#include "runtime/comm/comm.h"

/* all [ranks, bytes] = `mine` [bytes] of every process, in the order of ranks. Collective, as the next ones. */
enum dg_status dg_comm_gather_long(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                   struct dg_error *err);
/* The same in the middle of a step (dg_comm_gather_beside). */
enum dg_status dg_comm_gather_long_beside(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                          struct dg_error *err);

/* The same of up to 1 MiB, into *all, to be freed; NULL after a failure. */
enum dg_status dg_comm_gather_new(struct dg_comm *comm, const void *mine, int64_t bytes, void **all,
                                  struct dg_error *err);

/* Each process gives as many bytes as it has. *all receives those of rank 0, then of rank 1, ..., and *length [ranks]
 * how many each gave, both to be freed; NULL after a failure. */
enum dg_status dg_comm_gather_each(struct dg_comm *comm, const void *mine, int64_t bytes, void **all, int64_t **length,
                                   struct dg_error *err);

#endif

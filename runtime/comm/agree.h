/* One status of all processes. */
#ifndef DG_RUNTIME_COMM_AGREE_H
#define DG_RUNTIME_COMM_AGREE_H

#include "runtime/comm/comm.h"

/* Collective: DG_OK if `status` is DG_OK everywhere; else the failure of the lowest rank that failed, with rank and
 * machine, in all processes. Where this process failed, *err has its failure already. */
enum dg_status dg_comm_agree(struct dg_comm *comm, enum dg_status status, struct dg_error *err);

/* *err becomes the failure of a rank, "rank 3 (node-c): `text`", and its status is returned. */
enum dg_status dg_comm_fail(const struct dg_comm *comm, int rank, enum dg_status status, const char *text,
                            struct dg_error *err);

#endif

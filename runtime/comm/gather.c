#include "runtime/comm/gather.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 20 }; /* the longest gather at once */

typedef enum dg_status gather_fn(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                 struct dg_error *err);

static enum dg_status gather_by(gather_fn *gather, struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                struct dg_error *err)
{
    if (bytes <= PIECE || !comm) return gather(comm, mine, bytes, all, err);
    int ranks = dg_comm_ranks(comm);
    char *piece = malloc((size_t)ranks * PIECE);
    if (!piece) return dg_comm_fail_alone(comm, "out of memory", err);
    enum dg_status status = DG_OK;
    for (int64_t at = 0; at < bytes && status == DG_OK; at += PIECE) {
        int64_t length = dg_min_i64(PIECE, bytes - at);
        status = gather(comm, (const char *)mine + at, length, piece, err);
        for (int r = 0; r < ranks && status == DG_OK; r++)
            memcpy((char *)all + r * bytes + at, piece + r * length, (size_t)length);
    }
    free(piece);
    return status;
}

enum dg_status dg_comm_gather_long(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                   struct dg_error *err)
{
    return gather_by(dg_comm_gather, comm, mine, bytes, all, err);
}

enum dg_status dg_comm_gather_long_beside(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                          struct dg_error *err)
{
    return gather_by(dg_comm_gather_beside, comm, mine, bytes, all, err);
}

enum dg_status dg_comm_gather_new(struct dg_comm *comm, const void *mine, int64_t bytes, void **all,
                                  struct dg_error *err)
{
    *all = calloc((size_t)dg_comm_ranks(comm), (size_t)bytes);
    if (!*all) return dg_comm_fail_alone(comm, "out of memory", err);
    enum dg_status status = dg_comm_gather(comm, mine, bytes, *all, err);
    if (status != DG_OK) {
        free(*all);
        *all = NULL;
    }
    return status;
}

/* *padded [ranks, most] receives what each has, of which length [ranks] counts. */
static enum dg_status gather_padded(struct dg_comm *comm, const void *mine, const int64_t *length, int64_t most,
                                    char **padded, struct dg_error *err)
{
    int64_t bytes = length[dg_comm_rank(comm)];
    char *own = calloc(1, (size_t)most + 1);
    *padded = malloc((size_t)(dg_comm_ranks(comm) * most) + 1);
    enum dg_status status = own && *padded ? DG_OK : dg_comm_fail_alone(comm, "out of memory", err);
    if (status == DG_OK && bytes) memcpy(own, mine, (size_t)bytes);
    if (status == DG_OK) status = dg_comm_gather_long(comm, own, most, *padded, err);
    free(own);
    return status;
}

enum dg_status dg_comm_gather_each(struct dg_comm *comm, const void *mine, int64_t bytes, void **all, int64_t **length,
                                   struct dg_error *err)
{
    int64_t most = 0, at = 0;
    int ranks = dg_comm_ranks(comm);
    char *padded = NULL;
    *all = NULL;
    DG_TRY(dg_comm_gather_new(comm, &bytes, sizeof bytes, (void **)length, err));
    for (int r = 0; r < ranks; r++) most = dg_max_i64(most, (*length)[r]);
    enum dg_status status = gather_padded(comm, mine, *length, most, &padded, err);
    if (status != DG_OK) {
        free(padded);
        free(*length);
        *length = NULL;
        return status;
    }
    for (int r = 0; r < ranks; r++) {
        memmove(padded + at, padded + r * most, (size_t)(*length)[r]);
        at += (*length)[r];
    }
    *all = padded;
    return DG_OK;
}

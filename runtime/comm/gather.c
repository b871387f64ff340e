#include "runtime/comm/gather.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 20 }; /* the longest gather at once */

enum dg_status dg_comm_gather_long(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                   struct dg_error *err)
{
    if (bytes <= PIECE || !comm) return dg_comm_gather(comm, mine, bytes, all, err);
    int ranks = dg_comm_ranks(comm);
    char *piece = malloc((size_t)ranks * PIECE);
    if (!piece) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    for (int64_t at = 0; at < bytes && status == DG_OK; at += PIECE) {
        int64_t length = dg_min_i64(PIECE, bytes - at);
        status = dg_comm_gather(comm, (const char *)mine + at, length, piece, err);
        for (int r = 0; r < ranks && status == DG_OK; r++)
            memcpy((char *)all + r * bytes + at, piece + r * length, (size_t)length);
    }
    free(piece);
    return status;
}

enum dg_status dg_comm_gather_new(struct dg_comm *comm, const void *mine, int64_t bytes, void **all,
                                  struct dg_error *err)
{
    *all = calloc((size_t)dg_comm_ranks(comm), (size_t)bytes);
    if (!*all) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_comm_gather(comm, mine, bytes, *all, err);
    if (status != DG_OK) {
        free(*all);
        *all = NULL;
    }
    return status;
}

enum dg_status dg_comm_gather_each(struct dg_comm *comm, const void *mine, int64_t bytes, void **all, int64_t *length,
                                   struct dg_error *err)
{
    int64_t most = 0, at = 0;
    int ranks = dg_comm_ranks(comm);
    *all = NULL;
    DG_TRY(dg_comm_gather(comm, &bytes, sizeof bytes, length, err));
    for (int r = 0; r < ranks; r++) most = dg_max_i64(most, length[r]);
    char *own = calloc(1, (size_t)most + 1), *padded = malloc((size_t)(ranks * most) + 1);
    enum dg_status status = own && padded ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK && bytes) memcpy(own, mine, (size_t)bytes);
    if (status == DG_OK) status = dg_comm_gather_long(comm, own, most, padded, err);
    for (int r = 0; r < ranks && status == DG_OK; r++) {
        memmove(padded + at, padded + r * most, (size_t)length[r]);
        at += length[r];
    }
    free(own);
    if (status == DG_OK)
        *all = padded;
    else
        free(padded);
    return status;
}

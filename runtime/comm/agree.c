#include "runtime/comm/agree.h"

#include "runtime/comm/gather.h"

#include <stdio.h>
#include <stdlib.h>

struct said {
    int32_t status;
    char text[1024];
};

enum dg_status dg_comm_fail(const struct dg_comm *comm, int rank, enum dg_status status, const char *text,
                            struct dg_error *err)
{
    *err = (struct dg_error){0};
    return dg_fail(err, status, "rank %d (%s): %s", rank, dg_comm_host(comm, rank), text);
}

enum dg_status dg_comm_agree(struct dg_comm *comm, enum dg_status status, struct dg_error *err)
{
    if (!comm) return status;
    struct said mine = {.status = (int32_t)status}, *all;
    if (status != DG_OK) snprintf(mine.text, sizeof mine.text, "%.*s", (int)sizeof mine.text - 1, err->text);
    enum dg_status verdict = dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err);
    for (int r = 0; r < dg_comm_ranks(comm) && verdict == DG_OK; r++)
        if (all[r].status != DG_OK) verdict = dg_comm_fail(comm, r, (enum dg_status)all[r].status, all[r].text, err);
    free(all);
    return verdict;
}

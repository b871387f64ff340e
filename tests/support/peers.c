#include "tests/support/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GATHERS = 16 }; /* of a run, at most */

struct post {
    int rank, ranks;
    int gathers; /* of the run that is under way */
    struct {
        int64_t bytes;
        char *sent; /* [ranks, bytes]; zeros of who has not sent */
    } of[GATHERS];
};

static enum dg_status gather(void *context, const void *mine, int64_t bytes, void *all, struct dg_error *err)
{
    struct post *post = context;
    (void)err;
    assert_true(post->gathers < GATHERS);
    int g = post->gathers++;
    if (!post->of[g].sent) {
        post->of[g].bytes = bytes;
        post->of[g].sent = calloc((size_t)post->ranks, (size_t)bytes);
        assert_non_null(post->of[g].sent);
    }
    assert_int_equal(bytes, post->of[g].bytes);
    memcpy(post->of[g].sent + post->rank * bytes, mine, (size_t)bytes);
    memcpy(all, post->of[g].sent, (size_t)(post->ranks * bytes));
    return DG_OK;
}

void op_run_peers(const struct op_run *run, int ranks, struct op_result *result)
{
    struct post post = {.ranks = ranks};
    const struct dg_peers peers = {gather, &post};
    int gathers = 0;
    for (int turn = 0; turn <= gathers; turn++)
        for (post.rank = 0; post.rank < ranks; post.rank++) {
            struct op_run op = run[post.rank];
            op.peers = &peers;
            op.ranks = ranks;
            if (turn) op_result_free(&result[post.rank]);
            post.gathers = 0;
            result[post.rank] = op_run(&op);
            if (!turn && !post.rank) gathers = post.gathers;
            assert_int_equal(post.gathers, gathers);
        }
    for (int g = 0; g < gathers; g++) free(post.of[g].sent);
}

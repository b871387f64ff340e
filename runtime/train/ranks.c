#include "runtime/train/ranks.h"

#include "runtime/comm/gather.h"
#include "runtime/exec/fault.h"
#include "runtime/exec/replica.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT = 512 };

/* The process whose number is another one than most have, or than rank 0 has; -1: all are equal. *most has the
 * number of most. */
static int odd_one(const uint64_t *number, int64_t stride, int ranks, uint64_t *most)
{
    int best = 0;
    *most = 0;
    for (int r = 0; r < ranks; r++) {
        int same = 0;
        for (int o = 0; o < ranks; o++) same += number[o * stride] == number[r * stride];
        if (same > best) {
            best = same;
            *most = number[r * stride];
        }
    }
    for (int r = 0; r < ranks; r++)
        if (number[r * stride] != *most) return r;
    return -1;
}

/* all [ranks, count]: the hashes of all tensors. Fails with the first that differs, if there is one. */
static enum dg_status name_tensor(struct dg_comm *comm, const struct dg_session *session, const uint64_t *all,
                                  int64_t count, struct dg_error *err)
{
    int64_t first = -1, others = 0;
    uint64_t most;
    int ranks = dg_comm_ranks(comm);
    for (int64_t t = 0; t < count; t++) {
        if (odd_one(all + t, count, ranks, &most) < 0) continue;
        if (first < 0) first = t;
        others += first != t;
    }
    if (first < 0) return DG_OK; /* what lies between tensors */
    const struct dg_plan *plan = dg_session_plan(session);
    const char *name = dg_plan_string(plan, plan->tensor[dg_session_entry(session)->first_tensor + first].name);
    int odd = odd_one(all + first, count, ranks, &most), like = 0;
    while (all[like * count + first] != most) like++;
    char more[64] = "";
    if (others) snprintf(more, sizeof more, ", as do %" PRId64 " more", others);
    return dg_fail(
        err, DG_ERR_NUMERIC,
        "the processes no longer train the same network: rank %d (%s) has another %s than rank %d (%s)%s. A "
        "machine computes or remembers wrongly (memory, overheating), or has other libraries; nothing of this "
        "is saved, and --resume goes on from the newest checkpoint",
        odd, dg_comm_host(comm, odd), name, like, dg_comm_host(comm, like), more);
}

static enum dg_status compare_tensors(struct dg_comm *comm, const struct dg_session *session, struct dg_error *err)
{
    int64_t count = dg_session_entry(session)->num_tensors;
    uint64_t *mine = calloc((size_t)count + 1, sizeof *mine), *all = NULL;
    if (!mine) return dg_comm_fail_alone(comm, "out of memory", err);
    dg_replica_hash_tensors(session, mine);
    enum dg_status status = dg_comm_gather_new(comm, mine, count * (int64_t)sizeof *mine, (void **)&all, err);
    if (status == DG_OK) status = name_tensor(comm, session, all, count, err);
    free(mine);
    free(all);
    return status;
}

/* What a process says before a step. */
struct record {
    int64_t step;
    uint64_t hash; /* of the step's share of parameters and states */
    int32_t status, stop, save;
    double busy;
    struct dg_bad_news bad;
    char text[TEXT]; /* of its failure */
};

/* What all say, in the order of ranks. */
static enum dg_status read_records(struct dg_comm *comm, const struct record *all, struct dg_rank_step *agreed,
                                   struct dg_error *err)
{
    for (int r = 0; r < dg_comm_ranks(comm); r++) {
        if (all[r].status != DG_OK) return dg_comm_fail(comm, r, (enum dg_status)all[r].status, all[r].text, err);
        if (all[r].step != agreed->step)
            return dg_fail(err, DG_ERR_INTERNAL, "rank %d (%s) is at step %" PRId64 ", not %" PRId64, r,
                           dg_comm_host(comm, r), all[r].step, agreed->step);
        agreed->stop |= all[r].stop;
        agreed->save |= all[r].save;
        dg_bad_set_add_news(agreed->bad, &all[r].bad);
        if (agreed->times) agreed->times->busy[r] += all[r].busy;
        agreed->apart |= all[r].hash != all[0].hash;
    }
    return DG_OK;
}

int64_t dg_ranks_records_bytes(const struct dg_comm *comm)
{
    return dg_comm_ranks(comm) * (int64_t)sizeof(struct record);
}

enum dg_status dg_ranks_before_step(struct dg_comm *comm, const struct dg_session *session, struct dg_rank_step *agreed,
                                    enum dg_status status, struct dg_error *err)
{
    if (!comm) return status;
    struct record mine = {.step = agreed->step, .status = (int32_t)status, .stop = agreed->stop, .save = agreed->save},
                  *all = agreed->records;
    mine.busy = agreed->busy;
    mine.bad = dg_bad_set_take_news(agreed->bad);
    mine.hash = dg_replica_hash(session, agreed->step % DG_RANK_SHARES, DG_RANK_SHARES);
    if (status != DG_OK) snprintf(mine.text, sizeof mine.text, "%.*s", TEXT - 1, err->text);
    DG_TRY(dg_comm_gather(comm, &mine, sizeof mine, all, err));
    enum dg_status verdict = read_records(comm, all, agreed, err);
    return verdict == DG_OK && agreed->apart ? compare_tensors(comm, session, err) : verdict;
}

enum dg_status dg_ranks_compare(struct dg_comm *comm, const struct dg_session *session, struct dg_error *err)
{
    if (!comm) return DG_OK;
    uint64_t mine = dg_replica_hash(session, 0, 1), *all, most;
    DG_TRY(dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err));
    bool apart = odd_one(all, 1, dg_comm_ranks(comm), &most) >= 0;
    free(all);
    return apart ? compare_tensors(comm, session, err) : DG_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void dg_ranks_find_slow(const struct dg_comm *comm, struct dg_rank_times *times, const struct dg_log *log)
{
    int ranks = dg_comm_ranks(comm), slowest = 0;
    double *busy = times->busy;
    if (times->said || ++times->steps < DG_RANK_TIMED) return;
    for (int r = 1; r < ranks; r++)
        if (busy[r] > busy[slowest]) slowest = r;
    double most = busy[slowest];
    qsort(busy, (size_t)ranks, sizeof *busy, by_value); /* in place: the sums begin anew */
    double middle = busy[(ranks - 1) / 2];
    times->said = most > 1.1 * middle;
    if (times->said)
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN,
               "rank %d (%s) has taken %.3g s a step for its part where others took %.3g s: all wait for it", slowest,
               dg_comm_host(comm, slowest), most / DG_RANK_TIMED, middle / DG_RANK_TIMED);
    memset(busy, 0, (size_t)ranks * sizeof *busy);
    times->steps = 0;
}

/* ---- what rank 0 does alone ---- */

/* A thread that tells the others that rank 0 is still at work. */
struct teller {
    struct dg_comm *comm;
    pthread_mutex_t lock; /* guards `ends` */
    pthread_cond_t changed;
    bool ends;
};

static void *tell(void *context)
{
    enum { EVERY = 500 * 1000 * 1000 }; /* nanoseconds */
    struct teller *t = context;
    bool works = true;
    pthread_mutex_lock(&t->lock);
    while (!t->ends && works) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += EVERY;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&t->changed, &t->lock, &until) != ETIMEDOUT) continue;
        pthread_mutex_unlock(&t->lock);
        works = dg_comm_broadcast(t->comm, &works, sizeof works, NULL) == DG_OK;
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

enum dg_status dg_ranks_hold(struct dg_comm *comm, void (*work)(void *context), void *context, struct dg_error *err)
{
    bool works = comm != NULL;
    if (dg_comm_rank(comm)) {
        while (works) DG_TRY(dg_comm_broadcast(comm, &works, sizeof works, err));
        return DG_OK;
    }
    struct teller teller = {.comm = comm};
    pthread_t thread;
    pthread_mutex_init(&teller.lock, NULL);
    pthread_cond_init(&teller.changed, NULL);
    bool tells = works && !pthread_create(&thread, NULL, tell, &teller);
    work(context);
    if (tells) {
        pthread_mutex_lock(&teller.lock);
        teller.ends = true;
        pthread_cond_signal(&teller.changed);
        pthread_mutex_unlock(&teller.lock);
        pthread_join(thread, NULL);
    }
    pthread_mutex_destroy(&teller.lock);
    pthread_cond_destroy(&teller.changed);
    works = false;
    return dg_comm_broadcast(comm, &works, sizeof works, err);
}

enum dg_status dg_ranks_fault(struct dg_comm *comm, int64_t place, char *text, size_t size, struct dg_error *err)
{
    struct {
        int64_t place;
        char text[4 * TEXT];
    } mine = {.place = place}, *all;
    if (!comm) return DG_OK;
    snprintf(mine.text, sizeof mine.text, "%s", text);
    DG_TRY(dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err));
    int chosen = 0;
    for (int r = 1; r < dg_comm_ranks(comm); r++)
        if (all[r].place != DG_FAULT_NOWHERE &&
            (all[chosen].place == DG_FAULT_NOWHERE || all[r].place < all[chosen].place))
            chosen = r;
    snprintf(text, size, "on rank %d (%s) %.*s", chosen, dg_comm_host(comm, chosen), 4 * TEXT - 1, all[chosen].text);
    free(all);
    return DG_OK;
}

#include "runtime/train/ranks.h"

#include "ops/kernels/rates.h"
#include "runtime/exec/cpus.h"
#include "runtime/exec/fault.h"
#include "runtime/exec/replica.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 512 };

/* `size` bytes of each process, [ranks], to be freed. */
static enum dg_status gather(struct dg_comm *comm, const void *mine, size_t size, void **all, struct dg_error *err)
{
    *all = calloc((size_t)dg_comm_ranks(comm), size);
    if (!*all) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_comm_gather(comm, mine, (int64_t)size, *all, err);
    if (status != DG_OK) {
        free(*all);
        *all = NULL;
    }
    return status;
}

/* ---- the start ---- */

struct facts {
    uint64_t plan, data, seed, weights;
    int64_t images;
    char kernels[40], settings[32][2][64]; /* the first knobs that are not the plan's: key and value */
};

static void add_settings(const struct dg_knobs *knobs, struct facts *facts)
{
    enum { EXACT = 17 };
    int count = 0;
    for (uint32_t k = 0; k < knobs->plan->num_knobs && count < 32; k++) {
        const struct dg_plan_knob *knob = &knobs->knob[k], *plans = &knobs->plan->knob[k];
        if (knob->value[0] == plans->value[0] && knob->value[1] == plans->value[1] && knob->unit == plans->unit)
            continue;
        snprintf(facts->settings[count][0], 64, "%s", dg_plan_string(knobs->plan, knob->key));
        dg_knob_text(facts->settings[count++][1], 64, knob, EXACT, true);
    }
}

static const char *difference(const struct facts *mine, const struct facts *others, const struct dg_rank_facts *given,
                              char *text, size_t size)
{
    if (others->plan != mine->plan) return "another plan file (copy one to all machines)";
    if (strcmp(others->kernels, mine->kernels)) {
        snprintf(
            text, size,
            "kernels %s where rank 0 has %s, and would compute other bits: set DINOGRAPH_CPU to the lower one in all "
            "processes",
            others->kernels, mine->kernels);
        return text;
    }
    if (others->images != mine->images || others->data != mine->data) {
        snprintf(text, size, "other images in %s: %" PRId64 ", and rank 0 has %" PRId64 "%s", given->images_from,
                 others->images, mine->images,
                 others->images == mine->images ? ", but other names or another order" : "");
        return text;
    }
    if (others->weights != mine->weights) {
        snprintf(text, size, "other weights in %s than rank 0 (copy one file to all machines)", given->weights_from);
        return text;
    }
    if (others->seed != mine->seed) return "another --seed";
    for (int s = 0; s < 32; s++)
        if (memcmp(others->settings[s], mine->settings[s], sizeof mine->settings[s])) {
            const char *const none[2] = {"the plan's", ""};
            bool set = *others->settings[s][0], rank0 = *mine->settings[s][0];
            snprintf(text, size, "other settings: %s%s%s, and rank 0 %s%s%s", set ? others->settings[s][0] : none[0],
                     set ? "=" : "", others->settings[s][1], rank0 ? mine->settings[s][0] : none[0], rank0 ? "=" : "",
                     mine->settings[s][1]);
            return text;
        }
    return NULL;
}

/* The CPUs that a process may use, and those that its launcher's process on this machine may. */
struct masks {
    cpu_set_t mine, launcher;
};

static struct masks masks_here(void)
{
    struct masks m;
    if (sched_getaffinity(0, sizeof m.mine, &m.mine)) CPU_ZERO(&m.mine);
    if (sched_getaffinity(getppid(), sizeof m.launcher, &m.launcher)) m.launcher = m.mine;
    return m;
}

/* A launcher that binds a process to one core makes its threads share that core. */
static enum dg_status check_masks(struct dg_comm *comm, struct dg_error *err)
{
    struct masks mine = masks_here(), *all;
    DG_TRY(gather(comm, &mine, sizeof mine, (void **)&all, err));
    enum dg_status status = DG_OK;
    for (int r = 0; r < dg_comm_ranks(comm) && status == DG_OK; r++) {
        cpu_set_t covered;
        CPU_ZERO(&covered);
        for (int o = 0; o < dg_comm_ranks(comm); o++)
            if (!strcmp(dg_comm_host(comm, o), dg_comm_host(comm, r))) CPU_OR(&covered, &covered, &all[o].mine);
        int used = CPU_COUNT(&covered), there = CPU_COUNT(&all[r].launcher);
        if (used * 10 >= there * 9) continue;
        status = dg_fail(err, DG_ERR_USAGE,
                         "the launcher binds the processes on %s to %d of %d CPUs: add --bind-to none to mpirun (or "
                         "--map-by ppr:1:socket --bind-to socket)",
                         dg_comm_host(comm, r), used, there);
    }
    free(all);
    return status;
}

enum dg_status dg_ranks_check(struct dg_comm *comm, const struct dg_rank_facts *given, struct dg_error *err)
{
    struct facts *mine = calloc(1, sizeof *mine), *all = NULL;
    if (!mine) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    *mine = (struct facts){.plan = given->plan,
                           .data = given->data,
                           .weights = given->weights,
                           .seed = given->seed,
                           .images = given->images};
    snprintf(mine->kernels, sizeof mine->kernels, "%s", dg_kernels_name().text);
    add_settings(given->knobs, mine);
    enum dg_status status = gather(comm, mine, sizeof *mine, (void **)&all, err);
    char text[TEXT];
    for (int r = 1; r < dg_comm_ranks(comm) && status == DG_OK; r++) {
        const char *what = difference(&all[0], &all[r], given, text, sizeof text);
        if (what) status = dg_fail(err, DG_ERR_USAGE, "rank %d (%s) has %s", r, dg_comm_host(comm, r), what);
    }
    free(mine);
    free(all);
    return status == DG_OK ? check_masks(comm, err) : status;
}

enum dg_status dg_ranks_threads(struct dg_comm *comm, int *threads, struct dg_error *err)
{
    bool asked = *threads > 0;
    if (!asked) *threads = dg_default_threads();
    if (!comm) return DG_OK;
    struct masks mine = masks_here(), *all;
    DG_TRY(gather(comm, &mine, sizeof mine, (void **)&all, err));
    int sharing = 0; /* processes of this machine that may use the same CPUs */
    for (int r = 0; r < dg_comm_ranks(comm); r++) {
        cpu_set_t both;
        CPU_AND(&both, &mine.mine, &all[r].mine);
        sharing += !strcmp(dg_comm_host(comm, r), dg_comm_host(comm, dg_comm_rank(comm))) && CPU_COUNT(&both) > 0;
    }
    free(all);
    if (!asked && !getenv("OMP_NUM_THREADS") && sharing > 1) *threads = *threads / sharing > 1 ? *threads / sharing : 1;
    return DG_OK;
}

/* ---- the run ---- */

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
    if (!mine) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    dg_replica_hash_tensors(session, mine);
    enum dg_status status = gather(comm, mine, (size_t)count * sizeof *mine, (void **)&all, err);
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
    DG_TRY(gather(comm, &mine, sizeof mine, (void **)&all, err));
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
    DG_TRY(gather(comm, &mine, sizeof mine, (void **)&all, err));
    int chosen = 0;
    for (int r = 1; r < dg_comm_ranks(comm); r++)
        if (all[r].place != DG_FAULT_NOWHERE &&
            (all[chosen].place == DG_FAULT_NOWHERE || all[r].place < all[chosen].place))
            chosen = r;
    snprintf(text, size, "on rank %d (%s) %.*s", chosen, dg_comm_host(comm, chosen), 4 * TEXT - 1, all[chosen].text);
    free(all);
    return DG_OK;
}

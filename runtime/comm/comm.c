#include "runtime/comm/comm.h"

#include "runtime/comm/launcher.h"
#include "runtime/comm/plugin.h"
#include "runtime/comm/sums.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 16 << 20, HOST = 64, WARN_AFTER = 60, MOST_GATHERED = 1 << 20 };

/* What the courier is to do. */
struct job {
    enum dg_status (*run)(struct dg_comm *comm, const struct job *job, struct dg_error *err);
    void *data;
    const void *mine; /* of a gather */
    int64_t count;    /* elements of a sum; bytes */
    enum dg_sum_kind kind;
    const struct dg_launcher *launcher; /* of opening */
    int machine, place;                 /* of this process, for groups */
};

struct dg_comm {
    struct dg_comm_options options;
    pthread_t courier;
    pthread_mutex_t lock; /* guards the queue, `done`, `urgent` and `error` */
    pthread_cond_t changed;
    struct job *queue; /* [capacity], of which those from `done` on wait */
    size_t queued, done, capacity;
    const struct job *urgent; /* done beside the others, as soon as the courier sees it; NULL: there is none */
    atomic_bool is_urgent;    /* the same, to be looked at without the lock */
    bool ends;
    atomic_bool awaited;   /* somebody waits for the queue, or what is urgent, to be done */
    struct dg_error error; /* the first failure; jobs behind it do nothing */
    const struct dg_mpi_plugin *mpi;
    void *library; /* of dlopen */
    struct dg_mpi_world world;
    char reason[256];
    bool warned;
    atomic_bool failed; /* set by the courier, and by a process that fails alone */
    char *host;         /* [ranks, HOST] */
    struct dg_sums sums;
    int *bytes, *at; /* [ranks] each: ranges of a call */
};

int dg_comm_rank(const struct dg_comm *comm) { return comm ? comm->world.rank : 0; }
int dg_comm_ranks(const struct dg_comm *comm) { return comm ? comm->world.ranks : 1; }
const char *dg_comm_host(const struct dg_comm *comm, int rank) { return comm ? comm->host + rank * HOST : ""; }
const char *dg_comm_library(const struct dg_comm *comm) { return comm ? comm->world.library : ""; }
int64_t dg_comm_bytes(const struct dg_comm *comm) { return comm ? dg_sums_bytes(&comm->sums) : 0; }

bool dg_comm_failed(const struct dg_comm *comm) { return comm && comm->failed; }

/* With the lock. */
static void fail_alone(struct dg_comm *comm, const char *text)
{
    if (comm->error.status == DG_OK) dg_fail(&comm->error, DG_ERR_MEMORY, "rank %d: %s", comm->world.rank, text);
    comm->failed = true;
}

enum dg_status dg_comm_fail_alone(struct dg_comm *comm, const char *text, struct dg_error *err)
{
    if (!comm) return dg_fail(err, DG_ERR_MEMORY, "%s", text);
    pthread_mutex_lock(&comm->lock);
    fail_alone(comm, text);
    struct dg_error failure = comm->error;
    pthread_mutex_unlock(&comm->lock);
    return dg_fail(err, failure.status, "%s", failure.text);
}

static bool hurries(void *context) { return atomic_load(&((struct dg_comm *)context)->awaited); }

static bool waiting(void *context, double seconds)
{
    struct dg_comm *comm = context;
    if (seconds >= WARN_AFTER && !comm->warned) {
        comm->warned = true;
        dg_log(comm->options.log, DG_LOG_WARNING, DG_LOG_RUN, "rank %d on %s has waited for %d s for other processes",
               comm->world.rank, comm->host ? dg_comm_host(comm, comm->world.rank) : "this machine", WARN_AFTER);
    }
    return comm->options.stall_limit <= 0 || seconds < comm->options.stall_limit;
}

static enum dg_status check(struct dg_comm *comm, bool ok, struct dg_error *err)
{
    comm->warned = false;
    if (!ok) comm->failed = true;
    return ok ? DG_OK : dg_fail(err, DG_ERR_IO, "rank %d: %s", comm->world.rank, comm->reason);
}

/* ---- sums ---- */

/* The library's own sum. */
static bool library_adds(struct dg_comm *comm, char *data, int64_t count, bool f64)
{
    int64_t size = f64 ? 8 : 4;
    for (int64_t first = 0; first < count; first += CHUNK / size)
        if (!comm->mpi->all_reduce(data + first * size, (int)dg_min_i64(CHUNK / size, count - first), f64))
            return false;
    return true;
}

static enum dg_status run_sum(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    bool ok = comm->options.sums.reduce == DG_REDUCE_LIBRARY
                  ? library_adds(comm, job->data, job->count, job->kind == DG_SUM_F64)
                  : dg_sums_add(&comm->sums, job->data, job->count, job->kind);
    return check(comm, ok, err);
}

/* ---- bytes ---- */

static enum dg_status run_broadcast(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    for (int64_t at = 0; at < job->count; at += CHUNK)
        DG_TRY(check(comm, comm->mpi->broadcast((char *)job->data + at, (int)dg_min_i64(CHUNK, job->count - at)), err));
    return DG_OK;
}

static enum dg_status gather_in(enum dg_mpi_group group, struct dg_comm *comm, const struct job *job,
                                struct dg_error *err)
{
    for (int r = 0; r < comm->world.ranks; r++) {
        comm->bytes[r] = (int)job->count;
        comm->at[r] = (int)job->count * r;
    }
    const struct dg_mpi_ranges to = {comm->bytes, comm->at};
    return check(comm, comm->mpi->all_gather(group, job->mine, (int)job->count, job->data, to), err);
}

static enum dg_status run_gather(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    return gather_in(DG_MPI_ALL, comm, job, err);
}

static enum dg_status run_gather_beside(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    return gather_in(DG_MPI_BESIDE, comm, job, err);
}

/* ---- the courier ---- */

/* Does the job without the lock, unless one before it has failed. */
static void run_unlocked(struct dg_comm *comm, const struct job *job)
{
    if (comm->error.status != DG_OK) return;
    pthread_mutex_unlock(&comm->lock);
    struct dg_error err = {0};
    job->run(comm, job, &err);
    pthread_mutex_lock(&comm->lock);
    if (comm->error.status == DG_OK) comm->error = err; /* else a job beside this one has failed first */
}

static void run_urgent(struct dg_comm *comm)
{
    atomic_store(&comm->is_urgent, false);
    run_unlocked(comm, comm->urgent);
    comm->urgent = NULL;
    pthread_cond_broadcast(&comm->changed);
}

/* While a call waits for others. All processes come to what is urgent, but one may wait for the sums of another that
 * is there already: so neither may wait for the other. */
static void beside(void *context)
{
    struct dg_comm *comm = context;
    if (!atomic_load(&comm->is_urgent)) return;
    pthread_mutex_lock(&comm->lock);
    run_urgent(comm);
    pthread_mutex_unlock(&comm->lock);
}

static void *carry(void *context)
{
    struct dg_comm *comm = context;
    pthread_mutex_lock(&comm->lock);
    for (;;) {
        while (comm->done == comm->queued && !comm->urgent && !comm->ends)
            pthread_cond_wait(&comm->changed, &comm->lock);
        if (comm->urgent) {
            run_urgent(comm);
            continue;
        }
        if (comm->done == comm->queued) break;
        struct job job = comm->queue[comm->done]; /* a copy: the queue may move */
        run_unlocked(comm, &job);
        comm->done++;
        pthread_cond_broadcast(&comm->changed);
    }
    pthread_mutex_unlock(&comm->lock);
    return NULL;
}

static void start(struct dg_comm *comm, const struct job *job)
{
    pthread_mutex_lock(&comm->lock);
    if (comm->done == comm->queued) comm->done = comm->queued = 0;
    if (comm->queued == comm->capacity) {
        size_t capacity = comm->capacity ? 2 * comm->capacity : 64;
        struct job *queue = realloc(comm->queue, capacity * sizeof *queue);
        if (queue) {
            comm->queue = queue;
            comm->capacity = capacity;
        } else {
            fail_alone(comm, "out of memory for the exchange");
        }
    }
    if (comm->queued < comm->capacity) comm->queue[comm->queued++] = *job;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
}

enum dg_status dg_comm_wait(struct dg_comm *comm, struct dg_error *err)
{
    if (!comm) return DG_OK;
    atomic_store(&comm->awaited, true);
    pthread_mutex_lock(&comm->lock);
    while (comm->done < comm->queued) pthread_cond_wait(&comm->changed, &comm->lock);
    struct dg_error failure = comm->error;
    pthread_mutex_unlock(&comm->lock);
    atomic_store(&comm->awaited, false);
    return failure.status == DG_OK ? DG_OK : dg_fail(err, failure.status, "%s", failure.text);
}

static enum dg_status run_now(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    start(comm, job);
    return dg_comm_wait(comm, err);
}

void dg_comm_start_sum(struct dg_comm *comm, void *data, int64_t count, bool f64)
{
    if (comm)
        start(comm, &(struct job){.run = run_sum, .data = data, .count = count, .kind = f64 ? DG_SUM_F64 : DG_SUM_F32});
}

void dg_comm_start_gradients(struct dg_comm *comm, float *data, int64_t count)
{
    if (comm) start(comm, &(struct job){.run = run_sum, .data = data, .count = count, .kind = DG_SUM_GRADIENTS});
}

enum dg_status dg_comm_sum(struct dg_comm *comm, void *data, int64_t count, bool f64, struct dg_error *err)
{
    dg_comm_start_sum(comm, data, count, f64);
    return dg_comm_wait(comm, err);
}

enum dg_status dg_comm_broadcast(struct dg_comm *comm, void *data, int64_t bytes, struct dg_error *err)
{
    return comm ? run_now(comm, &(struct job){.run = run_broadcast, .data = data, .count = bytes}, err) : DG_OK;
}

enum dg_status dg_comm_gather(struct dg_comm *comm, const void *mine, int64_t bytes, void *all, struct dg_error *err)
{
    if (!comm) {
        memcpy(all, mine, (size_t)bytes);
        return DG_OK;
    }
    if (bytes > MOST_GATHERED) return dg_fail(err, DG_ERR_INTERNAL, "a gather of %lld bytes", (long long)bytes);
    return run_now(comm, &(struct job){.run = run_gather, .data = all, .mine = mine, .count = bytes}, err);
}

enum dg_status dg_comm_gather_beside(struct dg_comm *comm, const void *mine, int64_t bytes, void *all,
                                     struct dg_error *err)
{
    if (!comm || bytes > MOST_GATHERED) return dg_comm_gather(comm, mine, bytes, all, err);
    const struct job job = {.run = run_gather_beside, .data = all, .mine = mine, .count = bytes};
    atomic_store(&comm->awaited, true);
    pthread_mutex_lock(&comm->lock);
    comm->urgent = &job;
    atomic_store(&comm->is_urgent, true);
    pthread_cond_broadcast(&comm->changed);
    while (comm->urgent) pthread_cond_wait(&comm->changed, &comm->lock);
    struct dg_error failure = comm->error;
    pthread_mutex_unlock(&comm->lock);
    atomic_store(&comm->awaited, false);
    return failure.status == DG_OK ? DG_OK : dg_fail(err, failure.status, "%s", failure.text);
}

/* ---- opening and closing ---- */

int dg_comm_launched(void)
{
    struct dg_launcher launcher;
    dg_launcher_find(&launcher, NULL); /* Slurm's processes without MPI are as many */
    return launcher.ranks;
}

static enum dg_status find_hosts(struct dg_comm *comm, struct dg_error *err)
{
    char mine[HOST] = "";
    gethostname(mine, sizeof mine - 1);
    return dg_comm_gather(comm, mine, HOST, comm->host, err);
}

static enum dg_status allocate(struct dg_comm *comm, struct dg_error *err)
{
    size_t ranks = (size_t)comm->world.ranks;
    comm->host = calloc(ranks, HOST);
    comm->bytes = calloc(2 * ranks, sizeof *comm->bytes);
    if (!comm->host || !comm->bytes)
        return dg_fail(err, DG_ERR_MEMORY, "out of memory for the exchange with %d processes", comm->world.ranks);
    comm->at = comm->bytes + ranks;
    return DG_OK;
}

/* ---- how sums are made ---- */

static enum dg_status run_lowest_here(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    return check(comm, comm->mpi->lowest_here(job->data), err);
}

static enum dg_status run_split(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    return check(comm, comm->mpi->split(job->machine, job->place), err);
}

/* lowest [ranks] = the lowest rank of each one's machine. */
static enum dg_status find_machines(struct dg_comm *comm, int *lowest, struct dg_error *err)
{
    int together = comm->options.sums.together, mine = 0;
    if (together && comm->world.ranks % together)
        return dg_fail(err, DG_ERR_USAGE, "--together %d does not divide %d processes", together, comm->world.ranks);
    for (int r = 0; r < comm->world.ranks && together; r++) lowest[r] = r / together * together;
    if (together) return DG_OK;
    DG_TRY(run_now(comm, &(struct job){.run = run_lowest_here, .data = &mine}, err));
    return dg_comm_gather(comm, &mine, sizeof mine, lowest, err);
}

/* Processes of the machine whose lowest rank this is, of which `place` have a lower rank than `rank`. */
static int count_on(const struct dg_comm *comm, const int *lowest, int machine, int rank, int *place)
{
    int count = 0;
    for (int r = 0; r < comm->world.ranks; r++) {
        if (lowest[r] != machine) continue;
        if (r == rank) *place = count;
        count++;
    }
    return count;
}

/* Two levels: the processes of a machine, and those of one place on all machines. */
static enum dg_status set_machines(struct dg_comm *comm, const int *lowest, struct dg_error *err)
{
    int ranks = comm->world.ranks, rank = comm->world.rank, before = 0, place = 0, unused,
        here = count_on(comm, lowest, lowest[rank], rank, &place), first = count_on(comm, lowest, 0, 0, &unused);
    for (int r = 0; r < ranks; r++) {
        int count = count_on(comm, lowest, lowest[r], r, &unused);
        if (count != first)
            return dg_fail(err, DG_ERR_USAGE,
                           "--reduce machines wants as many processes on each machine: %s has %d, %s has %d",
                           dg_comm_host(comm, 0), first, dg_comm_host(comm, r), count);
        before += lowest[r] == r && r < lowest[rank];
    }
    comm->sums.levels = 2;
    comm->sums.level[0] = (struct dg_sums_level){.group = DG_MPI_MACHINE, .ranks = here, .rank = place};
    comm->sums.level[1] = (struct dg_sums_level){
        .group = DG_MPI_ACROSS, .ranks = ranks / here, .rank = before, .bf16 = comm->options.sums.bf16};
    return run_now(comm, &(struct job){.run = run_split, .machine = lowest[rank], .place = place}, err);
}

static enum dg_status open_sums(struct dg_comm *comm, struct dg_error *err)
{
    struct dg_comm_sums *asked = &comm->options.sums;
    struct dg_sums *sums = &comm->sums;
    sums->mpi = comm->mpi;
    DG_TRY(dg_comm_broadcast(comm, asked, sizeof *asked, err));
    if (asked->reduce == DG_REDUCE_LIBRARY) return DG_OK;
    if (asked->reduce == DG_REDUCE_MACHINES) {
        int *lowest = calloc((size_t)comm->world.ranks, sizeof *lowest);
        if (!lowest) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        enum dg_status status = find_machines(comm, lowest, err);
        if (status == DG_OK) status = set_machines(comm, lowest, err);
        free(lowest);
        DG_TRY(status);
    } else {
        sums->levels = 1;
        sums->level[0] = (struct dg_sums_level){
            .group = DG_MPI_ALL, .ranks = comm->world.ranks, .rank = comm->world.rank, .bf16 = asked->bf16};
    }
    return dg_sums_open(sums, err);
}

const char *dg_reduce_name(enum dg_reduce reduce)
{
    static const char *const names[] = {
        [DG_REDUCE_RANKS] = "ranks", [DG_REDUCE_MACHINES] = "machines", [DG_REDUCE_LIBRARY] = "mpi"};
    return names[reduce];
}

int dg_comm_together(const struct dg_comm *comm)
{
    return comm && comm->options.sums.reduce == DG_REDUCE_MACHINES ? comm->sums.level[0].ranks : 1;
}

struct dg_comm_sent dg_comm_sent(const struct dg_comm *comm)
{
    struct dg_comm_sent sent = {0};
    for (int l = 0; comm && l < comm->sums.levels; l++) {
        sent.between = comm->sums.level[l].sent;
        sent.all += sent.between;
    }
    return sent;
}

const char *dg_comm_sums_text(const struct dg_comm *comm, char *text, size_t size)
{
    const struct dg_comm_sums *asked = &comm->options.sums;
    const struct dg_sums_level *level = comm->sums.level;
    const char *bf16 = asked->bf16 ? "; gradients travel as bf16" : "";
    if (asked->reduce == DG_REDUCE_LIBRARY)
        snprintf(text, size, "by the library: the last bits depend on it");
    else if (asked->reduce == DG_REDUCE_RANKS)
        snprintf(text, size, "in the order of ranks%s", bf16);
    else
        snprintf(text, size, "of each %d %s first, then of %d %s%s%s", level[0].ranks,
                 asked->together ? "neighbouring ranks" : "processes of a machine", level[1].ranks,
                 asked->together ? "such groups" : "machines", bf16, asked->bf16 ? " between them" : "");
    return text;
}

/* On the courier: MPI takes the thread that opens it for its main thread. */
static enum dg_status run_open(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    const struct dg_launcher *launcher = job->launcher;
    DG_TRY(dg_plugin_open(launcher, &comm->library, err));
    comm->mpi = dlsym(comm->library, DG_MPI_PLUGIN_SYMBOL);
    if (!comm->mpi || comm->mpi->interface != DG_MPI_PLUGIN_INTERFACE)
        return dg_fail(err, DG_ERR_UNSUPPORTED,
                       "the plugin for %s is of another version of dinorun: install both again", launcher->family);
    const struct dg_mpi_caller caller = {waiting, hurries, beside, comm, comm->reason, sizeof comm->reason};
    DG_TRY(check(comm, comm->mpi->open(&caller, &comm->world), err));
    if (comm->world.ranks == launcher->ranks) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "the launcher has started %d processes, and %s sees %d: start it with the mpirun of %s",
                   launcher->ranks, comm->world.library, comm->world.ranks, launcher->family);
}

/* Ends the courier, once it has done all that is queued. */
static void dismiss(struct dg_comm *comm)
{
    pthread_mutex_lock(&comm->lock);
    comm->ends = true;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
    pthread_join(comm->courier, NULL);
    pthread_mutex_destroy(&comm->lock);
    pthread_cond_destroy(&comm->changed);
    free(comm->queue);
    free(comm->host);
    dg_sums_close(&comm->sums);
    free(comm->bytes);
    free(comm);
}

static enum dg_status run_close(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    (void)job, (void)err;
    comm->mpi->close();
    return DG_OK;
}

/* After a failure to open: one of how sums are asked for is that of all processes, any other may be this one's
 * alone. */
static void leave(struct dg_comm *comm, enum dg_status status, const struct dg_error *err)
{
    bool joined = comm->world.ranks > 1;
    if (joined && status != DG_ERR_USAGE) {
        dg_log(comm->options.log, DG_LOG_WARNING, DG_LOG_RUN, "%s", err ? err->text : "");
        dg_comm_abort(comm, 1);
    }
    if (joined) run_now(comm, &(struct job){.run = run_close}, NULL);
    dismiss(comm);
}

enum dg_status dg_comm_open(const struct dg_comm_options *options, struct dg_comm **result, struct dg_error *err)
{
    struct dg_launcher launcher;
    *result = NULL;
    if (options->sums.reduce == DG_REDUCE_LIBRARY && options->sums.bf16)
        return dg_fail(err, DG_ERR_USAGE, "MPI adds no bf16: --reduce mpi goes with --wire f32");
    if (options->sums.reduce != DG_REDUCE_MACHINES && options->sums.together)
        return dg_fail(err, DG_ERR_USAGE, "--together goes with --reduce machines");
    DG_TRY(dg_launcher_find(&launcher, err));
    if (launcher.ranks < 2) return DG_OK;
    struct dg_comm *comm = calloc(1, sizeof *comm);
    if (!comm) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    comm->options = *options;
    pthread_mutex_init(&comm->lock, NULL);
    pthread_cond_init(&comm->changed, NULL);
    if (pthread_create(&comm->courier, NULL, carry, comm)) {
        free(comm);
        return dg_fail(err, DG_ERR_MEMORY, "no thread for the exchange");
    }
    enum dg_status status = run_now(comm, &(struct job){.run = run_open, .launcher = &launcher}, err);
    if (status == DG_OK) status = allocate(comm, err);
    if (status == DG_OK) status = find_hosts(comm, err);
    if (status == DG_OK) status = open_sums(comm, err);
    if (status == DG_OK)
        *result = comm;
    else
        leave(comm, status, err);
    return status;
}

void dg_comm_close(struct dg_comm *comm)
{
    if (!comm) return;
    run_now(comm, &(struct job){.run = run_close}, NULL);
    dismiss(comm); /* the library stays: MPI may have threads and exit handlers of its own */
}

/* Bytes that wait in the pipe of standard error; 0 where it is no pipe: of a terminal FIONREAD counts what was typed. */
static int bytes_unread(void)
{
    struct stat about;
    int bytes = 0;
    bool is_pipe = !fstat(STDERR_FILENO, &about) && S_ISFIFO(about.st_mode);
    return is_pipe && !ioctl(STDERR_FILENO, FIONREAD, &bytes) ? bytes : 0;
}

/* A launcher reads the messages of its processes from pipes. That of Open MPI 5 may stop reading once a process has called MPI_Abort, and
 * the reason of the abort would be lost. Waits until the pipe is empty, for 2 s at most, and 0.1 s for the launcher to print what it has
 * read. */
static void let_launcher_read(void)
{
    const struct timespec nap = {.tv_nsec = 20000000}, print = {.tv_nsec = 100000000};
    for (int i = 0; i < 100 && bytes_unread() > 0; i++) nanosleep(&nap, NULL);
    nanosleep(&print, NULL);
}

void dg_comm_abort(struct dg_comm *comm, int status)
{
    fflush(NULL);
    if (comm) {
        let_launcher_read();
        comm->mpi->abort(status);
    }
    _exit(status);
}

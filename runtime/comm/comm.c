/* One chunk of a sum, of at most CHUNK bytes, which is cut into a piece for each process:
 *
 *   all to all     piece j of every process comes to process j
 *   sum            process j adds up its pieces in the order of ranks
 *   gather         the sums come to all, into the array
 *
 * That moves 2 (P - 1) / P of the bytes each way, the least possible. */
#include "runtime/comm/comm.h"

#include "runtime/comm/launcher.h"
#include "runtime/comm/plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 16 << 20, HOST = 64, WARN_AFTER = 60, MOST_GATHERED = 1 << 20 };

/* What the courier is to do. */
struct job {
    enum dg_status (*run)(struct dg_comm *comm, const struct job *job, struct dg_error *err);
    void *data;
    const void *mine; /* of a gather */
    int64_t count;    /* elements of a sum; bytes */
    bool f64;
    const struct dg_launcher *launcher; /* of opening */
};

struct dg_comm {
    struct dg_comm_options options;
    pthread_t courier;
    pthread_mutex_t lock; /* guards the queue, `done` and `error` */
    pthread_cond_t changed;
    struct job *queue; /* [capacity], of which those from `done` on wait */
    size_t queued, done, capacity;
    bool ends;
    atomic_bool awaited;   /* somebody waits for the queue to be done */
    struct dg_error error; /* the first failure; jobs behind it do nothing */
    const struct dg_mpi_plugin *mpi;
    void *library; /* of dlopen */
    struct dg_mpi_world world;
    char reason[256];
    bool warned, failed;
    char *host;  /* [ranks, HOST] */
    char *piece; /* [ranks, piece_bytes]: what others send of this process's piece */
    char *sum;   /* [piece_bytes] */
    int64_t piece_bytes;
    int *bytes, *at, *own_bytes, *own_at; /* [ranks] each: ranges of a call */
};

int dg_comm_rank(const struct dg_comm *comm) { return comm ? comm->world.rank : 0; }
int dg_comm_ranks(const struct dg_comm *comm) { return comm ? comm->world.ranks : 1; }
const char *dg_comm_host(const struct dg_comm *comm, int rank) { return comm ? comm->host + rank * HOST : ""; }
const char *dg_comm_library(const struct dg_comm *comm) { return comm ? comm->world.library : ""; }
int64_t dg_comm_bytes(const struct dg_comm *comm) { return comm ? comm->piece_bytes * (comm->world.ranks + 1) : 0; }

bool dg_comm_failed(const struct dg_comm *comm) { return comm && comm->failed; }

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
    comm->failed |= !ok;
    return ok ? DG_OK : dg_fail(err, DG_ERR_IO, "rank %d: %s", comm->world.rank, comm->reason);
}

/* ---- sums ---- */

/* sum [count] = part[0] + part[1] + ..., each [stride] apart. By one thread: the others compute. */
static void add_up_f32(int64_t count, int parts, const float *part, int64_t stride, float *sum)
{
    for (int64_t i = 0; i < count; i++) {
        float total = part[i];
        for (int p = 1; p < parts; p++) total += part[p * stride + i];
        sum[i] = total;
    }
}

static void add_up_f64(int64_t count, int parts, const double *part, int64_t stride, double *sum)
{
    for (int64_t i = 0; i < count; i++) {
        double total = part[i];
        for (int p = 1; p < parts; p++) total += part[p * stride + i];
        sum[i] = total;
    }
}

/* The sum of `count` elements at `data`, which fit into a chunk. */
static enum dg_status sum_chunk(struct dg_comm *comm, char *data, int64_t count, bool f64, struct dg_error *err)
{
    int ranks = comm->world.ranks, size = f64 ? 8 : 4;
    for (int r = 0; r < ranks; r++) {
        comm->at[r] = (int)(count * r / ranks * size);
        comm->bytes[r] = (int)(count * (r + 1) / ranks * size) - comm->at[r];
    }
    int mine = comm->bytes[comm->world.rank];
    for (int r = 0; r < ranks; r++) {
        comm->own_bytes[r] = mine;
        comm->own_at[r] = mine * r;
    }
    const struct dg_mpi_ranges pieces = {comm->bytes, comm->at}, own = {comm->own_bytes, comm->own_at};
    DG_TRY(check(comm, comm->mpi->all_to_all(data, pieces, comm->piece, own), err));
    if (f64)
        add_up_f64(mine / size, ranks, (const double *)(const void *)comm->piece, mine / size,
                   (double *)(void *)comm->sum);
    else
        add_up_f32(mine / size, ranks, (const float *)(const void *)comm->piece, mine / size,
                   (float *)(void *)comm->sum);
    return check(comm, comm->mpi->all_gather(comm->sum, mine, data, pieces), err);
}

static enum dg_status run_sum(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    int64_t size = job->f64 ? 8 : 4, most = CHUNK / size;
    for (int64_t first = 0; first < job->count; first += most) {
        char *chunk = (char *)job->data + first * size;
        int64_t length = dg_min_i64(most, job->count - first);
        if (comm->options.library_sums)
            DG_TRY(check(comm, comm->mpi->all_reduce(chunk, (int)length, job->f64), err));
        else
            DG_TRY(sum_chunk(comm, chunk, length, job->f64, err));
    }
    return DG_OK;
}

/* ---- bytes ---- */

static enum dg_status run_broadcast(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    for (int64_t at = 0; at < job->count; at += CHUNK)
        DG_TRY(check(comm, comm->mpi->broadcast((char *)job->data + at, (int)dg_min_i64(CHUNK, job->count - at)), err));
    return DG_OK;
}

static enum dg_status run_gather(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    for (int r = 0; r < comm->world.ranks; r++) {
        comm->bytes[r] = (int)job->count;
        comm->at[r] = (int)job->count * r;
    }
    const struct dg_mpi_ranges to = {comm->bytes, comm->at};
    return check(comm, comm->mpi->all_gather(job->mine, (int)job->count, job->data, to), err);
}

/* ---- the courier ---- */

static void *carry(void *context)
{
    struct dg_comm *comm = context;
    pthread_mutex_lock(&comm->lock);
    for (;;) {
        while (comm->done == comm->queued && !comm->ends) pthread_cond_wait(&comm->changed, &comm->lock);
        if (comm->done == comm->queued) break;
        struct job job = comm->queue[comm->done]; /* a copy: the queue may move */
        bool runs = comm->error.status == DG_OK;
        pthread_mutex_unlock(&comm->lock);
        struct dg_error err = {0};
        if (runs) job.run(comm, &job, &err);
        pthread_mutex_lock(&comm->lock);
        if (runs) comm->error = err;
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
        } else if (comm->error.status == DG_OK) {
            dg_fail(&comm->error, DG_ERR_MEMORY, "out of memory for the exchange");
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
    if (comm) start(comm, &(struct job){.run = run_sum, .data = data, .count = count, .f64 = f64});
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
    comm->piece_bytes = (CHUNK / comm->world.ranks + 64) & ~63;
    comm->host = calloc(ranks, HOST);
    comm->piece = aligned_alloc(64, ranks * (size_t)comm->piece_bytes);
    comm->sum = aligned_alloc(64, (size_t)comm->piece_bytes);
    comm->bytes = calloc(4 * ranks, sizeof *comm->bytes);
    if (!comm->host || !comm->piece || !comm->sum || !comm->bytes)
        return dg_fail(err, DG_ERR_MEMORY, "out of memory for the exchange with %d processes", comm->world.ranks);
    comm->at = comm->bytes + ranks;
    comm->own_bytes = comm->bytes + 2 * ranks;
    comm->own_at = comm->bytes + 3 * ranks;
    return DG_OK;
}

/* On the courier: MPI takes the thread that opens it for its main thread. */
static enum dg_status run_open(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    const struct dg_launcher *launcher = job->launcher;
    DG_TRY(dg_plugin_open(launcher, &comm->library, err));
    comm->mpi = dlsym(comm->library, DG_MPI_PLUGIN_SYMBOL);
    if (!comm->mpi || comm->mpi->interface != DG_MPI_PLUGIN_INTERFACE)
        return dg_fail(err, DG_ERR_UNSUPPORTED, "the plugin for %s is of another version of dinorun: install both anew",
                       launcher->family);
    const struct dg_mpi_caller caller = {waiting, hurries, comm, comm->reason, sizeof comm->reason};
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
    free(comm->piece);
    free(comm->sum);
    free(comm->bytes);
    free(comm);
}

enum dg_status dg_comm_open(const struct dg_comm_options *options, struct dg_comm **result, struct dg_error *err)
{
    struct dg_launcher launcher;
    *result = NULL;
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
    if (status == DG_OK)
        *result = comm;
    else if (comm->world.ranks > 1)
        comm->mpi->abort(1);
    else
        dismiss(comm);
    return status;
}

static enum dg_status run_close(struct dg_comm *comm, const struct job *job, struct dg_error *err)
{
    (void)job, (void)err;
    comm->mpi->close();
    return DG_OK;
}

void dg_comm_close(struct dg_comm *comm)
{
    if (!comm) return;
    run_now(comm, &(struct job){.run = run_close}, NULL);
    dismiss(comm); /* the library stays: MPI may have threads and exit handlers of its own */
}

void dg_comm_abort(struct dg_comm *comm, int status)
{
    fflush(NULL);
    if (comm) comm->mpi->abort(status);
    _exit(status);
}

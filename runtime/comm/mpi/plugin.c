/* The plugin for MPI: moves bytes by non-blocking collectives, and looks at them again and again while it waits,
 * because not every library and transport gives up its core in a blocking call, and none has a limit of time. */
#include "runtime/comm/plugin.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SPINS = 2000,     /* tests in a row, with the core offered to others, before the first nap */
    NAP = 50 * 1000,  /* nanoseconds */
    ASK_EVERY = 1000, /* naps between two questions to the caller */
};

static struct dg_mpi_caller caller;
static MPI_Comm comm_of[DG_MPI_GROUPS];

static bool failed(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS) return false;
    MPI_Error_string(code, text, &length);
    snprintf(caller.reason, (size_t)caller.reason_size, "%s: %s", what, text);
    return true;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits for a request. Where the caller gives up, the request stays behind: the process is about to end. */
static bool finish(MPI_Request request, const char *what)
{
    double begin = now();
    const struct timespec nap = {.tv_nsec = NAP};
    for (int64_t turn = 0;; turn++) {
        int done;
        if (failed(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what)) return false;
        if (done) return true;
        caller.beside(caller.context);
        if (turn < SPINS && caller.hurries(caller.context))
            sched_yield();
        else
            nanosleep(&nap, NULL);
        if (turn % ASK_EVERY == ASK_EVERY - 1 && !caller.waiting(caller.context, now() - begin)) {
            snprintf(caller.reason, (size_t)caller.reason_size, "%s: other processes did not come for %.0f s", what,
                     now() - begin);
            return false;
        }
    }
}

static bool open_world(const struct dg_mpi_caller *asked, struct dg_mpi_world *world)
{
    int provided, length;
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    caller = *asked;
    if (failed(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread")) return false;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &world->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world->ranks);
    comm_of[DG_MPI_ALL] = MPI_COMM_WORLD;
    MPI_Get_library_version(text, &length);
#ifdef OMPI_MAJOR_VERSION
    int major = OMPI_MAJOR_VERSION, minor = OMPI_MINOR_VERSION, release = OMPI_RELEASE_VERSION;
    sscanf(text, "Open MPI v%d.%d.%d", &major, &minor, &release);
    snprintf(world->library, sizeof world->library, "Open MPI %d.%d.%d", major, minor, release);
#else
    char version[32] = "";
    sscanf(text, "MPICH Version: %31s", version);
    snprintf(world->library, sizeof world->library, "MPICH %s", version);
#endif
    if (provided >= MPI_THREAD_FUNNELED)
        return !failed(MPI_Comm_dup(MPI_COMM_WORLD, &comm_of[DG_MPI_BESIDE]), "MPI_Comm_dup");
    snprintf(caller.reason, (size_t)caller.reason_size, "%s cannot be used by a program with threads", world->library);
    return false;
}

static bool lowest_here(int *rank)
{
    MPI_Comm shared;
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    if (failed(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, *rank, MPI_INFO_NULL, &shared),
               "MPI_Comm_split_type"))
        return false;
    bool ok = !failed(MPI_Bcast(rank, 1, MPI_INT, 0, shared), "MPI_Bcast");
    MPI_Comm_free(&shared);
    return ok;
}

static bool split(int machine, int place)
{
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return !failed(MPI_Comm_split(MPI_COMM_WORLD, machine, rank, &comm_of[DG_MPI_MACHINE]), "MPI_Comm_split") &&
           !failed(MPI_Comm_split(MPI_COMM_WORLD, place, machine, &comm_of[DG_MPI_ACROSS]), "MPI_Comm_split");
}

static bool all_to_all(enum dg_mpi_group group, const void *send, struct dg_mpi_ranges from, void *receive,
                       struct dg_mpi_ranges to)
{
    MPI_Request request;
    return !failed(MPI_Ialltoallv(send, from.bytes, from.at, MPI_BYTE, receive, to.bytes, to.at, MPI_BYTE,
                                  comm_of[group], &request),
                   "MPI_Ialltoallv") &&
           finish(request, "MPI_Ialltoallv");
}

static bool all_gather(enum dg_mpi_group group, const void *send, int bytes, void *receive, struct dg_mpi_ranges to)
{
    MPI_Request request;
    return !failed(MPI_Iallgatherv(send, bytes, MPI_BYTE, receive, to.bytes, to.at, MPI_BYTE, comm_of[group], &request),
                   "MPI_Iallgatherv") &&
           finish(request, "MPI_Iallgatherv");
}

static bool broadcast(void *data, int bytes)
{
    MPI_Request request;
    return !failed(MPI_Ibcast(data, bytes, MPI_BYTE, 0, MPI_COMM_WORLD, &request), "MPI_Ibcast") &&
           finish(request, "MPI_Ibcast");
}

static bool all_reduce(void *data, int count, bool f64)
{
    MPI_Request request;
    return !failed(MPI_Iallreduce(MPI_IN_PLACE, data, count, f64 ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD,
                                  &request),
                   "MPI_Iallreduce") &&
           finish(request, "MPI_Iallreduce");
}

static void close_world(void) { MPI_Finalize(); }

static void abort_world(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

__attribute__((visibility("default")))
const struct dg_mpi_plugin dinograph_mpi_plugin = {.interface = DG_MPI_PLUGIN_INTERFACE,
                                                   .open = open_world,
                                                   .lowest_here = lowest_here,
                                                   .split = split,
                                                   .all_to_all = all_to_all,
                                                   .all_gather = all_gather,
                                                   .broadcast = broadcast,
                                                   .all_reduce = all_reduce,
                                                   .close = close_world,
                                                   .abort = abort_world};

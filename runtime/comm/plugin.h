/* What a plugin for MPI offers to comm.c. The plugin alone is linked with an MPI library; it moves bytes and
 * computes nothing, so all that decides a result is in comm.c. There is one for each family of libraries, and only
 * the process that was started by that family's launcher opens it.
 *
 * A function that may fail returns false and writes the reason to the text that `open` was given. All are called by
 * one thread, the one that called `open`; `beside` alone may call one while another waits. Counts and places are
 * bytes; a call moves less than 2 GiB. */
#ifndef DG_RUNTIME_COMM_PLUGIN_H
#define DG_RUNTIME_COMM_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

/* Raised with every change of this file. A plugin of another number is refused. */
#define DG_MPI_PLUGIN_INTERFACE 3u

/* What the plugin needs of its caller. */
struct dg_mpi_caller {
    /* Called now and then while a call waits for others, with the seconds that it has waited; false: give up. */
    bool (*waiting)(void *context, double seconds);
    /* Whether somebody waits for this call: it may then test without a pause; else it leaves its core to the
     * computation. */
    bool (*hurries)(void *context);
    /* Called between tests while a call waits for others. It may make a call of DG_MPI_BESIDE. */
    void (*beside)(void *context);
    void *context;
    char *reason; /* [reason_size]: why a call failed */
    int reason_size;
};

/* Who takes part in a call. The groups of a machine and across machines are there after `split`. */
enum dg_mpi_group {
    DG_MPI_ALL,
    DG_MPI_MACHINE, /* the processes of this one's machine */
    DG_MPI_ACROSS,  /* of each machine the process of the same place on it as this one */
    DG_MPI_BESIDE,  /* all, for calls beside the others, whose order among those may differ between processes */
    DG_MPI_GROUPS
};

struct dg_mpi_world {
    int rank, ranks;
    char library[64]; /* "Open MPI 4.1.4" */
};

/* One range for each rank of a group, in the order of ranks. */
struct dg_mpi_ranges {
    const int *bytes, *at; /* [ranks of the group] */
};

struct dg_mpi_plugin {
    uint32_t interface; /* DG_MPI_PLUGIN_INTERFACE */
    bool (*open)(const struct dg_mpi_caller *caller, struct dg_mpi_world *world);
    /* The lowest rank of those that share memory with this process. */
    bool (*lowest_here)(int *rank);
    /* Makes the groups: processes of one number are a machine, in the order of ranks; those of one place are across
     * machines, in the order of their machines' numbers. */
    bool (*split)(int machine, int place);
    /* Range j of send goes to rank j of the group; what it sends here comes to range j of receive. */
    bool (*all_to_all)(enum dg_mpi_group group, const void *send, struct dg_mpi_ranges from, void *receive,
                       struct dg_mpi_ranges to);
    /* The `bytes` of each rank of the group come to its range of receive on all of them. */
    bool (*all_gather)(enum dg_mpi_group group, const void *send, int bytes, void *receive, struct dg_mpi_ranges to);
    /* From rank 0 to all. */
    bool (*broadcast)(void *data, int bytes);
    /* data [count] = the sum over ranks, in an order of the library's choice. */
    bool (*all_reduce)(void *data, int count, bool f64);
    void (*close)(void);       /* waits for the others */
    void (*abort)(int status); /* ends all processes; does not return */
};

/* The one symbol of a plugin. */
#define DG_MPI_PLUGIN_SYMBOL "dinograph_mpi_plugin"
extern const struct dg_mpi_plugin dinograph_mpi_plugin;

#endif

/* Programs run as several processes, by the launchers of the MPI libraries that this build has plugins for. */
#ifndef DG_TESTS_MPIRUN_H
#define DG_TESTS_MPIRUN_H

#include "tests/support/process.h"

#include <stdbool.h>

enum { MPI_WORDS = 48 }; /* of a command line */

/* An MPI: its plugin, and how to start processes on one machine that has fewer CPUs. */
struct mpi {
    const char *name, *plugin;
    const char *launch[12];
};

extern const struct mpi open_mpi, open_mpi_tcp, mpich;

/* One thread a process that gives its core away where it waits; mpirun starts as root, too. */
void mpi_environment(void);

/* Says so if not. */
bool mpi_usable(const struct mpi *mpi);

/* The command line: the launcher, the number of processes, and what each of them runs. `mpi` NULL: one process without a launcher. */
void mpi_command(const struct mpi *mpi, const char *ranks, const char *const *run, const char *argv[MPI_WORDS]);

/* Runs it; as process_run. */
const struct process *mpi_launch(const struct mpi *mpi, const char *ranks, const char *const *run);
#define LAUNCH(mpi, ranks, ...) mpi_launch(mpi, ranks, (const char *const[]){__VA_ARGS__, NULL})

#endif

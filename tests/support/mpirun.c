#include "tests/support/mpirun.h"

#include "tests/support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct mpi open_mpi = {"Open MPI",
                             DG_BUILD_DIR "/dinograph-mpi-openmpi.so",
                             {"mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "^tcp,ofi",
                              "--mca", "mpi_yield_when_idle", "1", "-n"}},
                 open_mpi_tcp = {"Open MPI over TCP",
                                 DG_BUILD_DIR "/dinograph-mpi-openmpi.so",
                                 {"mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,tcp",
                                  "-n"}},
                 mpich = {"MPICH", DG_BUILD_DIR "/dinograph-mpi-mpich.so", {"mpirun.mpich", "-n"}};

static bool in_path(const char *program)
{
    char *path = strdup(getenv("PATH") ? getenv("PATH") : ""), file[1024];
    bool found = false;
    for (char *folder = strtok(path, ":"); folder && !found; folder = strtok(NULL, ":")) {
        snprintf(file, sizeof file, "%s/%s", folder, program);
        found = !access(file, X_OK);
    }
    free(path);
    return found;
}

void mpi_environment(void)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* Open MPI leaves some memory at its end */
}

bool mpi_usable(const struct mpi *mpi)
{
    bool has = !access(mpi->plugin, F_OK) && in_path(mpi->launch[0]);
    if (!has) print_message("left out: %s (no plugin in this build, or no %s)\n", mpi->name, mpi->launch[0]);
    return has;
}

void mpi_command(const struct mpi *mpi, const char *ranks, const char *const *run, const char *argv[MPI_WORDS])
{
    int count = 0;
    for (int i = 0; mpi && mpi->launch[i]; i++) argv[count++] = mpi->launch[i];
    if (mpi) argv[count++] = ranks;
    for (int i = 0; run[i]; i++) argv[count++] = run[i];
    argv[count] = NULL;
    assert_true(count < MPI_WORDS);
}

const struct process *mpi_launch(const struct mpi *mpi, const char *ranks, const char *const *run)
{
    const char *argv[MPI_WORDS];
    mpi_command(mpi, ranks, run, argv);
    return process_run(argv, NULL);
}

#include "runtime/comm/launcher.h"

#include "runtime/base/path.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number_of(const char *variable)
{
    const char *text = getenv(variable);
    return text ? atoi(text) : 0;
}

enum dg_status dg_launcher_find(struct dg_launcher *launcher, struct dg_error *err)
{
    int open_mpi = number_of("OMPI_COMM_WORLD_SIZE"), pmi = number_of("PMI_SIZE"), slurm = number_of("SLURM_NTASKS");
    bool pmix = slurm > 1 && getenv("PMIX_RANK"); /* srun --mpi=pmix, which says no size of its own */
    if (!open_mpi && pmix) open_mpi = slurm;
    if (open_mpi > 0)
        *launcher = (struct dg_launcher){open_mpi, "Open MPI", "openmpi", "openmpi-bin"};
    else
        *launcher = (struct dg_launcher){pmi > 0 ? pmi : 1, "MPICH", "mpich", "mpich"};
    if (open_mpi || pmi || slurm < 2 || !getenv("SLURM_PROCID") || !getenv("SLURM_STEP_ID")) return DG_OK;
    launcher->ranks = slurm;
    return dg_fail(
        err, DG_ERR_UNSUPPORTED,
        "Slurm has started %d processes without MPI, and each would train alone: add --mpi=pmix (Open MPI) or "
        "--mpi=pmi2 (MPICH) to srun, or start mpirun",
        slurm);
}

enum dg_status dg_plugin_open(const struct dg_launcher *launcher, void **library, struct dg_error *err)
{
    char program[DG_MAX_PATH], path[DG_MAX_PATH + 64];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    char *slash = strrchr(program, '/');
    if (slash) *slash = 0;
    static const char *const folders[] = {"", "/../" DG_PLUGIN_FOLDER};
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        snprintf(path, sizeof path, "%s%s/dinograph-mpi-%s.so", program, folders[f], launcher->plugin);
        if (access(path, F_OK)) continue;
        *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (*library) return DG_OK;
        return dg_fail(err, DG_ERR_UNSUPPORTED,
                       "%s has started %d processes, and its plugin cannot be opened: %s; install %s", launcher->family,
                       launcher->ranks, dlerror(), launcher->package);
    }
    return dg_fail(
        err, DG_ERR_UNSUPPORTED,
        "%s has started %d processes, and dinorun's plugin for %s is not there: install the package "
        "dinograph-%s or, of a dinorun that was built from source, lib%s-dev and build again; or start one process",
        launcher->family, launcher->ranks, launcher->family, launcher->plugin, launcher->plugin);
}

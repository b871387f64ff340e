/* Which launcher has started this process, and the plugin for its MPI. */
#ifndef DG_RUNTIME_COMM_LAUNCHER_H
#define DG_RUNTIME_COMM_LAUNCHER_H

#include "ops/base/base.h"

struct dg_launcher {
    int ranks;           /* processes that it has started; 1: there is none */
    const char *family;  /* "Open MPI", "MPICH" */
    const char *plugin;  /* "openmpi", "mpich" */
    const char *package; /* Debian's, that has the library */
};

/* DG_ERR_UNSUPPORTED: Slurm has started several processes without an MPI; launcher->ranks says how many. */
enum dg_status dg_launcher_find(struct dg_launcher *launcher, struct dg_error *err);

/* Opens dinograph-mpi-<plugin>.so, which lies beside the program or in the library folder beside it.
 * DG_ERR_UNSUPPORTED: there is none, or it cannot be opened; the text says what to install. */
enum dg_status dg_plugin_open(const struct dg_launcher *launcher, void **library, struct dg_error *err);

#endif

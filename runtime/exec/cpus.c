#include "runtime/exec/cpus.h"

#include "runtime/base/control_group.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

int dg_usable_cpus(void)
{
    /* Not this thread's affinity: under OMP_PROC_BIND OpenMP has bound the thread to one CPU. */
    int cpus = omp_get_num_procs();
    double quota = dg_control_group_cpus("");
    if (quota > 0 && quota < cpus) cpus = (int)lrint(quota);
    return cpus < 1 ? 1 : cpus;
}

int dg_default_threads(void)
{
    enum { MOST = 1024 };
    const char *text = getenv("OMP_NUM_THREADS"); /* omp_get_max_threads() is what the last session has set */
    long threads = text ? strtol(text, NULL, 10) : 0;
    if (threads > 0) return threads > MOST ? MOST : (int)threads;
    return dg_usable_cpus();
}

void dg_threads_check(int threads, const struct dg_log *log)
{
    int cpus = dg_usable_cpus();
    double quota = dg_control_group_cpus("");
    if (threads <= cpus) return;
    if (quota > 0 && quota < omp_get_num_procs())
        dg_log(log, DG_LOG_INFO, DG_LOG_PLAN,
               "%d threads, and the CPU quota of this process's control group is %.3g: they will wait for each other; "
               "--threads %d is likely to be faster",
               threads, quota, cpus);
    else
        dg_log(log, DG_LOG_INFO, DG_LOG_PLAN,
               "%d threads on %d CPU%s: they will wait for each other; --threads %d is likely to be faster", threads,
               cpus, cpus == 1 ? "" : "s", cpus);
}

/* How many threads a session computes with unless it is told. */
#ifndef DG_RUNTIME_EXEC_CPUS_H
#define DG_RUNTIME_EXEC_CPUS_H

#include "runtime/base/log.h"

/* CPUs that this process may use: those of its affinity, or as many as the CPU quota of its control groups leaves,
 * rounded to the nearest number, whichever is less; at least 1. */
int dg_usable_cpus(void);

/* OMP_NUM_THREADS (the first number of a list) where it is set, else dg_usable_cpus(). */
int dg_default_threads(void);

/* Says (level info) where `threads` are more than dg_usable_cpus(), and what limits those. */
void dg_threads_check(int threads, const struct dg_log *log);

#endif

/* What the machine can give, and regions of it. */
#ifndef DG_RUNTIME_BASE_MEMORY_H
#define DG_RUNTIME_BASE_MEMORY_H

#include "ops/base/base.h"

/* Bytes this process may still take: free memory of the machine and what the control groups above it leave, whichever is
 * less. INT64_MAX where nothing can be learnt. */
int64_t dg_memory_available(void);
/* Highest resident size of this process so far, in bytes. */
int64_t dg_memory_peak(void);

/* A zeroed region, page-aligned, in huge pages where the system has them, and touched, so that it is really there. Freed by
 * dg_region_free. bytes 0 gives NULL and no error. */
enum dg_status dg_region_alloc(const char *what, int64_t bytes, void **region, struct dg_error *err);
void dg_region_free(void *region, int64_t bytes);

#endif

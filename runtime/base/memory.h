/* How much memory is free, and zeroed regions of it. */
#ifndef DG_RUNTIME_BASE_MEMORY_H
#define DG_RUNTIME_BASE_MEMORY_H

#include "ops/base/base.h"

/* Bytes that this process may still allocate: the machine's free memory or what its control groups leave, whichever is
 * less. INT64_MAX if neither is known. */
int64_t dg_memory_available(void);
/* Highest resident size of this process so far, in bytes. */
int64_t dg_memory_peak(void);

/* Allocates a zeroed, page-aligned region, in huge pages where the system has them, and touches all pages, so that a
 * lack of memory shows here. `what` is named in the error, DG_ERR_MEMORY. For 0 bytes *region is NULL and there is no
 * error. Freed by dg_region_free. */
enum dg_status dg_region_alloc(const char *what, int64_t bytes, void **region, struct dg_error *err);
void dg_region_free(void *region, int64_t bytes);

#endif

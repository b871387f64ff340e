/* How much memory is free, and zeroed regions of it. */
#ifndef DG_RUNTIME_BASE_MEMORY_H
#define DG_RUNTIME_BASE_MEMORY_H

#include "ops/base/base.h"

/* Bytes that this process may still allocate: the machine's free memory or what its control groups leave, whichever is
 * less. INT64_MAX if neither is known. */
int64_t dg_memory_available(void);
/* Highest resident size of this process so far, in bytes. */
int64_t dg_memory_peak(void);

/* Allocates a zeroed, page-aligned region, in huge pages where the system has them, and touches it. `what` is named in the error,
 * DG_ERR_MEMORY. For 0 bytes *region is NULL and there is no error. Freed by dg_region_free. */
enum dg_status dg_region_alloc(const char *what, int64_t bytes, void **region, struct dg_error *err);
/* The same, but no page is touched. */
enum dg_status dg_region_map(const char *what, int64_t bytes, void **region, struct dg_error *err);
/* Touches the pages of a zeroed range, so that a lack of memory shows here. Each thread of OpenMP's team touches one of as many equal
 * shares, as loops with a static schedule share an array: on a machine with several memory nodes a page lies with the thread that
 * touched it first. A page that has been touched stays where it is. */
void dg_region_touch(void *range, int64_t bytes);
void dg_region_free(void *region, int64_t bytes);

#endif

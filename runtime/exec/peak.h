/* How fast this machine multiplies matrices: what a step is compared with. */
#ifndef DG_RUNTIME_EXEC_PEAK_H
#define DG_RUNTIME_EXEC_PEAK_H

#include "ops/base/base.h"

enum { DG_PEAK_MATMULS = 2 }; /* of f32 or bf16, row-major: 2048 x 2048 x 2048 and 3152 x 1536 x 384 (m, n, k) */

struct dg_peak;

/* Prepares the matmuls and their operands, random numbers. DG_ERR_UNSUPPORTED, DG_ERR_MEMORY. On failure *peak is
 * NULL. */
enum dg_status dg_peak_open(bool bf16, struct dg_peak **peak, struct dg_error *err);
void dg_peak_close(struct dg_peak *peak); /* NULL is fine */

/* Runs matmul `index` a few times. *rate: FLOP/s of the fastest run. */
enum dg_status dg_peak_run(struct dg_peak *peak, int index, double *rate, struct dg_error *err);

#endif

/* A case for every kernel: the call of it on random operands of a trial, at the trial's level, with bounds on how far its results may
 * be from those at the lowest level. ops/kernels/list.h declares the cases; test_levels does not link where one is missing.
 *
 * Where no order of sums and no fused multiply-add can differ, bits are the same. Elsewhere both are near the exact result, by
 * bounds that come from the arithmetic. A chain of k operations is off by at most k units of rounding of the largest intermediate
 * result. A sum of n terms is off by at most n units of the sum of their magnitudes, whatever its order; roundings are independent
 * of each other, so a few times sqrt(n) are not passed either. A number that is rounded to bf16 may fall on the other side, which
 * is one unit in its last place. */
#ifndef DG_TESTS_LEVELS_H
#define DG_TESTS_LEVELS_H

#include "tests/support/check.h"
#include "tests/support/kernel_trial.h"

#define DG_KERNEL(family, kernel) void levels_##family##_##kernel(struct trial *t);
#include "ops/kernels/list.h"

/* The kernels of a family at the level of the trial `t`. */
#define AT(family) dg_##family##_kernels_at(t->level)

#endif

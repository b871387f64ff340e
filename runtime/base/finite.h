/* Numbers that are none: NaN and infinities. */
#ifndef DG_RUNTIME_BASE_FINITE_H
#define DG_RUNTIME_BASE_FINITE_H

#include "ops/base/base.h"

/* The first of `count` numbers that is NaN or infinite; -1: all are finite. */
int64_t dg_first_not_finite(const float *number, int64_t count);

#endif

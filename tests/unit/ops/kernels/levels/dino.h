/* What the cases of dino and dino_tile share. */
#ifndef DG_TESTS_LEVELS_DINO_H
#define DG_TESTS_LEVELS_DINO_H

#include "tests/unit/ops/kernels/levels/levels.h"

/* With center, s and t up to 1: logits over a temperature of 0.05 are at most 2 / 0.05 = 40, and so is what an exponential is of. */
#define TEMP 0.05F
enum { MOST = 40 };

/* A log-sum-exp beyond all of the student's logits, which are at most 1 / 0.05. */
static inline float *lse_of(struct trial *t, int64_t rows)
{
    return trial_in(t, false, rows, 0.5F * MOST, 0.5F * MOST + 1);
}

#endif

/* Maxima, sums and dot products of up to 16 rows at a time: a row is reduced in 16 lanes, which are transposed and reduced as rows
 * are by vectors, without a chain of additions within a register. */
#ifndef DG_OPS_KERNELS_REDUCE_H
#define DG_OPS_KERNELS_REDUCE_H

#include "ops/kernels/bf16.h"
#include "ops/kernels/lanes.h"
#include "ops/kernels/pack.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DG_REDUCED = 16 }; /* rows that are reduced together, and their lanes */

/* result[r] = the largest number or the sum of lanes[r]. */
static DG_INLINE void dg_reduce_rows(bool largest, float (*lanes)[DG_REDUCED], float *result)
{
    float columns[DG_REDUCED * DG_REDUCED];
    dg_transpose(DG_REDUCED, DG_REDUCED, lanes[0], DG_REDUCED, DG_REDUCED, columns);
    for (int c = 0; c < DG_REDUCED; c += DG_LANES) {
        dg_lanes all = *(const dg_lanes *)(columns + c);
        for (int r = 1; r < DG_REDUCED; r++) {
            dg_lanes x = *(const dg_lanes *)(columns + r * DG_REDUCED + c);
            if (largest)
                all = dg_larger(x, all);
            else
                all += x;
        }
        *(dg_lanes *)(result + c) = all;
    }
}

/* result[r] = the sum over c < width of a[r * ld + c] * b[r * ld + c], for r < count. */
static DG_INLINE void dg_dot_rows(bool bf16, int64_t count, int64_t width, const void *a, const void *b, int64_t ld,
                                  float *result)
{
    float lanes[DG_REDUCED][DG_REDUCED] = {0}, dot[DG_REDUCED];
    for (int64_t first = 0; first < count; first += DG_REDUCED) {
        int64_t rows = dg_min_i64(DG_REDUCED, count - first);
        for (int64_t r = 0; r < rows; r++) {
            const void *x = dg_at(a, bf16, (first + r) * ld), *y = dg_at(b, bf16, (first + r) * ld);
            float sum[DG_REDUCED] = {0};
            int64_t c = 0;
            for (; c + DG_REDUCED <= width; c += DG_REDUCED)
#pragma omp simd
                for (int i = 0; i < DG_REDUCED; i++) sum[i] += dg_get(x, bf16, c + i) * dg_get(y, bf16, c + i);
            for (int i = 0; c + i < width; i++) sum[i] += dg_get(x, bf16, c + i) * dg_get(y, bf16, c + i);
            memcpy(lanes[r], sum, sizeof sum);
        }
        dg_reduce_rows(false, lanes, dot);
        memcpy(result + first, dot, (size_t)rows * sizeof *dot);
    }
}

#endif

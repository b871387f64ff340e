/* Rows that are read or written next, brought near while something else computes: short pieces far apart, which no hardware
 * foresees. */
#ifndef DG_OPS_KERNELS_AHEAD_H
#define DG_OPS_KERNELS_AHEAD_H

#include <stdint.h>

struct dg_ahead {
    int64_t rows, steps, done, row, num, bytes; /* `bytes` of a row of each of `num`; all rows in so many steps */
    struct {
        const char *row0;
        int64_t ld; /* bytes */
    } from[8];
};

/* A step's share of them. */
static inline void dg_fetch(struct dg_ahead *a)
{
    int64_t end = ++a->done * a->rows / a->steps;
    for (; a->row < end; a->row++)
        for (int64_t i = 0; i < a->num; i++)
            for (int64_t b = 0; b < a->bytes; b += 64)
                __builtin_prefetch(a->from[i].row0 + a->row * a->from[i].ld + b, 0, 2);
}

#endif

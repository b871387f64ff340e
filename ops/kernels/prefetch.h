/* Prefetches rows that are used next while something else computes. Such rows are short and lie far apart, so the hardware
 * does not foresee them. */
#ifndef DG_OPS_KERNELS_PREFETCH_H
#define DG_OPS_KERNELS_PREFETCH_H

#include <stdint.h>

struct dg_prefetch {
    int64_t rows, bytes; /* rows of each array, and bytes of a row that are fetched */
    int64_t steps;       /* calls of dg_prefetch_step() that fetch all rows */
    int64_t num_arrays;
    struct {
        const char *row0;
        int64_t ld; /* bytes from a row to the next */
    } array[8];
    int64_t steps_done, rows_done; /* zero at first */
};

/* Fetches the rows of one step. */
static inline void dg_prefetch_step(struct dg_prefetch *p)
{
    int64_t end = ++p->steps_done * p->rows / p->steps;
    for (; p->rows_done < end; p->rows_done++)
        for (int64_t i = 0; i < p->num_arrays; i++)
            for (int64_t b = 0; b < p->bytes; b += 64)
                __builtin_prefetch(p->array[i].row0 + p->rows_done * p->array[i].ld + b, 0, 2);
}

#endif

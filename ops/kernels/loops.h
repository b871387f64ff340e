/* What the kernels' own loops share: sharing out of numbers among threads, loops compiled for f32 and for bf16, sums of the
 * threads' sums. For files of this folder that are compiled once per CPU level. */
#ifndef DG_OPS_KERNELS_LOOPS_H
#define DG_OPS_KERNELS_LOOPS_H

#include <omp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For a function that is to be compiled anew for each constant that it is called with. */
#define DG_INLINE inline __attribute__((always_inline))

/* The calling thread's part of `count` numbers, in whole cache lines, inside a parallel region. */
struct dg_range {
    int64_t first, end;
};
static inline struct dg_range dg_my_range(int64_t count)
{
    int64_t threads = omp_get_num_threads(), mine = omp_get_thread_num(), lines = (count + 63) / 64;
    int64_t first = lines * mine / threads * 64, end = lines * (mine + 1) / threads * 64;
    return (struct dg_range){first, end < count ? end : count};
}

/* Calls loop(part, bf16, ...) on each thread's part of `count` numbers; the loop is compiled for f32 and for bf16. */
#define DG_EACH_PART(count, bf16, loop, ...)                                                                           \
    _Pragma("omp parallel")                                                                                            \
    {                                                                                                                  \
        struct dg_range part = dg_my_range(count);                                                                     \
        if (bf16)                                                                                                      \
            loop(part, 1, __VA_ARGS__);                                                                                \
        else                                                                                                           \
            loop(part, 0, __VA_ARGS__);                                                                                \
    }

/* dst[c] = acc[c] + the sum over threads t of partial[t * ld + c], in the order of the threads. acc may be NULL (zeros) or
 * dst. */
static inline void dg_add_partial(int64_t cols, const float *acc, const float *partial, int64_t ld, int threads,
                                  float *dst)
{
    for (int64_t c = 0; c < cols; c++) {
        float total = acc ? acc[c] : 0;
        for (int t = 0; t < threads; t++) total += partial[ld * t + c];
        dst[c] = total;
    }
}

#endif

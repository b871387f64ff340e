/* Our own loops. Every file of this folder is compiled once per CPU level (CMakeLists.txt) and one table is chosen at
 * start, so binaries are portable and no flag is -march=native. A kernel is a plain C function with OpenMP inside; it is
 * declared once, in kernels/list.h, defined as `void DG_K(name)(...)`, and called as `dg_kernels()->name(...)`.
 *
 * Reductions are deterministic for a given thread count: static schedules, partial sums added in thread order. */
#ifndef DG_OPS_KERNELS_H
#define DG_OPS_KERNELS_H

#include <omp.h>
#include <stddef.h>
#include <stdint.h>

/* Windows over NHWC images: of `kernel` by `kernel` pixels, `dilation` pixels apart, beginning at -pad. */
struct dg_windows {
    int64_t height, width, channels, out_height, out_width, kernel, stride, pad, dilation;
};

struct dg_kernel_table {
#define DG_KERNEL(name, ...) void (*name)(__VA_ARGS__);
#include "ops/kernels/list.h"
#undef DG_KERNEL
    const char *level; /* "v1" (baseline), "v3" (AVX2), "v4" (AVX-512), "v4b" (its bf16 too) */
};

/* The table for this machine; DINOGRAPH_CPU=v1|v3|v4|v4b chooses a lower one (for tests and bug reports). */
const struct dg_kernel_table *dg_kernels(void);

#ifdef DG_KERNEL_LEVEL
/* For what is to be compiled for each constant it is called with. */
#define DG_INLINE inline __attribute__((always_inline))

/* The calling thread's part of `count` numbers, whole cache lines of them, inside of a parallel region. */
struct dg_range {
    int64_t first, end;
};
static inline struct dg_range dg_my_range(int64_t count)
{
    int64_t threads = omp_get_num_threads(), mine = omp_get_thread_num(), lines = (count + 63) / 64;
    int64_t first = lines * mine / threads * 64, end = lines * (mine + 1) / threads * 64;
    return (struct dg_range){first, end < count ? end : count};
}

/* loop(part, half, ...) on each thread's part of `count` numbers, compiled for f32 and for bf16. */
#define DG_EACH_PART(count, half, loop, ...)                                                                           \
    _Pragma("omp parallel")                                                                                            \
    {                                                                                                                  \
        struct dg_range part = dg_my_range(count);                                                                     \
        if (half)                                                                                                      \
            loop(part, 1, __VA_ARGS__);                                                                                \
        else                                                                                                           \
            loop(part, 0, __VA_ARGS__);                                                                                \
    }

/* dst[c] = acc[c] (NULL: 0) and the threads' sums partial[t * ld + c], in the order of the threads; acc may be dst. */
static inline void dg_add_partial(int64_t cols, const float *acc, const float *partial, int64_t ld, int threads,
                                  float *dst)
{
    for (int64_t c = 0; c < cols; c++) {
        float total = acc ? acc[c] : 0;
        for (int t = 0; t < threads; t++) total += partial[ld * t + c];
        dst[c] = total;
    }
}

#define DG_K_PASTE(name, level) dg_##name##_##level
#define DG_K_EXPAND(name, level) DG_K_PASTE(name, level)
#define DG_K(name) DG_K_EXPAND(name, DG_KERNEL_LEVEL)
#define DG_KERNEL(name, ...) void DG_K(name)(__VA_ARGS__);
#include "ops/kernels/list.h"
#undef DG_KERNEL
#endif

#endif

/* Inner loops of the image code for more than one CPU level.
 *
 * DG_IMAGE_LEVELS(name, (parameters), (arguments)) defines `static void name(parameters)` around an always-inline
 * `name_body(parameters)`: compiled for the baseline and once more for AVX2, chosen as all kernels are
 * (ops/kernels/level.h). Only integer loops: the levels must give the same bytes. */
#ifndef DG_RUNTIME_IMAGE_SIMD_H
#define DG_RUNTIME_IMAGE_SIMD_H

#include "ops/kernels/level.h"

#define DG_IMAGE_BODY static inline __attribute__((always_inline)) void

#ifdef __x86_64__
#define DG_IMAGE_LEVELS(name, parameters, arguments)                                                                   \
    static void name##_v1 parameters { name##_body arguments; }                                                        \
    __attribute__((target("avx2"))) static void name##_v3 parameters { name##_body arguments; }                        \
    static void name parameters                                                                                        \
    {                                                                                                                  \
        if (dg_cpu_level() == DG_CPU_V1 || !dg_cpu_has_level(DG_CPU_V3))                                               \
            name##_v1 arguments;                                                                                       \
        else                                                                                                           \
            name##_v3 arguments;                                                                                       \
    }
#else
#define DG_IMAGE_LEVELS(name, parameters, arguments)                                                                   \
    static void name parameters { name##_body arguments; }
#endif

#endif

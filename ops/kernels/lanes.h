/* Vectors of f32 as wide as the CPU level's registers, and operations on them that C has no operator for. */
#ifndef DG_OPS_KERNELS_LANES_H
#define DG_OPS_KERNELS_LANES_H

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"
#include "ops/kernels/vmath.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { DG_LANES = 16 };
#elif defined(__AVX2__)
enum { DG_LANES = 8 };
#else
enum { DG_LANES = 4 };
#endif
typedef float dg_lanes __attribute__((vector_size(4 * DG_LANES), aligned(4), may_alias));
typedef uint32_t dg_bits __attribute__((vector_size(4 * DG_LANES)));

/* sum + a * x, lane by lane. Operands in bf16 are units of 32 bits: two numbers that follow each other along the summed
 * dimension k, the first in the lower half, and both products are added. Where tiles are of bf16, elements are units and k
 * counts units. */
static DG_INLINE dg_lanes dg_multiply_add(bool bf16, dg_lanes sum, float a, dg_lanes x)
{
    if (!bf16) return sum + a * x;
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_ps(a), (__m512bh)(__m512)x);
#else
    uint32_t unit, upper;
    memcpy(&unit, &a, 4);
    upper = unit & 0xffff0000;
    unit <<= 16;
    float first, second;
    memcpy(&first, &unit, 4);
    memcpy(&second, &upper, 4);
    dg_bits y = (dg_bits)x;
    return sum + first * (dg_lanes)(y << 16) + second * (dg_lanes)(y & 0xffff0000);
#endif
}

/* Rounds to bf16; unit i of the result is (first[i], second[i]). */
static DG_INLINE dg_lanes dg_units_of(dg_lanes first, dg_lanes second)
{
#ifdef __AVX512BF16__
    const __m512i order =
        _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
                         0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    return (dg_lanes)_mm512_permutexvar_epi16(order, rounded);
#else
    dg_lanes units;
#pragma omp simd
    for (int i = 0; i < DG_LANES; i++) {
        uint32_t unit = dg_bf16_pair(first[i], second[i]);
        memcpy((char *)&units + 4 * i, &unit, 4);
    }
    return units;
#endif
}

/* Rounds to bf16; units of neighbouring lanes: (first[0], first[1]), (first[2], first[3]), ..., then those of `second`. */
static DG_INLINE dg_lanes dg_units_along(dg_lanes first, dg_lanes second)
{
#ifdef __AVX512BF16__
    return (dg_lanes)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
    dg_lanes units;
    for (int i = 0; i < DG_LANES; i++) {
        dg_lanes x = i < DG_LANES / 2 ? first : second;
        uint32_t unit = dg_bf16_pair(x[2 * i % DG_LANES], x[2 * i % DG_LANES + 1]);
        memcpy((char *)&units + 4 * i, &unit, 4);
    }
    return units;
#endif
}

/* a > b ? a : b, lane by lane: b where one of the two is a NaN. */
static DG_INLINE dg_lanes dg_larger(dg_lanes a, dg_lanes b)
{
#ifdef __AVX512F__
    return (dg_lanes)_mm512_max_ps((__m512)a, (__m512)b);
#else
    dg_bits above = (dg_bits)(a > b);
    return (dg_lanes)((above & (dg_bits)a) | (~above & (dg_bits)b));
#endif
}

/* 2^x for x up to 127, with a relative error of 1.2e-7 or, if `rough`, 7.5e-5. Below -126 the result is about 2^-126 or less. */
static DG_INLINE dg_lanes dg_powers(int rough, dg_lanes x)
{
#ifdef __AVX512DQ__
    dg_lanes r = (dg_lanes)_mm512_reduce_ps((__m512)x, 8), n = x - r; /* 8: x minus the nearest integer */
#else
    const float magic = 12582912.0f; /* as in vmath.h */
    x = dg_larger((dg_lanes){0} - 126.0f, x);
    dg_lanes shifted = x + magic, r = x - (shifted - magic);
#endif
    dg_lanes p = DG_SMALL_POWER(rough, r);
#ifdef __AVX512DQ__
    return (dg_lanes)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (dg_lanes)((dg_bits)p + ((dg_bits)shifted << 23));
#endif
}

/* dst[i] = times * src[i] for i < count; dst is bf16 or, if not `bf16`, f32. */
static DG_INLINE void dg_put_times(bool bf16, int64_t count, const float *src, float times, void *dst)
{
    int64_t c = 0;
#ifdef __AVX512BF16__
    for (; bf16 && c + DG_LANES <= count; c += DG_LANES)
        _mm256_storeu_si256((void *)((dg_bf16 *)dst + c),
                            (__m256i)_mm512_cvtneps_pbh((__m512)(*(const dg_lanes *)(src + c) * times)));
#endif
#pragma omp simd
    for (int64_t i = c; i < count; i++) dg_put(dst, bf16, i, src[i] * times);
}

#endif

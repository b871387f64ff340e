/* exp, ln and the tail of the normal distribution without branches or calls, so that the compiler vectorises loops over them.
 * The polynomials were fitted for this file by least squares, reweighted by their errors until the largest error was least. */
#ifndef DG_OPS_KERNELS_VMATH_H
#define DG_OPS_KERNELS_VMATH_H

#include "ops/kernels/loops.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x, to 1 or 2 units in the last place. Below -87.3 the result is about 2^-126, which is zero to a softmax; above 88.7 it is
 * e^88.7. */
static inline float dg_expf(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.3f ? -87.3f : x;
    x = x > 88.7f ? 88.7f : x;
    float shifted = x * 1.44269504f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f; /* ln 2 in two parts; the first is exact times n */
    r = r + n * 2.12194440e-4f;
    float p = 0.0013950476422905922f;
    p = p * r + 0.008368882350623608f;
    p = p * r + 0.04166620597243309f;
    p = p * r + 0.166665181517601f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    bits = (int32_t)((uint32_t)bits << 23); /* n is in the low bits of `shifted`; its exponent part is shifted out */
    int32_t value;
    memcpy(&value, &p, 4);
    value += bits;
    memcpy(&p, &value, 4);
    return p;
}

/* 2^r for r from -1/2 to 1/2, a number or a vector, with a relative error of 1.2e-7 or, if `rough`, 7.5e-5. */
#define DG_SMALL_POWER(rough, r)                                                                                       \
    ((rough) ? ((5.5171669e-2f * (r) + 2.4261112e-1f) * (r) + 6.9326097e-1f) * (r) + 9.9992806e-1f                     \
             : ((((1.32647e-3f * (r) + 9.671511e-3f) * (r) + 5.5507336e-2f) * (r) + 2.4022242e-1f) * (r) +             \
                6.9314698e-1f) *                                                                                       \
                       (r) +                                                                                           \
                   1.0f)

/* 2^x for x from -126 to 127, with a relative error of 1.2e-7. */
static DG_INLINE float dg_exp2f(float x)
{
    const float magic = 12582912.0f; /* as in dg_expf */
    float shifted = x + magic;
    float r = x - (shifted - magic);
    float p = DG_SMALL_POWER(0, r);
    uint32_t bits, value;
    memcpy(&bits, &shifted, 4);
    memcpy(&value, &p, 4);
    value += bits << 23;
    memcpy(&p, &value, 4);
    return p;
}

/* 1 - Phi(z) for z from 0 to DG_TAIL_END, with an absolute error of 5e-8 and a relative one of 5e-4. The logarithm of the tail is
 * nearly a parabola, so 2 to the power of a polynomial fits. */
#define DG_TAIL_END 7.0f
static DG_INLINE float dg_normal_tail(float z)
{
    float p = 1.44042995e-7f;
    p = p * z - 3.72554654e-6f;
    p = p * z + 3.75342234e-5f;
    p = p * z - 1.58703385e-4f;
    p = p * z - 2.22586634e-4f;
    p = p * z + 7.18543076e-3f;
    p = p * z - 5.25816119e-2f;
    p = p * z - 4.59180813e-1f;
    p = p * z - 1.15110840f;
    p = p * z - 0.999999933f;
    return dg_exp2f(p);
}

/* 1 - Phi(z) for z from 0 to DG_ROUGH_TAIL_END, with a relative error of 1.9e-4: enough for what is rounded to bf16. The tail's
 * sixteenth root is so flat that a polynomial fits. */
#define DG_ROUGH_TAIL_END 6.0f
static DG_INLINE float dg_rough_normal_tail(float z)
{
    float p = 2.0142208e-6f;
    p = p * z - 7.4265759e-5f;
    p = p * z + 8.4259002e-4f;
    p = p * z - 1.7556969e-3f;
    p = p * z - 1.7379772e-2f;
    p = p * z - 4.7930948e-2f;
    p = p * z + 9.5761423e-1f;
    p = p * p;
    p = p * p;
    p = p * p;
    return p * p;
}

/* ln x for x from 2^-126, with a relative error of 1.2e-7 or an absolute one of 1e-8. */
static inline float dg_logf(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    int32_t n = (int32_t)(bits - 0x3f3504f3) >> 23; /* x = m 2^n, m from sqrt(1/2) to sqrt 2 */
    bits -= (uint32_t)n << 23;
    float m;
    memcpy(&m, &bits, 4);
    float f = m - 1.0f, p = 8.6721890e-2f;
    p = p * f - 1.4379008e-1f;
    p = p * f + 1.4977993e-1f;
    p = p * f - 1.6564426e-1f;
    p = p * f + 1.9954875e-1f;
    p = p * f - 2.5001699e-1f;
    p = p * f + 3.3334166e-1f;
    p = (p * f - 0.5f) * (f * f);
    return (float)n * 0.693147181f + (p + f) + (x - x); /* x - x: a NaN gives a NaN */
}

/* x / divisor with the bits of a division, given 1 / divisor: multiply-adds that correct a product take a third of the time
 * (Markstein 1990). Near underflow the last bit may differ, a zero loses its sign, and an infinite x gives a NaN. */
static DG_INLINE float dg_quotient(float x, float divisor, float reciprocal)
{
#ifdef __FMA__
    float near = x * reciprocal;
    return fmaf(fmaf(-near, divisor, x), reciprocal, near);
#else
    (void)reciprocal;
    return x / divisor;
#endif
}

/* The maximum of x[count]. It is taken in 16 lanes, because a compiler that respects NaN does not vectorise one running
 * maximum. */
static inline float dg_largest(int64_t count, const float *x)
{
    float lane[16], most = -INFINITY;
    int64_t k = 0;
    for (int j = 0; j < 16; j++) lane[j] = -INFINITY;
    for (; k + 16 <= count; k += 16)
#pragma omp simd
        for (int j = 0; j < 16; j++) lane[j] = x[k + j] > lane[j] ? x[k + j] : lane[j];
    for (; k < count; k++) most = x[k] > most ? x[k] : most;
    for (int j = 0; j < 16; j++) most = lane[j] > most ? lane[j] : most;
    return most;
}

#endif

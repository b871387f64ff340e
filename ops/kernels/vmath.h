/* exp and erf without branches or calls, so that the compiler vectorises loops over them. Polynomials fitted for this file
 * by weighted least squares. */
#ifndef DG_OPS_KERNELS_VMATH_H
#define DG_OPS_KERNELS_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x, 1 to 2 units in the last place. Below -87.3 the result is 2^-126 or so in place of something smaller: for softmax
 * that is zero. Above 88.7: the largest power that fits. */
static inline float dg_expf(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
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

/* The error function, within 1.2e-7. */
static inline float dg_erff(float x)
{
    float a = x < 0 ? -x : x;
    float s = a * a;
    s = s > 1.0f ? 1.0f : s;
    float near = 7.889118569437414e-05f;
    near = near * s - 0.0008020841050893068f;
    near = near * s + 0.005189535208046436f;
    near = near * s - 0.026854444295167923f;
    near = near * s + 0.11283600330352783f;
    near = near * s - 0.3761262595653534f;
    near = near * s + 1.1283791065216064f;
    near = near * a;
    float t = a > 4.0f ? 4.0f : a; /* erf(4) is 1 to within half a unit in the last place */
    float far = -2.1686875697923824e-05f;
    far = far * t + 0.0004413367132656276f;
    far = far * t - 0.004204563796520233f;
    far = far * t + 0.025208260864019394f;
    far = far * t - 0.10841858386993408f;
    far = far * t - 0.6332198977470398f;
    far = far * t - 1.1295784711837769f;
    far = far * t + 0.0001880412019090727f;
    far = 1.0f - dg_expf(far);
    float y = a < 1.0f ? near : far;
    return x < 0 ? -y : y;
}

/* The maximum of x[count]. In lanes, as no compiler may reorder the comparisons of one running maximum: a NaN may come. */
static inline float dg_largest(int64_t count, const float *x)
{
    float lane[16], most = -INFINITY;
    int64_t k = 0;
    for (int j = 0; j < 16; j++) lane[j] = -INFINITY;
    for (; k + 16 <= count; k += 16)
        for (int j = 0; j < 16; j++) lane[j] = x[k + j] > lane[j] ? x[k + j] : lane[j];
    for (; k < count; k++) most = x[k] > most ? x[k] : most;
    for (int j = 0; j < 16; j++) most = lane[j] > most ? lane[j] : most;
    return most;
}

#endif

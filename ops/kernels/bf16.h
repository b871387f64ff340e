/* bf16: the upper half of an f32. Rounding is to nearest, ties to even; NaN stays NaN. Plain C that compilers vectorise. */
#ifndef DG_OPS_KERNELS_BF16_H
#define DG_OPS_KERNELS_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t dg_bf16;

static inline float dg_from_bf16(dg_bf16 half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline dg_bf16 dg_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (dg_bf16)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

/* Rounded in place, below it what may come, and a third cheaper: the NaNs that arithmetic makes stay NaN, but of those that
 * it only passes on, one whose upper half and next bit are all ones becomes a number. */
static inline uint32_t dg_bf16_upper(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits + 0x7fff + (bits >> 16 & 1);
}

/* Two of them in 32 bits, `first` in the lower half. */
static inline uint32_t dg_bf16_pair(float first, float second)
{
    return dg_bf16_upper(first) >> 16 | (dg_bf16_upper(second) & 0xffff0000);
}

/* Element i of an array of f32, or (half) of bf16. `half` is meant to be a constant where these are inlined, so that a loop
 * is compiled for each type it meets: call the loop's function, itself always inlined, with literals. */
static inline __attribute__((always_inline)) float dg_get(const void *array, int half, int64_t i)
{
    return half ? dg_from_bf16(((const dg_bf16 *)array)[i]) : ((const float *)array)[i];
}

static inline __attribute__((always_inline)) void dg_put(void *array, int half, int64_t i, float value)
{
    if (half)
        ((dg_bf16 *)array)[i] = (dg_bf16)(dg_bf16_upper(value) >> 16);
    else
        ((float *)array)[i] = value;
}

/* Element `i` on of such an array. */
static inline __attribute__((always_inline)) const void *dg_at(const void *array, int half, int64_t i)
{
    return (const char *)array + i * (half ? 2 : 4);
}

static inline __attribute__((always_inline)) void *dg_at_out(void *array, int half, int64_t i)
{
    return (char *)array + i * (half ? 2 : 4);
}

#endif

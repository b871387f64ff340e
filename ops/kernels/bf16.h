/* bf16: the upper half of an f32. Rounding is to nearest, ties to even; NaN stays NaN. Plain C that compilers vectorise. */
#ifndef DG_OPS_KERNELS_BF16_H
#define DG_OPS_KERNELS_BF16_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t dg_bf16;

static inline float dg_from_bf16(dg_bf16 number)
{
    uint32_t bits = (uint32_t)number << 16;
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

/* The bf16 number in the upper half of the result; the lower half is undefined. A third cheaper than dg_to_bf16. A NaN that
 * arithmetic makes stays NaN; one from elsewhere whose upper half and next bit are all ones becomes a number. */
static inline uint32_t dg_bf16_upper(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits + 0x7fff + (bits >> 16 & 1);
}

/* Two numbers rounded to bf16 in 32 bits, `first` in the lower half. */
static inline uint32_t dg_bf16_pair(float first, float second)
{
    return dg_bf16_upper(first) >> 16 | (dg_bf16_upper(second) & 0xffff0000);
}

/* Element i of an array of bf16 or, if not `bf16`, of f32. `bf16` should be a constant where these are inlined, so that a
 * loop is compiled for each type: call the function of the loop, which is DG_INLINE too, with literals. */
static inline __attribute__((always_inline)) float dg_get(const void *array, bool bf16, int64_t i)
{
    return bf16 ? dg_from_bf16(((const dg_bf16 *)array)[i]) : ((const float *)array)[i];
}

static inline __attribute__((always_inline)) void dg_put(void *array, bool bf16, int64_t i, float value)
{
    if (bf16)
        ((dg_bf16 *)array)[i] = (dg_bf16)(dg_bf16_upper(value) >> 16);
    else
        ((float *)array)[i] = value;
}

/* The address of element i of such an array. */
static inline __attribute__((always_inline)) const void *dg_at(const void *array, bool bf16, int64_t i)
{
    return (const char *)array + i * (bf16 ? 2 : 4);
}

static inline __attribute__((always_inline)) void *dg_at_out(void *array, bool bf16, int64_t i)
{
    return (char *)array + i * (bf16 ? 2 : 4);
}

#endif

/* Loops whose results are stored as bf16 or f32: where the level has AVX-512 BF16, two vectors of results are rounded by one
 * instruction. It flushes denormals, operands and results, to zero, where integer arithmetic (bf16.h) rounds them; a number has the
 * same bits either way. */
#ifndef DG_OPS_KERNELS_PUT_H
#define DG_OPS_KERNELS_PUT_H

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

#ifdef __AVX512BF16__
#include <immintrin.h>

enum { DG_PUT_BLOCK = 32 };

/* Rounds the first `count` numbers of a block. */
static DG_INLINE void dg_put_block(int64_t count, const float *block, dg_bf16 *dst)
{
    __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(block + 16), _mm512_loadu_ps(block));
    if (count == DG_PUT_BLOCK)
        _mm512_storeu_si512(dst, rounded);
    else
        _mm512_mask_storeu_epi16(dst, (1U << count) - 1, rounded);
}

/* Elements at to at + count of dst; a loop over a whole block is compiled to straight code in registers. */
#define DG_PUT_PART(dst, i, at, count, value)                                                                          \
    do {                                                                                                               \
        float dg_block[DG_PUT_BLOCK];                                                                                  \
        _Pragma("omp simd") for (int64_t dg_j = 0; dg_j < (count); dg_j++)                                             \
        {                                                                                                              \
            const int64_t i = (at) + dg_j;                                                                             \
            dg_block[dg_j] = (value);                                                                                  \
        }                                                                                                              \
        dg_put_block((count), dg_block, (dg_bf16 *)(dst) + (at));                                                      \
    } while (0)

#define DG_PUT_ROUNDED(dst, i, first, end, value)                                                                      \
    do {                                                                                                               \
        int64_t dg_at_i = (first);                                                                                     \
        for (; dg_at_i + DG_PUT_BLOCK <= (end); dg_at_i += DG_PUT_BLOCK)                                               \
            DG_PUT_PART(dst, i, dg_at_i, DG_PUT_BLOCK, value);                                                         \
        if (dg_at_i < (end)) DG_PUT_PART(dst, i, dg_at_i, (end)-dg_at_i, value);                                       \
    } while (0)
enum { DG_ROUNDS_BLOCKS = 1 };
#else
#define DG_PUT_ROUNDED(dst, i, first, end, value) (void)0
enum { DG_ROUNDS_BLOCKS = 0 };
#endif

/* dst[i] = value for i from `first` to before `end`, `value` being an expression of i; it may read dst[i]. dst is an array of bf16
 * or, if not `bf16`, of f32. `bf16` is a constant as in dg_put(). */
#define DG_PUT_EACH(dst, bf16, i, first, end, value)                                                                   \
    do {                                                                                                               \
        if (DG_ROUNDS_BLOCKS && (bf16)) {                                                                              \
            DG_PUT_ROUNDED(dst, i, first, end, value);                                                                 \
        } else {                                                                                                       \
            _Pragma("omp simd") for (int64_t i = (first); i < (end); i++) dg_put(dst, bf16, i, value);                 \
        }                                                                                                              \
    } while (0)

#endif

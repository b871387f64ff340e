/* A small matrix product for operands in cache, in one thread: c[rows, cols] = (c +) a b, a tile of accumulators that fills
 * the registers at a time. The caller brings a and b in the order in which a tile reads them, so there is no packing here. */
#ifndef DG_OPS_KERNELS_TILE_H
#define DG_OPS_KERNELS_TILE_H

#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

/* Of a tile: DG_TILE_ROWS x DG_TILE_COLS (two vectors) accumulators. */
#if defined(__AVX512F__)
enum { DG_LANES = 16, DG_TILE_ROWS = 12 };
#elif defined(__AVX2__)
enum { DG_LANES = 8, DG_TILE_ROWS = 6 };
#else
enum { DG_LANES = 4, DG_TILE_ROWS = 4 };
#endif
enum { DG_TILE_COLS = 2 * DG_LANES };

typedef float dg_lanes __attribute__((vector_size(4 * DG_LANES), aligned(4), may_alias));

/* Operands in bf16 are units of 32 bits: two that follow each other along k, the first in the lower half. What is said here
 * of elements then holds for units, and k counts units. */
static DG_INLINE dg_lanes dg_multiply_add(int half, dg_lanes sum, float a, dg_lanes x)
{
    if (!half) return sum + a * x;
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_ps(a), (__m512bh)(__m512)x);
#else
    typedef uint32_t bits_lanes __attribute__((vector_size(4 * DG_LANES)));
    uint32_t unit, upper;
    memcpy(&unit, &a, 4);
    upper = unit & 0xffff0000;
    unit <<= 16;
    float first, second;
    memcpy(&first, &unit, 4);
    memcpy(&second, &upper, 4);
    bits_lanes y = (bits_lanes)x;
    return sum + first * (dg_lanes)(y << 16) + second * (dg_lanes)(y & 0xffff0000);
#endif
}

/* Rounded to bf16: units of a number of `first` and one of `second`. */
static DG_INLINE dg_lanes dg_units_of(dg_lanes first, dg_lanes second)
{
#ifdef __AVX512BF16__
    const __m512i order =
        _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
                         0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    return (dg_lanes)_mm512_permutexvar_epi16(order, halves);
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

/* The same of neighbours in x[2 * DG_LANES]. */
static DG_INLINE dg_lanes dg_units_along(const float *x)
{
#ifdef __AVX512BF16__
    return (dg_lanes)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + DG_LANES), _mm512_loadu_ps(x));
#else
    dg_lanes units;
#pragma omp simd
    for (int i = 0; i < DG_LANES; i++) {
        uint32_t unit = dg_bf16_pair(x[2 * i], x[2 * i + 1]);
        memcpy((char *)&units + 4 * i, &unit, 4);
    }
    return units;
#endif
}

/* a(i, l) = a[i * a_row + l * a_k]; b [k, vectors * DG_LANES] with stride ldb. Everything but k, ldb, ldc and the stride of
 * a that is not one must be a constant where this is called. */
static DG_INLINE void dg_tile(int half, int rows, int vectors, int64_t k, const float *a, int64_t a_row, int64_t a_k,
                              const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    dg_lanes sum[DG_TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = (dg_lanes){0};
    for (int64_t l = 0; l < k; l++) {
        dg_lanes x[2];
        for (int j = 0; j < vectors; j++) x[j] = *(const dg_lanes *)(b + j * DG_LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++) sum[i][j] = dg_multiply_add(half, sum[i][j], a[i * a_row], x[j]);
        a += a_k;
        b += ldb;
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) {
            dg_lanes *to = (dg_lanes *)(c + i * ldc + j * DG_LANES);
            if (add) sum[i][j] += *to;
            *to = sum[i][j];
        }
}

#define DG_TILE_CASE(n)                                                                                                \
    case n:                                                                                                            \
        if (vectors == 2)                                                                                              \
            dg_tile(half, n <= DG_TILE_ROWS ? n : 1, 2, k, a, a_row, a_k, b, ldb, add, c, ldc);                        \
        else                                                                                                           \
            dg_tile(half, n <= DG_TILE_ROWS ? n : 1, 1, k, a, a_row, a_k, b, ldb, add, c, ldc);                        \
        break;
#define DG_TILE_SWITCH(rows)                                                                                           \
    switch (rows) {                                                                                                    \
        DG_TILE_CASE(1)                                                                                                \
        DG_TILE_CASE(2)                                                                                                \
        DG_TILE_CASE(3)                                                                                                \
        DG_TILE_CASE(4)                                                                                                \
        DG_TILE_CASE(5)                                                                                                \
        DG_TILE_CASE(6)                                                                                                \
        DG_TILE_CASE(7)                                                                                                \
        DG_TILE_CASE(8)                                                                                                \
        DG_TILE_CASE(9)                                                                                                \
        DG_TILE_CASE(10)                                                                                               \
        DG_TILE_CASE(11)                                                                                               \
        DG_TILE_CASE(12)                                                                                               \
    }

/* a is stored [k, rows], stride a_k; `across`: a is stored [rows, k], stride DG_TILE_COLS, or half of it in units. */
#define DG_TILE_FUNCTIONS(suffix, is_half)                                                                             \
    static __attribute__((noinline, unused)) void dg_tile_down##suffix(int rows, int vectors, int64_t k,               \
                                                                       const float *a, int64_t a_k, const float *b,    \
                                                                       int64_t ldb, bool add, float *c, int64_t ldc)   \
    {                                                                                                                  \
        enum { half = is_half, a_row = 1 };                                                                            \
        DG_TILE_SWITCH(rows)                                                                                           \
    }                                                                                                                  \
    static __attribute__((noinline, unused)) void dg_tile_across##suffix(int rows, int vectors, int64_t k,             \
                                                                         const float *a, const float *b, int64_t ldb,  \
                                                                         bool add, float *c, int64_t ldc)              \
    {                                                                                                                  \
        enum { half = is_half, a_row = is_half ? DG_TILE_COLS / 2 : DG_TILE_COLS, a_k = 1 };                           \
        DG_TILE_SWITCH(rows)                                                                                           \
    }
DG_TILE_FUNCTIONS(, 0)
DG_TILE_FUNCTIONS(_bf16, 1)

/* Rows of a tile where `rows` are cut into as few as there can be, all alike. */
static inline int64_t dg_tile_height(int64_t rows)
{
    int64_t tiles = (rows + DG_TILE_ROWS - 1) / DG_TILE_ROWS;
    return (rows + tiles - 1) / tiles;
}

/* dg_tile_down_bf16 for any cols <= DG_TILE_COLS: writes no further, but reads whole vectors of b. */
static inline void dg_tile_units(int64_t rows, int64_t cols, int64_t k, const uint32_t *a, int64_t a_k,
                                 const uint32_t *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    int vectors = cols > DG_LANES ? 2 : 1;
    const float *x = (const void *)a, *y = (const void *)b;
    if (cols == vectors * DG_LANES) {
        dg_tile_down_bf16((int)rows, vectors, k, x, a_k, y, ldb, add, c, ldc);
        return;
    }
    float whole[DG_TILE_ROWS * DG_TILE_COLS];
    dg_tile_down_bf16((int)rows, vectors, k, x, a_k, y, ldb, false, whole, DG_TILE_COLS);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) c[r * ldc + i] = (add ? c[r * ldc + i] : 0) + whole[r * DG_TILE_COLS + i];
}

#endif

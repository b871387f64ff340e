/* A matrix product c[rows, cols] = a b, or c + a b, of operands in cache, in one thread, a tile at a time: as many accumulators
 * as fill the registers. The caller packs a and b in the order in which a tile reads them (pack.h). */
#ifndef DG_OPS_KERNELS_TILE_H
#define DG_OPS_KERNELS_TILE_H

#include "ops/kernels/lanes.h"

#include <stdbool.h>
#include <stdint.h>

/* A tile has DG_TILE_ROWS x DG_TILE_COLS accumulators; a row of them is two vectors. */
enum { DG_TILE_ROWS = DG_LANES == 4 ? 4 : DG_LANES * 3 / 4, DG_TILE_COLS = 2 * DG_LANES };

/* A barrier that makes the compiler hold a vector in a register. Without it gcc 12 copies the accumulators, often through
 * memory, at the end of each iteration. For the same reason the loop over k tests its condition at the end only. */
#ifdef __x86_64__
#define DG_IN_REGISTER(vector) __asm__("" : "+v"(vector))
#elif defined(__aarch64__)
#define DG_IN_REGISTER(vector) __asm__("" : "+w"(vector))
#else
#define DG_IN_REGISTER(vector) (void)(vector)
#endif

/* c [rows, vectors * DG_LANES] = a b, or c + a b if `add`. Element (i, l) of a is a[i * a_row + l * a_k]; b is
 * [k, vectors * DG_LANES] with row stride ldb; k is at least 1. The caller passes constants for bf16, rows, vectors and the one
 * of a_row and a_k that is 1. */
static DG_INLINE void dg_tile(bool bf16, int rows, int vectors, int64_t k, const float *a, int64_t a_row, int64_t a_k,
                              const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    dg_lanes sum[DG_TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = (dg_lanes){0};
    do {
        dg_lanes x[2];
        for (int j = 0; j < vectors; j++) x[j] = *(const dg_lanes *)(b + j * DG_LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++) sum[i][j] = dg_multiply_add(bf16, sum[i][j], a[i * a_row], x[j]);
        a += a_k;
        b += ldb;
    } while (--k);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) DG_IN_REGISTER(sum[i][j]);
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
            dg_tile(bf16, n <= DG_TILE_ROWS ? n : 1, 2, k, a, a_row, a_k, b, ldb, add, c, ldc);                        \
        else                                                                                                           \
            dg_tile(bf16, n <= DG_TILE_ROWS ? n : 1, 1, k, a, a_row, a_k, b, ldb, add, c, ldc);                        \
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

/* dg_tile_down: a is stored [k, rows] with stride a_k. dg_tile_across: a is stored [rows, k] with stride a_row. */
#define DG_TILE_FUNCTIONS(suffix, is_bf16)                                                                             \
    static __attribute__((noinline, unused)) void dg_tile_down##suffix(int rows, int vectors, int64_t k,               \
                                                                       const float *a, int64_t a_k, const float *b,    \
                                                                       int64_t ldb, bool add, float *c, int64_t ldc)   \
    {                                                                                                                  \
        enum { bf16 = is_bf16, a_row = 1 };                                                                            \
        DG_TILE_SWITCH(rows)                                                                                           \
    }                                                                                                                  \
    static __attribute__((noinline, unused)) void dg_tile_across##suffix(                                              \
        int rows, int vectors, int64_t k, const float *a, int64_t a_row, const float *b, int64_t ldb, bool add,        \
        float *c, int64_t ldc)                                                                                         \
    {                                                                                                                  \
        enum { bf16 = is_bf16, a_k = 1 };                                                                              \
        DG_TILE_SWITCH(rows)                                                                                           \
    }
DG_TILE_FUNCTIONS(, 0)
DG_TILE_FUNCTIONS(_bf16, 1)

/* The height of tiles when `rows` rows are cut into as few tiles as possible, nearly equal ones. */
static inline int64_t dg_tile_height(int64_t rows)
{
    int64_t tiles = (rows + DG_TILE_ROWS - 1) / DG_TILE_ROWS;
    return (rows + tiles - 1) / tiles;
}

typedef void dg_tile_function(int rows, int vectors, int64_t k, const float *a, int64_t stride, const float *b,
                              int64_t ldb, bool add, float *c, int64_t ldc);

/* Calls `tile`, one of the four functions above, for any cols <= DG_TILE_COLS. Writes `cols` columns only, but reads whole
 * vectors of b. `stride` is a_k of dg_tile_down and a_row of dg_tile_across. */
static inline void dg_tile_cols(dg_tile_function *tile, int64_t rows, int64_t cols, int64_t k, const uint32_t *a,
                                int64_t stride, const uint32_t *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    int vectors = cols > DG_LANES ? 2 : 1;
    const float *x = (const void *)a, *y = (const void *)b;
    if (cols == vectors * DG_LANES) {
        tile((int)rows, vectors, k, x, stride, y, ldb, add, c, ldc);
        return;
    }
    float full[DG_TILE_ROWS * DG_TILE_COLS];
    tile((int)rows, vectors, k, x, stride, y, ldb, false, full, DG_TILE_COLS);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) c[r * ldc + i] = (add ? c[r * ldc + i] : 0) + full[r * DG_TILE_COLS + i];
}

#endif

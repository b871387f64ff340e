/* A small matrix product for operands in cache, in one thread: c[rows, cols] = (c +) a b, a tile of accumulators that fills
 * the registers at a time. The caller brings a and b in the order in which a tile reads them, so there is no packing here. */
#ifndef DG_OPS_KERNELS_TILE_H
#define DG_OPS_KERNELS_TILE_H

#include "ops/kernels/lanes.h"

#include <stdbool.h>
#include <stdint.h>

/* Of a tile: DG_TILE_ROWS x DG_TILE_COLS (two vectors) accumulators, which fill the registers. */
enum { DG_TILE_ROWS = DG_LANES == 4 ? 4 : DG_LANES * 3 / 4, DG_TILE_COLS = 2 * DG_LANES };

/* Without it gcc copies the sums at the end of each round of the loop to where they are used behind it, often by way of
 * memory. For the same reason the loop does not ask at its start. */
#ifdef __x86_64__
#define DG_IN_REGISTER(vector) __asm__("" : "+v"(vector))
#else
#define DG_IN_REGISTER(vector) (void)(vector)
#endif

/* a(i, l) = a[i * a_row + l * a_k], k at least one; b [k, vectors * DG_LANES] with stride ldb. Everything but k, ldb, ldc and the stride of
 * a that is not one must be a constant where this is called. */
static DG_INLINE void dg_tile(int half, int rows, int vectors, int64_t k, const float *a, int64_t a_row, int64_t a_k,
                              const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    dg_lanes sum[DG_TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = (dg_lanes){0};
    do {
        dg_lanes x[2];
        for (int j = 0; j < vectors; j++) x[j] = *(const dg_lanes *)(b + j * DG_LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++) sum[i][j] = dg_multiply_add(half, sum[i][j], a[i * a_row], x[j]);
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

/* a is stored [k, rows], stride a_k; `across`: a is stored [rows, k], stride a_row. */
#define DG_TILE_FUNCTIONS(suffix, is_half)                                                                             \
    static __attribute__((noinline, unused)) void dg_tile_down##suffix(int rows, int vectors, int64_t k,               \
                                                                       const float *a, int64_t a_k, const float *b,    \
                                                                       int64_t ldb, bool add, float *c, int64_t ldc)   \
    {                                                                                                                  \
        enum { half = is_half, a_row = 1 };                                                                            \
        DG_TILE_SWITCH(rows)                                                                                           \
    }                                                                                                                  \
    static __attribute__((noinline, unused)) void dg_tile_across##suffix(                                              \
        int rows, int vectors, int64_t k, const float *a, int64_t a_row, const float *b, int64_t ldb, bool add,        \
        float *c, int64_t ldc)                                                                                         \
    {                                                                                                                  \
        enum { half = is_half, a_k = 1 };                                                                              \
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

typedef void dg_tile_function(int rows, int vectors, int64_t k, const float *a, int64_t stride, const float *b,
                              int64_t ldb, bool add, float *c, int64_t ldc);

/* One of the four above for any cols <= DG_TILE_COLS: writes no further, but reads whole vectors of b. `stride`: a_k, or
 * a_row. */
static inline void dg_tile_cols(dg_tile_function *tile, int64_t rows, int64_t cols, int64_t k, const uint32_t *a,
                                int64_t stride, const uint32_t *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    int vectors = cols > DG_LANES ? 2 : 1;
    const float *x = (const void *)a, *y = (const void *)b;
    if (cols == vectors * DG_LANES) {
        tile((int)rows, vectors, k, x, stride, y, ldb, add, c, ldc);
        return;
    }
    float whole[DG_TILE_ROWS * DG_TILE_COLS];
    tile((int)rows, vectors, k, x, stride, y, ldb, false, whole, DG_TILE_COLS);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) c[r * ldc + i] = (add ? c[r * ldc + i] : 0) + whole[r * DG_TILE_COLS + i];
}

#endif

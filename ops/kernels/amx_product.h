/* A matrix product on AMX's tiles: up to 32 x 32 results, in four tiles, for operands in cache, in one thread, between
 * dg_amx_begin() and dg_amx_end(). */
#ifndef DG_OPS_KERNELS_AMX_PRODUCT_H
#define DG_OPS_KERNELS_AMX_PRODUCT_H

#include "ops/kernels/amx.h"

enum { DG_AMX_SIDE = 2 * DG_AMX_ROWS }; /* rows and columns of results, at most */

/* An operand, whose tiles are as amx.h says. All distances count units of 32 bits. */
struct dg_amx_operand {
    const uint32_t *first; /* its first tile */
    int64_t row;           /* from a row of a tile to the next */
    int64_t step;          /* from a tile to the next along the summed dimension */
    int64_t next;          /* from a tile to the next across it: the next 16 rows of a, the next 16 columns of b */
};

/* c [rows, cols] = a b, or c + a b if `add`, for up to 32 rows and columns and 32 * steps summed numbers. Operands have whole tiles:
 * what is behind `rows` and `cols` is read and does not matter, what is behind the end of the sum has to be zeros. */
struct dg_amx_block {
    int64_t rows, cols, steps;
    struct dg_amx_operand a, b;
    bool add;
    float *c;
    int64_t ldc;
    const float *next; /* what is prefetched: the c of the next block, with the same ldc. Or NULL */
};

/* Sums in tiles 0 to 3; `tall` and `wide` are constants: 32 rows and columns, else 16. */
static DG_INLINE void dg_amx_sums(bool tall, bool wide, const struct dg_amx_block *block, bool add, float *c,
                                  int64_t ldc)
{
    enum { AHEAD = 2 }; /* rows that are prefetched in a step */
    const char *a = (const char *)block->a.first, *b = (const char *)block->b.first;
    const int64_t a_row = 4 * block->a.row, a_step = 4 * block->a.step, a_next = 4 * block->a.next;
    const int64_t b_row = 4 * block->b.row, b_step = 4 * block->b.step, b_next = 4 * block->b.next;
    const int64_t steps = block->steps, c_row = 4 * ldc, ahead = 4 * block->ldc;
    const char *next = (const char *)block->next;
    if (add) {
        dg_amx_load(0, c, c_row);
        if (wide) dg_amx_load(1, c + DG_AMX_ROWS, c_row);
        if (tall) dg_amx_load(2, c + DG_AMX_ROWS * ldc, c_row);
        if (tall && wide) dg_amx_load(3, c + DG_AMX_ROWS * ldc + DG_AMX_ROWS, c_row);
    } else {
        dg_amx_zero(0);
        if (wide) dg_amx_zero(1);
        if (tall) dg_amx_zero(2);
        if (tall && wide) dg_amx_zero(3);
    }
    for (int64_t k = 0; k < steps; k++, a += a_step, b += b_step) {
        dg_amx_load(4, a, a_row);
        dg_amx_load(6, b, b_row);
        if (wide) dg_amx_load(7, b + b_next, b_row);
        if (tall) dg_amx_load(5, a + a_next, a_row);
        dg_amx_product(0, 4, 6);
        if (wide) dg_amx_product(1, 4, 7);
        if (tall) dg_amx_product(2, 5, 6);
        if (tall && wide) dg_amx_product(3, 5, 7);
        if (next && k < DG_AMX_SIDE / AHEAD)
            for (int i = 0; i < AHEAD; i++, next += ahead) {
                __builtin_prefetch(next, 1);
                __builtin_prefetch(next + 64, 1);
            }
    }
    dg_amx_store(0, c, c_row);
    if (wide) dg_amx_store(1, c + DG_AMX_ROWS, c_row);
    if (tall) dg_amx_store(2, c + DG_AMX_ROWS * ldc, c_row);
    if (tall && wide) dg_amx_store(3, c + DG_AMX_ROWS * ldc + DG_AMX_ROWS, c_row);
}

static DG_INLINE void dg_amx_sums_any(const struct dg_amx_block *block, bool add, float *c, int64_t ldc)
{
    bool tall = block->rows > DG_AMX_ROWS, wide = block->cols > DG_AMX_ROWS;
    if (tall && wide)
        dg_amx_sums(1, 1, block, add, c, ldc);
    else if (tall)
        dg_amx_sums(1, 0, block, add, c, ldc);
    else if (wide)
        dg_amx_sums(0, 1, block, add, c, ldc);
    else
        dg_amx_sums(0, 0, block, add, c, ldc);
}

/* Computes a block. Results that do not fill their tiles go through a buffer. */
static __attribute__((noinline, unused)) void dg_amx_multiply(const struct dg_amx_block *block)
{
    int64_t rows = block->rows, cols = block->cols, ldc = block->ldc;
    bool add = block->add;
    if (rows % DG_AMX_ROWS == 0 && cols % DG_AMX_ROWS == 0) {
        dg_amx_sums_any(block, add, block->c, ldc);
        return;
    }
    float full[DG_AMX_SIDE * DG_AMX_SIDE] __attribute__((aligned(64)));
    dg_amx_sums_any(block, false, full, DG_AMX_SIDE);
    for (int64_t r = 0; r < rows; r++) {
        float *to = block->c + r * ldc;
        for (int64_t i = 0; i < cols; i++) to[i] = (add ? to[i] : 0) + full[r * DG_AMX_SIDE + i];
    }
}

#endif

/* Products of blocks of 32 x 32 results on the tiles of AMX (amx.h), and the packing of their operands from rows of bf16.
 *
 * Widths are padded with zeros to `wide`, a multiple of 32, and counts of rows to whole blocks. Left operands lie as rows: 16 rows
 * of 32 numbers are a tile. Right operands are packed, a tile being 1 KiB without gaps. */
#ifndef DG_OPS_KERNELS_AMX_BLOCK_H
#define DG_OPS_KERNELS_AMX_BLOCK_H

#include "ops/kernels/amx.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/pack.h"

#include <string.h>

enum {
    DG_AMX_BLOCK = 32,        /* rows and columns of a block of results, 2 x 2 tiles; the depth of a product of tiles */
    DG_AMX_TILE_BYTES = 1024, /* bytes of a tile */
};

/* c = a b, or c + a b if `add`: a block of results, `steps` times 32 deep. Strides count bytes. */
struct dg_amx_block {
    const void *a; /* rows of bf16 */
    int64_t lda, a_step;
    const void *b;           /* tiles */
    int64_t b_right, b_step; /* to the tile to the right, and to the one that is next in depth */
    int64_t steps;
    void *c; /* rows of f32 */
    int64_t ldc;
    bool add;
    const void *next; /* what is prefetched, the c of the block that comes next, with the same ldc; or NULL */
};

/* `down` and `right` are the numbers of tiles of c, each 1 or 2. */
static DG_INLINE void dg_amx_multiply_tiles(int down, int right, const struct dg_amx_block *block)
{
    enum { AHEAD = 2 }; /* rows that are prefetched in a step */
    const struct dg_amx_block x = *block;
    const char *a = x.a, *b = x.b, *next = x.next;
    char *c = x.c, *below = c + 16 * x.ldc;
    if (x.add) {
        dg_amx_load(0, c, x.ldc);
        if (right > 1) dg_amx_load(1, c + 64, x.ldc);
        if (down > 1) dg_amx_load(2, below, x.ldc);
        if (down > 1 && right > 1) dg_amx_load(3, below + 64, x.ldc);
    } else {
        dg_amx_zero(0);
        if (right > 1) dg_amx_zero(1);
        if (down > 1) dg_amx_zero(2);
        if (down > 1 && right > 1) dg_amx_zero(3);
    }
    for (int64_t step = 0; step < x.steps; step++, a += x.a_step, b += x.b_step) {
        dg_amx_load(4, a, x.lda);
        dg_amx_load(6, b, 64);
        dg_amx_product(0, 4, 6);
        if (right > 1) dg_amx_load(7, b + x.b_right, 64);
        if (right > 1) dg_amx_product(1, 4, 7);
        if (down > 1) dg_amx_load(5, a + 16 * x.lda, x.lda);
        if (down > 1) dg_amx_product(2, 5, 6);
        if (down > 1 && right > 1) dg_amx_product(3, 5, 7);
        for (int i = 0; next && step < DG_AMX_BLOCK / AHEAD && i < AHEAD; i++, next += x.ldc) {
            __builtin_prefetch(next, 1);
            __builtin_prefetch(next + 64, 1);
        }
    }
    dg_amx_store(0, c, x.ldc);
    if (right > 1) dg_amx_store(1, c + 64, x.ldc);
    if (down > 1) dg_amx_store(2, below, x.ldc);
    if (down > 1 && right > 1) dg_amx_store(3, below + 64, x.ldc);
}

/* As many tiles as hold `rows` rows and `cols` columns, at most a block. */
static __attribute__((noinline, unused)) void dg_amx_multiply(int64_t rows, int64_t cols,
                                                              const struct dg_amx_block *block)
{
    if (rows > 16 && cols > 16)
        dg_amx_multiply_tiles(2, 2, block);
    else if (rows > 16)
        dg_amx_multiply_tiles(2, 1, block);
    else if (cols > 16)
        dg_amx_multiply_tiles(1, 2, block);
    else
        dg_amx_multiply_tiles(1, 1, block);
}

/* The same where c has no more than `rows` rows and `cols` columns: what does not fill its tiles goes through a buffer. Operands have
 * whole tiles all the same; what is behind the rows and columns does not matter. */
static inline void dg_amx_multiply_edge(int64_t rows, int64_t cols, const struct dg_amx_block *block)
{
    if (rows % 16 == 0 && cols % 16 == 0) {
        dg_amx_multiply(rows, cols, block);
        return;
    }
    float full[DG_AMX_BLOCK * DG_AMX_BLOCK] __attribute__((aligned(64)));
    struct dg_amx_block whole = *block;
    whole.c = full;
    whole.ldc = DG_AMX_BLOCK * 4;
    whole.add = false;
    whole.next = NULL;
    dg_amx_multiply(rows, cols, &whole);
    for (int64_t r = 0; r < rows; r++) {
        float *to = (float *)((char *)block->c + r * block->ldc);
        for (int64_t i = 0; i < cols; i++) to[i] = (block->add ? to[i] : 0) + full[r * DG_AMX_BLOCK + i];
    }
}

/* Up to 32 rows of bf16. */
struct dg_amx_rows {
    const dg_bf16 *at;
    int64_t ld;
};

/* The rows of src [end, width] from row `first`, as 32 rows of `wide` numbers: where they lie if none of these is padding, else
 * copied to `room` [32, wide]. */
static inline struct dg_amx_rows dg_amx_padded(const void *src, int64_t ld, int64_t first, int64_t end, int64_t width,
                                               int64_t wide, dg_bf16 *room)
{
    const dg_bf16 *from = (const dg_bf16 *)src + first * ld;
    int64_t count = dg_min_i64(DG_AMX_BLOCK, end - first);
    if (count == DG_AMX_BLOCK && width == wide) return (struct dg_amx_rows){from, ld};
    if (width < wide) memset(room, 0, (size_t)(count * wide) * sizeof *room);
    memset(room + count * wide, 0, (size_t)((DG_AMX_BLOCK - count) * wide) * sizeof *room);
    for (int64_t r = 0; r < count; r++) memcpy(room + r * wide, from + r * ld, (size_t)width * sizeof *room);
    return (struct dg_amx_rows){room, wide};
}

/* Packs 32 rows as the columns of right operands: two times `wide` / 32 tiles. */
static inline void dg_amx_pack_columns(struct dg_amx_rows rows, int64_t wide, void *dst)
{
    dg_panels(DG_AMX_BLOCK, wide / 2, (const float *)rows.at, rows.ld / 2, 16, dst);
}

/* Packs 32 rows as the depth of right operands: `wide` / 16 tiles. */
static inline void dg_amx_pack_depth(struct dg_amx_rows rows, int64_t wide, void *dst)
{
    uint32_t *to = dst;
    for (int64_t c = 0; c < wide; c += 16)
        for (int64_t r = 0; r < DG_AMX_BLOCK; r += 2, to += 16)
            dg_pair_bf16(16, rows.at + r * rows.ld + c, rows.at + (r + 1) * rows.ld + c, to);
}

/* Packs 32 rows, transposed, as a left operand: dst [wide, 32]. `units` is room for [wide / 2, 32]. */
static inline void dg_amx_pack_across(struct dg_amx_rows rows, int64_t wide, uint32_t *units, dg_bf16 *dst)
{
    dg_transpose(DG_AMX_BLOCK, wide / 2, (const float *)rows.at, rows.ld / 2, DG_AMX_BLOCK, (float *)units);
    for (int64_t k = 0; k < wide / 2; k++, units += DG_AMX_BLOCK, dst += 2 * DG_AMX_BLOCK) {
#pragma omp simd
        for (int i = 0; i < DG_AMX_BLOCK; i++) dst[i] = (dg_bf16)units[i];
#pragma omp simd
        for (int i = 0; i < DG_AMX_BLOCK; i++) dst[DG_AMX_BLOCK + i] = (dg_bf16)(units[i] >> 16);
    }
}

#endif

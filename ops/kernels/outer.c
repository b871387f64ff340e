/* The gradient of weights in bf16: diff_weight = diff_dst^T src, a long sum over rows into few results. Each thread makes a
 * rectangle of the results. It takes rows a block at a time, brings a block of diff_dst's columns into the order of the tiles
 * (tile.h), where it stays in the second cache, and then src a panel of one tile's width after the other. */
#include "ops/kernels/ahead.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"

#include <stdbool.h>
#include <string.h>

enum {
    ROWS = DG_TILE_ROWS, /* of a tile: columns of diff_dst */
    COLS = DG_TILE_COLS, /* columns of src */
    GROUP = 48,          /* columns of diff_dst that lie together: whole tiles and whole vectors of every CPU level */
    MOST = 8 * GROUP,    /* columns of diff_dst in a block */
    UNITS = 256,         /* rows in a block, in units of two */
};

struct outer {
    int64_t rows, in, out;
    int src_half, diff_half;
    const void *src, *diff_dst;
    const float *acc_weight, *acc_bias;
    float *diff_weight, *diff_bias;
};

/* A part of src or diff_dst. */
struct piece {
    const void *first;
    int half;
    int64_t rows, cols, ld;
};

/* Rows from `row`, at most a block of them; none behind the end. */
static struct piece src_piece(const struct outer *o, int64_t row, int64_t col, int64_t cols)
{
    int64_t rows = row < o->rows ? dg_min_i64(2 * UNITS, o->rows - row) : 0;
    return (struct piece){dg_at(o->src, o->src_half, row * o->in + col), o->src_half, rows, cols, o->in};
}

static struct piece diff_piece(const struct outer *o, int64_t row, int64_t col, int64_t cols)
{
    int64_t rows = row < o->rows ? dg_min_i64(2 * UNITS, o->rows - row) : 0;
    return (struct piece){dg_at(o->diff_dst, o->diff_half, row * o->out + col), o->diff_half, rows, cols, o->out};
}

static struct dg_ahead ahead(struct piece p, int64_t steps)
{
    int64_t size = p.half ? 2 : 4;
    return (struct dg_ahead){
        .rows = p.rows, .steps = steps, .num = 1, .bytes = p.cols * size, .from = {{p.first, p.ld * size}}};
}

/* dst [panels][units][panel]. */
static DG_INLINE void pack(int half, const struct piece *p, int panel, uint32_t *dst)
{
    int64_t units = dg_blocks(p->rows, 2);
    for (int64_t u = 0; u < units; u++)
        for (int64_t c = 0; c < p->cols; c += panel)
            dg_pair(half, 2 * u + 1 < p->rows, dg_min_i64(panel, p->cols - c), dg_at(p->first, half, 2 * u * p->ld + c),
                    p->ld, panel, dst + c * units + u * panel);
}

static void pack_groups(struct piece p, uint32_t *dst)
{
    if (p.half)
        pack(1, &p, GROUP, dst);
    else
        pack(0, &p, GROUP, dst);
}

static void pack_panel(struct piece p, uint32_t *dst)
{
    if (p.half)
        pack(1, &p, COLS, dst);
    else
        pack(0, &p, COLS, dst);
}

/* sum [cols] += the rows of groups as pack_groups left them: products with ones. */
static void add_rows(int64_t cols, int64_t units, const uint32_t *groups, float *sum)
{
    enum { VECTORS = GROUP / DG_LANES };
    const uint32_t bits = 0x3f803f80;
    float ones;
    memcpy(&ones, &bits, sizeof ones);
    for (int64_t c = 0; c < cols; c += GROUP, groups += GROUP * units) {
        dg_lanes even[VECTORS] = {0}, odd[VECTORS] = {0}; /* two: each waits for its last sum */
        const dg_lanes *x = (const void *)groups;
        for (int64_t u = 0; u + 1 < units; u += 2, x += 2 * VECTORS)
            for (int i = 0; i < VECTORS; i++) {
                even[i] = dg_multiply_add(1, even[i], ones, x[i]);
                odd[i] = dg_multiply_add(1, odd[i], ones, x[i + VECTORS]);
            }
        float all[GROUP];
        for (int i = 0; i < VECTORS; i++) {
            if (units % 2) even[i] = dg_multiply_add(1, even[i], ones, x[i]);
            *(dg_lanes *)(all + i * DG_LANES) = even[i] + odd[i];
        }
        for (int64_t i = 0; i < dg_min_i64(GROUP, cols - c); i++) sum[c + i] += all[i];
    }
}

/* Columns of diff_dst in a block, blocks being alike. */
static int64_t block_width(int64_t out) { return dg_blocks(dg_blocks(out, dg_blocks(out, MOST)), GROUP) * GROUP; }

/* Results [out0 .. out1, in0 .. in1], and (bias) of the bias [out0 .. out1]. */
static void part(const struct outer *o, int64_t out0, int64_t out1, int64_t in0, int64_t in1, bool bias, uint32_t *a)
{
    uint32_t *b = a + UNITS * MOST;
    int64_t in = o->in, width = block_width(out1 - out0), panels = dg_blocks(in1 - in0, COLS);
    for (int64_t row = out0; o->acc_weight && o->acc_weight != o->diff_weight && row < out1; row++)
        memcpy(o->diff_weight + row * in + in0, o->acc_weight + row * in + in0, (size_t)(in1 - in0) * sizeof(float));
    for (int64_t row = out0; bias && row < out1; row++) o->diff_bias[row] = o->acc_bias ? o->acc_bias[row] : 0;
    for (int64_t first = 0; first < o->rows; first += 2 * UNITS)
        for (int64_t block = out0; block < out1; block += width) {
            int64_t wide = dg_min_i64(width, out1 - block), tiles = dg_blocks(wide, ROWS);
            bool last = block + width >= out1;
            int64_t after = last ? out0 : block + width, after_row = last ? first + 2 * UNITS : first;
            struct dg_ahead groups =
                ahead(diff_piece(o, after_row, after, dg_min_i64(width, out1 - after)), panels * tiles);
            struct piece diff = diff_piece(o, first, block, wide);
            int64_t units = dg_blocks(diff.rows, 2);
            pack_groups(diff, a);
            if (bias) add_rows(wide, units, a, o->diff_bias + block);
            for (int64_t col = in0; col < in1; col += COLS) {
                int64_t cols = dg_min_i64(COLS, in1 - col);
                struct piece next = col + COLS < in1
                                        ? src_piece(o, first, col + COLS, dg_min_i64(COLS, in1 - col - COLS))
                                        : src_piece(o, after_row, in0, dg_min_i64(COLS, in1 - in0));
                struct dg_ahead panel = ahead(next, tiles);
                pack_panel(src_piece(o, first, col, cols), b);
                for (int64_t r = 0; r < wide; r += ROWS) {
                    dg_fetch(&groups);
                    dg_fetch(&panel);
                    int64_t height = dg_min_i64(ROWS, wide - r);
                    float *dst = o->diff_weight + (block + r) * in + col;
                    for (int64_t i = 0; i < height; i++)
                        for (int64_t c = 0; c < cols; c += 16) __builtin_prefetch(dst + i * in + c, 1);
                    dg_tile_units(false, height, cols, units, a + r / GROUP * GROUP * units + r % GROUP, GROUP, b, COLS,
                                  first > 0 || o->acc_weight, dst, in);
                }
            }
        }
}

/* Bytes of scratch. */
void DG_K(outer_scratch)(int threads, int64_t *bytes) { *bytes = 4 * (int64_t)threads * UNITS * (MOST + COLS); }

/* diff_weight [out, in] = acc_weight + diff_dst^T src and diff_bias [out] = acc_bias + the column sums of diff_dst, of src
 * [rows, in] and diff_dst [rows, out], each of bf16 (half) or rounded to it; sums are f32. An accumulator may be NULL or the
 * result it belongs to; diff_bias may be NULL. */
void DG_K(outer)(int64_t rows, int64_t in, int64_t out, int src_half, const void *src, int diff_half,
                 const void *diff_dst, const float *acc_weight, const float *acc_bias, float *diff_weight,
                 float *diff_bias, float *scratch, int threads)
{
    struct outer o = {rows, in, out, src_half, diff_half, src, diff_dst, acc_weight, acc_bias, diff_weight, diff_bias};
    /* A grid of threads that reads least. */
    int64_t down = threads;
    for (int64_t d = 1; d < threads; d++)
        if (threads % d == 0 && d * in + threads / d * out < down * in + threads / down * out) down = d;
    int64_t across = threads / down, tiles = dg_blocks(out, ROWS), panels = dg_blocks(in, COLS);
#pragma omp parallel num_threads(threads)
    {
        int64_t t = omp_get_thread_num(), y = t / across, x = t % across;
        int64_t out0 = tiles * y / down * ROWS, out1 = dg_min_i64(out, tiles * (y + 1) / down * ROWS);
        int64_t in0 = panels * x / across * COLS, in1 = dg_min_i64(in, panels * (x + 1) / across * COLS);
        if (out0 < out1 && in0 < in1)
            part(&o, out0, out1, in0, in1, diff_bias && in0 == 0, (uint32_t *)scratch + t * UNITS * (MOST + COLS));
    }
}

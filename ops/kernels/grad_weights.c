/* Each thread computes a rectangle of diff_weight. It takes a block of rows at a time, packs a block of diff_dst's columns, which
 * then stays in the L2 cache, and multiplies it with src one panel after the other, a panel being as wide as a tile (tile.h).
 *
 * Where there are AMX's tiles, products of bf16 are made on these (grad_weights_amx.h). */
#include "ops/kernels/grad_weights.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/grad_weights_amx.h"
#include "ops/kernels/grad_weights_rows.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"

#include <string.h>

enum {
    ROWS = DG_TILE_ROWS, /* columns of diff_dst in a tile */
    COLS = DG_TILE_COLS, /* columns of src in a tile */
    GROUP = 48, /* columns of diff_dst that are packed together: a multiple of tiles and vectors at every level */
    MAX_COLUMNS = 8 * GROUP, /* columns of diff_dst in a block, at most */
    UNITS = 320,             /* rows in a block, at most; in bf16, units of two rows */
};

/* sum [cols] += the sum over the rows of groups as dg_grad_pack() makes them: products with ones. */
static DG_INLINE void add_rows(bool bf16, int64_t cols, int64_t units, const uint32_t *groups, float *sum)
{
    enum { VECTORS = GROUP / DG_LANES };
    const uint32_t bits = 0x3f803f80;
    float ones = 1;
    if (bf16) memcpy(&ones, &bits, sizeof ones);
    for (int64_t c = 0; c < cols; c += GROUP, groups += GROUP * units) {
        dg_lanes even[VECTORS] = {0}, odd[VECTORS] = {0}; /* two, so that neither waits for the other */
        const dg_lanes *x = (const void *)groups;
        for (int64_t u = 0; u + 1 < units; u += 2, x += 2 * VECTORS)
            for (int i = 0; i < VECTORS; i++) {
                even[i] = dg_multiply_add(bf16, even[i], ones, x[i]);
                odd[i] = dg_multiply_add(bf16, odd[i], ones, x[i + VECTORS]);
            }
        float all[GROUP];
        for (int i = 0; i < VECTORS; i++) {
            if (units % 2) even[i] = dg_multiply_add(bf16, even[i], ones, x[i]);
            *(dg_lanes *)(all + i * DG_LANES) = even[i] + odd[i];
        }
        for (int64_t i = 0; i < dg_min_i64(GROUP, cols - c); i++) sum[c + i] += all[i];
    }
}

/* The columns of diff_dst in a block when `out` columns are cut into as few blocks as possible, nearly equal ones. */
static int64_t block_width(int64_t out)
{
    return dg_blocks(dg_blocks(out, dg_blocks(out, MAX_COLUMNS)), GROUP) * GROUP;
}

/* The rows in a block when `rows` rows are cut into as few blocks as possible, nearly equal ones: a short block takes as long to add its
 * results as a full one. */
static int64_t block_rows(bool bf16, int64_t rows)
{
    int64_t blocks = dg_blocks(rows, UNITS * (1 + bf16));
    return blocks ? dg_round_up(dg_blocks(rows, blocks), 1 + bf16) : 0;
}

/* A thread's rectangle of the results: rows out0 to out1, the columns of panels panel0 to panel1. */
struct rectangle {
    int64_t out0, out1, panel0, panel1;
};

/* Computes a rectangle, and if `bias` its rows of diff_bias. `a` is the thread's scratch. */
static DG_INLINE void compute(bool bf16, const struct dg_grad_job *j, const struct rectangle *part, bool bias,
                              uint32_t *a)
{
    uint32_t *b = a + UNITS * MAX_COLUMNS;
    int64_t out0 = part->out0, out1 = part->out1, panel0 = part->panel0, panel1 = part->panel1;
    int64_t in = j->args.in, width = block_width(out1 - out0), deep = j->deep;
    float *diff_bias = j->args.diff_bias;
    const float *acc_bias = j->args.acc_bias;
    const void *pointers[2][2 * UNITS]; /* to windows: of the current panel and the next */
    int turn = 0;
    for (int64_t row = out0; bias && row < out1; row++) diff_bias[row] = acc_bias ? acc_bias[row] : 0;
    struct dg_grad_rows now = dg_grad_src_rows(j, 0, panel0, pointers[0]);
    for (int64_t first = 0; first < j->args.rows; first += deep)
        for (int64_t block = out0; block < out1; block += width) {
            int64_t wide = dg_min_i64(width, out1 - block), tiles = dg_blocks(wide, ROWS);
            bool last = block + width >= out1;
            int64_t after = last ? out0 : block + width, after_row = last ? first + deep : first, step = 0;
            struct dg_grad_rows diff = dg_grad_diff_rows(j, first, block, wide),
                                next_diff = dg_grad_diff_rows(j, after_row, after, dg_min_i64(width, out1 - after));
            int64_t units = dg_blocks(diff.count, 1 + bf16);
            dg_grad_pack(bf16, &diff, units, GROUP, a);
            if (bias) add_rows(bf16, wide, units, a, diff_bias + block);
            for (int64_t p = panel0; p < panel1; p++) {
                bool more = p + 1 < panel1;
                turn = !turn;
                struct dg_grad_rows next =
                    dg_grad_src_rows(j, more ? first : after_row, more ? p + 1 : panel0, pointers[turn]);
                dg_grad_pack(bf16, &now, units, COLS, b);
                int64_t col = dg_grad_panel_columns(j, p).first;
                for (int64_t r = 0; r < wide; r += ROWS) {
                    dg_grad_prefetch(&next_diff, step++, (panel1 - panel0) * tiles);
                    dg_grad_prefetch(&next, r / ROWS, tiles);
                    int64_t height = dg_min_i64(ROWS, wide - r);
                    float *dst = j->results + (block + r) * in + col;
                    for (int64_t i = 0; i < height; i++)
                        for (int64_t c = 0; c < now.cols; c += 16) __builtin_prefetch(dst + i * in + c, 1);
                    dg_tile_cols(bf16 ? dg_tile_down_bf16 : dg_tile_down, height, now.cols, units,
                                 a + r / GROUP * GROUP * units + r % GROUP, GROUP, b, COLS, first > 0 || j->add, dst,
                                 in);
                }
                now = next;
            }
        }
}

enum { THREAD_SCRATCH = UNITS * (MAX_COLUMNS + COLS) }; /* numbers of 32 bits: a block of diff_dst and a panel of src */

/* Numbers of 32 bits that the results take in scratch before they are permuted. */
static int64_t results_size(int64_t in, int64_t out, const struct dg_windows *windows)
{
    return windows ? dg_round_up(in * out, 16) : 0;
}

static int64_t taps_of(const struct dg_windows *windows) { return windows ? windows->kernel * windows->kernel : 1; }

static int64_t scratch_bytes(int64_t in, int64_t out, const struct dg_windows *windows, int threads)
{
    int64_t lanes = (int64_t)threads * THREAD_SCRATCH,
            tiles = DG_HAS_AMX ? dg_grad_amx_scratch(in, taps_of(windows), out, threads) : 0;
    return 4 * (results_size(in, out, windows) + (tiles > lanes ? tiles : lanes));
}

/* How many threads share the rows of the results: the grid of threads that packs the fewest columns. */
static int64_t threads_down(int64_t in, int64_t out, int threads)
{
    int64_t down = threads;
    for (int64_t d = 1; d < threads; d++)
        if (threads % d == 0 && d * in + threads / d * out < down * in + threads / down * out) down = d;
    return down;
}

/* The results of job j, by all threads of a parallel region. */
static void on_lanes(const struct dg_grad_job *j, uint32_t *scratch)
{
    const struct dg_grad_weights_args *a = &j->args;
    int64_t panels = dg_grad_panels(j), tiles = dg_blocks(a->out, ROWS);
    int64_t down = threads_down(a->in, a->out, a->threads), across = a->threads / down;
    int64_t t = omp_get_thread_num(), y = t / across, x = t % across;
    struct rectangle part = {.out0 = tiles * y / down * ROWS,
                             .out1 = dg_min_i64(a->out, tiles * (y + 1) / down * ROWS),
                             .panel0 = panels * x / across,
                             .panel1 = panels * (x + 1) / across};
    bool bias = a->diff_bias && part.panel0 == 0;
    if (part.out0 >= part.out1 || part.panel0 >= part.panel1) return;
    if (a->bf16)
        compute(1, j, &part, bias, scratch + t * THREAD_SCRATCH);
    else
        compute(0, j, &part, bias, scratch + t * THREAD_SCRATCH);
}

static void grad_weights(const struct dg_grad_weights_args *a)
{
    const bool tiles = DG_HAS_AMX && a->bf16;
    int64_t in = a->in, out = a->out;
    uint32_t *scratch = (uint32_t *)a->scratch + results_size(in, out, a->windows);
    struct dg_grad_job j = {.args = *a,
                            .taps = taps_of(a->windows),
                            .panel = tiles ? DG_GRAD_SIDE : COLS,
                            .deep = tiles ? DG_GRAD_DEEP : block_rows(a->bf16, a->rows),
                            .results = a->windows ? a->scratch : a->diff_weight,
                            .add = !a->windows && a->acc_weight};
#pragma omp parallel num_threads(a->threads)
    {
        if (j.add && a->acc_weight != a->diff_weight) {
#pragma omp for schedule(static)
            for (int64_t row = 0; row < out; row++)
                memcpy(a->diff_weight + row * in, a->acc_weight + row * in, (size_t)in * sizeof(float));
        }
        if (tiles)
            dg_grad_on_tiles(&j, scratch);
        else
            on_lanes(&j, scratch);
        if (a->windows) {
#pragma omp barrier
            dg_grad_permute(&j);
        }
    }
}

DG_KERNELS(grad_weights) = {.scratch = scratch_bytes, .grad_weights = grad_weights};

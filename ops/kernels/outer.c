/* The gradient of weights: diff_weight = diff_dst^T src, a long sum over rows into few results. Each thread makes a rectangle
 * of the results. It takes rows a block at a time, brings a block of diff_dst's columns into the order of the tiles
 * (tile.h), where it stays in the second cache, and then src a panel of one tile's width after the other.
 *
 * Rows of src may be the windows of an image, which are read where they lie. Panels then are of up to COLS channels at one
 * place of the window, all places of a panel's channels in a row, and so are the results until they are put in order. */
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
    UNITS = 256,         /* rows in a block, in bf16 units of two */
};

struct outer {
    int64_t rows, in, out, taps; /* taps: places in a window, 1 without windows */
    const struct dg_windows *windows;
    int half, src_half, diff_half; /* half: of the operands; of src and diff_dst as they lie there */
    const void *src, *diff_dst;
    bool add; /* to what is in diff_weight */
    const float *acc_bias;
    float *diff_weight, *diff_bias;
};

/* Rows of a block, some columns of them: `bytes` apart, or (at) each at a place of its own. */
struct rows {
    const void *first, **at;
    int64_t bytes, count, cols, fetched;
    int half;
};

static DG_INLINE const void *row_at(const struct rows *r, int64_t i)
{
    return r->at ? r->at[i] : (const char *)r->first + i * r->bytes;
}

static const float zeros[COLS];

/* How many rows a block has that begins with `first`; none behind the end. */
static int64_t rows_from(const struct outer *o, int64_t first)
{
    return first < o->rows ? dg_min_i64(UNITS * (1 + o->half), o->rows - first) : 0;
}

/* Rows from `first` of array [rows, ld]. */
static struct rows rows_of(const struct outer *o, int half, const void *array, int64_t ld, int64_t first, int64_t col,
                           int64_t cols)
{
    return (struct rows){.first = dg_at(array, half, first * ld + col),
                         .bytes = ld * (half ? 2 : 4),
                         .count = rows_from(o, first),
                         .cols = cols,
                         .half = half};
}

static struct rows diff_rows(const struct outer *o, int64_t first, int64_t col, int64_t cols)
{
    return rows_of(o, o->diff_half, o->diff_dst, o->out, first, col, cols);
}

/* Columns of the results that a panel makes. */
static struct dg_range panel_columns(const struct outer *o, int64_t panel)
{
    int64_t before = panel / o->taps * COLS, cols = dg_min_i64(COLS, o->in / o->taps - before);
    int64_t first = before * o->taps + panel % o->taps * cols;
    return (struct dg_range){first, first + cols};
}

/* Where the windows from `first` have the place and the channels of a panel; zeros outside of the image. */
static void window_rows(const struct outer *o, int64_t first, int64_t panel, int64_t count, const void **at)
{
    const struct dg_windows *w = o->windows;
    int64_t tap = panel % o->taps, down = tap / w->kernel * w->dilation - w->pad,
            right = tap % w->kernel * w->dilation - w->pad, channel = panel / o->taps * COLS;
    int64_t line = first / w->out_width, column = first % w->out_width;
    for (int64_t i = 0; i < count; line++, column = 0) {
        int64_t y = line % w->out_height * w->stride + down, top = line / w->out_height * w->height;
        bool there = y >= 0 && y < w->height;
        const void *from = dg_at(o->src, o->src_half, (there ? top + y : 0) * w->width * w->channels + channel);
        for (; column < w->out_width && i < count; column++, i++) {
            int64_t x = column * w->stride + right;
            at[i] = there && x >= 0 && x < w->width ? dg_at(from, o->src_half, x * w->channels) : zeros;
        }
    }
}

static struct rows src_rows(const struct outer *o, int64_t first, int64_t panel, const void **at)
{
    struct dg_range range = panel_columns(o, panel);
    int64_t cols = range.end - range.first;
    if (!o->windows) return rows_of(o, o->src_half, o->src, o->in, first, range.first, cols);
    struct rows r = {.at = at, .count = rows_from(o, first), .cols = cols, .half = o->src_half};
    window_rows(o, first, panel, r.count, at);
    return r;
}

/* Brings the rows near by the end of step `step` of `steps`. */
static void fetch(struct rows *r, int64_t step, int64_t steps)
{
    int64_t end = (step + 1) * r->count / steps, bytes = r->cols * (r->half ? 2 : 4);
    for (; r->fetched < end; r->fetched++)
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch((const char *)row_at(r, r->fetched) + b, 0, 2);
}

/* dst [panels][units][panel]. */
static DG_INLINE void pack(int half, int from_half, const struct rows *r, int panel, uint32_t *dst)
{
    int64_t units = dg_blocks(r->count, 1 + half);
    for (int64_t u = 0; u < units; u++)
        for (int64_t c = 0; c < r->cols; c += panel) {
            int64_t width = dg_min_i64(panel, r->cols - c);
            uint32_t *to = dst + c * units + u * panel;
            const void *x = dg_at(row_at(r, half ? 2 * u : u), from_half, c);
            if (half) {
                const void *y = 2 * u + 1 < r->count ? dg_at(row_at(r, 2 * u + 1), from_half, c) : NULL;
                dg_pair(from_half, width, x, y, panel, to);
            } else if (width == panel) {
                memcpy(to, x, (size_t)panel * 4);
            } else {
                memset(to, 0, (size_t)panel * 4);
                memcpy(to, x, (size_t)width * 4);
            }
        }
}

static DG_INLINE void pack_any(int half, const struct rows *r, int panel, uint32_t *dst)
{
    if (!half)
        pack(0, 0, r, panel, dst);
    else if (r->half)
        pack(1, 1, r, panel, dst);
    else
        pack(1, 0, r, panel, dst);
}

/* sum [cols] += the rows of groups as they were packed: products with ones. */
static DG_INLINE void add_rows(int half, int64_t cols, int64_t units, const uint32_t *groups, float *sum)
{
    enum { VECTORS = GROUP / DG_LANES };
    const uint32_t bits = 0x3f803f80;
    float ones = 1;
    if (half) memcpy(&ones, &bits, sizeof ones);
    for (int64_t c = 0; c < cols; c += GROUP, groups += GROUP * units) {
        dg_lanes even[VECTORS] = {0}, odd[VECTORS] = {0}; /* two: each waits for its last sum */
        const dg_lanes *x = (const void *)groups;
        for (int64_t u = 0; u + 1 < units; u += 2, x += 2 * VECTORS)
            for (int i = 0; i < VECTORS; i++) {
                even[i] = dg_multiply_add(half, even[i], ones, x[i]);
                odd[i] = dg_multiply_add(half, odd[i], ones, x[i + VECTORS]);
            }
        float all[GROUP];
        for (int i = 0; i < VECTORS; i++) {
            if (units % 2) even[i] = dg_multiply_add(half, even[i], ones, x[i]);
            *(dg_lanes *)(all + i * DG_LANES) = even[i] + odd[i];
        }
        for (int64_t i = 0; i < dg_min_i64(GROUP, cols - c); i++) sum[c + i] += all[i];
    }
}

/* Columns of diff_dst in a block, blocks being alike. */
static int64_t block_width(int64_t out) { return dg_blocks(dg_blocks(out, dg_blocks(out, MOST)), GROUP) * GROUP; }

/* Results [out0 .. out1] of panels [panel0 .. panel1], and (bias) of the bias [out0 .. out1]. */
static DG_INLINE void part(int half, const struct outer *o, int64_t out0, int64_t out1, int64_t panel0, int64_t panel1,
                           bool bias, uint32_t *a)
{
    uint32_t *b = a + UNITS * MOST;
    int64_t in = o->in, width = block_width(out1 - out0), deep = UNITS * (1 + half);
    const void *places[2][2 * UNITS];
    int turn = 0;
    for (int64_t row = out0; bias && row < out1; row++) o->diff_bias[row] = o->acc_bias ? o->acc_bias[row] : 0;
    struct rows now = src_rows(o, 0, panel0, places[0]);
    for (int64_t first = 0; first < o->rows; first += deep)
        for (int64_t block = out0; block < out1; block += width) {
            int64_t wide = dg_min_i64(width, out1 - block), tiles = dg_blocks(wide, ROWS);
            bool last = block + width >= out1;
            int64_t after = last ? out0 : block + width, after_row = last ? first + deep : first, step = 0;
            struct rows diff = diff_rows(o, first, block, wide),
                        next_diff = diff_rows(o, after_row, after, dg_min_i64(width, out1 - after));
            int64_t units = dg_blocks(diff.count, 1 + half);
            pack_any(half, &diff, GROUP, a);
            if (bias) add_rows(half, wide, units, a, o->diff_bias + block);
            for (int64_t p = panel0; p < panel1; p++) {
                bool more = p + 1 < panel1;
                turn = !turn;
                struct rows next = src_rows(o, more ? first : after_row, more ? p + 1 : panel0, places[turn]);
                pack_any(half, &now, COLS, b);
                int64_t col = panel_columns(o, p).first;
                for (int64_t r = 0; r < wide; r += ROWS) {
                    fetch(&next_diff, step++, (panel1 - panel0) * tiles);
                    fetch(&next, r / ROWS, tiles);
                    int64_t height = dg_min_i64(ROWS, wide - r);
                    float *dst = o->diff_weight + (block + r) * in + col;
                    for (int64_t i = 0; i < height; i++)
                        for (int64_t c = 0; c < now.cols; c += 16) __builtin_prefetch(dst + i * in + c, 1);
                    dg_tile_cols(half ? dg_tile_down_bf16 : dg_tile_down, height, now.cols, units,
                                 a + r / GROUP * GROUP * units + r % GROUP, GROUP, b, COLS, first > 0 || o->add, dst,
                                 in);
                }
                now = next;
            }
        }
}

/* Results of windows in the order of weights, channel by channel: dst [out, channels, taps] = acc + made, in panels. */
static void in_order(const struct outer *o, const float *made, const float *acc, float *dst)
{
    int64_t taps = o->taps, block = COLS * taps;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < o->out; row++)
        for (int64_t first = 0; first < o->in; first += block) {
            int64_t at = row * o->in + first, channels = dg_min_i64(block, o->in - first) / taps, i = at;
            for (int64_t c = 0; c < channels; c++)
                for (int64_t t = 0; t < taps; t++, i++) dst[i] = (acc ? acc[i] : 0) + made[at + t * channels + c];
        }
}

static int64_t thread_scratch(int threads) { return (int64_t)threads * UNITS * (MOST + COLS); }

/* Bytes of scratch. */
void DG_K(outer_scratch)(int64_t in, int64_t out, const struct dg_windows *windows, int threads, int64_t *bytes)
{
    *bytes = 4 * (thread_scratch(threads) + (windows ? in * out : 0));
}

/* diff_weight [out, in] = acc_weight + diff_dst^T src and diff_bias [out] = acc_bias + the column sums of diff_dst, of src
 * [rows, in] and diff_dst [rows, out] of f32. With `half`, each is of bf16 (src_half, diff_half) or rounded to it; sums are
 * f32. An accumulator may be NULL or the result it belongs to; diff_bias may be NULL.
 *
 * With `windows`, src is images and a row is what a window sees of them, in = channels kernel^2: diff_weight is [out,
 * channels, kernel, kernel]. */
void DG_K(outer)(int half, int64_t rows, int64_t in, int64_t out, const struct dg_windows *windows, int src_half,
                 const void *src, int diff_half, const void *diff_dst, const float *acc_weight, const float *acc_bias,
                 float *diff_weight, float *diff_bias, float *scratch, int threads)
{
    int64_t taps = windows ? windows->kernel * windows->kernel : 1, panels = dg_blocks(in / taps, COLS) * taps,
            tiles = dg_blocks(out, ROWS);
    float *made = windows ? scratch + thread_scratch(threads) : diff_weight;
    struct outer o = {.rows = rows,
                      .in = in,
                      .out = out,
                      .taps = taps,
                      .windows = windows,
                      .half = half,
                      .src_half = src_half,
                      .diff_half = diff_half,
                      .src = src,
                      .diff_dst = diff_dst,
                      .add = !windows && acc_weight,
                      .acc_bias = acc_bias,
                      .diff_weight = made,
                      .diff_bias = diff_bias};
    /* A grid of threads that reads least. */
    int64_t down = threads;
    for (int64_t d = 1; d < threads; d++)
        if (threads % d == 0 && d * in + threads / d * out < down * in + threads / down * out) down = d;
    int64_t across = threads / down;
#pragma omp parallel num_threads(threads)
    {
        int64_t t = omp_get_thread_num(), y = t / across, x = t % across;
        int64_t out0 = tiles * y / down * ROWS, out1 = dg_min_i64(out, tiles * (y + 1) / down * ROWS);
        int64_t panel0 = panels * x / across, panel1 = panels * (x + 1) / across;
        uint32_t *mine = (uint32_t *)scratch + t * UNITS * (MOST + COLS);
        if (o.add && acc_weight != diff_weight) {
#pragma omp for schedule(static)
            for (int64_t row = 0; row < out; row++)
                memcpy(diff_weight + row * in, acc_weight + row * in, (size_t)in * sizeof(float));
        }
        if (out0 < out1 && panel0 < panel1) {
            if (half)
                part(1, &o, out0, out1, panel0, panel1, diff_bias && panel0 == 0, mine);
            else
                part(0, &o, out0, out1, panel0, panel1, diff_bias && panel0 == 0, mine);
        }
        if (windows) {
#pragma omp barrier
            in_order(&o, made, acc_weight, diff_weight);
        }
    }
}

/* Each thread computes a rectangle of diff_weight. It takes a block of rows at a time, packs a block of diff_dst's columns, which
 * then stays in the L2 cache, and multiplies it with src one panel after the other, a panel being as wide as a tile (tile.h).
 *
 * Rows of src may be the windows of images, which are read where they lie. A panel then is up to COLS channels at one tap, a
 * position within the window; the panels of the same channels at all taps follow each other. The results are in this order, too,
 * until permute() makes them [out, channels, taps]. */
#include "ops/kernels/grad_weights.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"

#include <string.h>

enum {
    ROWS = DG_TILE_ROWS, /* columns of diff_dst in a tile */
    COLS = DG_TILE_COLS, /* columns of src in a tile */
    GROUP = 48, /* columns of diff_dst that are packed together: a multiple of tiles and vectors at every level */
    MAX_COLUMNS = 8 * GROUP, /* columns of diff_dst in a block, at most */
    UNITS = 256,             /* rows in a block; in bf16, units of two rows */
};

struct job {
    struct dg_grad_weights_args args;
    int64_t taps;   /* 1 without windows */
    float *results; /* [out, in], in the order of the panels */
    bool add;       /* results are added to what is there */
};

/* Some columns of a block of rows. Row i begins at at[i] or, if `at` is NULL, at first + i * stride. */
struct rows {
    const void *first, **at;
    int64_t stride, count, cols; /* bytes, rows, columns */
    int64_t prefetched;          /* rows */
    bool bf16;                   /* numbers are bf16, else f32 */
};

static DG_INLINE const void *row_at(const struct rows *r, int64_t i)
{
    return r->at ? r->at[i] : (const char *)r->first + i * r->stride;
}

static const float zeros[COLS];

/* The number of rows of the block that begins with row `first`; 0 behind the last row. */
static int64_t rows_from(const struct job *j, int64_t first)
{
    return first < j->args.rows ? dg_min_i64(UNITS * (1 + j->args.bf16), j->args.rows - first) : 0;
}

/* The block from row `first` of an array [rows, ld], columns col to col + cols. */
static struct rows rows_of(const struct job *j, bool bf16, const void *array, int64_t ld, int64_t first, int64_t col,
                           int64_t cols)
{
    return (struct rows){.first = dg_at(array, bf16, first * ld + col),
                         .stride = ld * (bf16 ? 2 : 4),
                         .count = rows_from(j, first),
                         .cols = cols,
                         .bf16 = bf16};
}

static struct rows diff_rows(const struct job *j, int64_t first, int64_t col, int64_t cols)
{
    return rows_of(j, j->args.diff_dst_bf16, j->args.diff_dst, j->args.out, first, col, cols);
}

/* The columns of the results that a panel yields. */
static struct dg_range panel_columns(const struct job *j, int64_t panel)
{
    int64_t channel = panel / j->taps * COLS, cols = dg_min_i64(COLS, j->args.in / j->taps - channel);
    int64_t first = channel * j->taps + panel % j->taps * cols;
    return (struct dg_range){first, first + cols};
}

/* at[i]: where window first + i has a panel's tap and channels; zeros outside of the image. */
static void window_rows(const struct job *j, int64_t first, int64_t panel, int64_t count, const void **at)
{
    const struct dg_windows *w = j->args.windows;
    bool bf16 = j->args.src_bf16;
    int64_t tap = panel % j->taps, down = tap / w->kernel * w->dilation - w->pad,
            right = tap % w->kernel * w->dilation - w->pad, channel = panel / j->taps * COLS;
    int64_t line = first / w->out_width, column = first % w->out_width;
    for (int64_t i = 0; i < count; line++, column = 0) {
        int64_t y = line % w->out_height * w->stride + down, top = line / w->out_height * w->height;
        bool inside = y >= 0 && y < w->height;
        const void *from = dg_at(j->args.src, bf16, (inside ? top + y : 0) * w->width * w->channels + channel);
        for (; column < w->out_width && i < count; column++, i++) {
            int64_t x = column * w->stride + right;
            at[i] = inside && x >= 0 && x < w->width ? dg_at(from, bf16, x * w->channels) : zeros;
        }
    }
}

/* A panel's columns of the block of src from row `first`; `at` is room for pointers to windows. */
static struct rows src_rows(const struct job *j, int64_t first, int64_t panel, const void **at)
{
    const struct dg_grad_weights_args *a = &j->args;
    struct dg_range range = panel_columns(j, panel);
    int64_t cols = range.end - range.first;
    if (!a->windows) return rows_of(j, a->src_bf16, a->src, a->in, first, range.first, cols);
    struct rows r = {.at = at, .count = rows_from(j, first), .cols = cols, .bf16 = a->src_bf16};
    window_rows(j, first, panel, r.count, at);
    return r;
}

/* Prefetches the rows little by little: all of them by the end of the last of `steps` steps. */
static void prefetch(struct rows *r, int64_t step, int64_t steps)
{
    int64_t end = (step + 1) * r->count / steps, bytes = r->cols * (r->bf16 ? 2 : 4);
    for (; r->prefetched < end; r->prefetched++)
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch((const char *)row_at(r, r->prefetched) + b, 0, 2);
}

/* Packs rows by panels of `panel` columns: dst [panels][units][panel]. In bf16 a unit is two rows. */
static DG_INLINE void pack(bool bf16, bool from_bf16, const struct rows *r, int panel, uint32_t *dst)
{
    int64_t units = dg_blocks(r->count, 1 + bf16);
    for (int64_t u = 0; u < units; u++)
        for (int64_t c = 0; c < r->cols; c += panel) {
            int64_t width = dg_min_i64(panel, r->cols - c);
            uint32_t *to = dst + c * units + u * panel;
            const void *x = dg_at(row_at(r, bf16 ? 2 * u : u), from_bf16, c);
            if (bf16) {
                const void *y = 2 * u + 1 < r->count ? dg_at(row_at(r, 2 * u + 1), from_bf16, c) : NULL;
                dg_pair(from_bf16, width, x, y, panel, to);
            } else if (width == panel) {
                memcpy(to, x, (size_t)panel * 4);
            } else {
                memset(to, 0, (size_t)panel * 4);
                memcpy(to, x, (size_t)width * 4);
            }
        }
}

static DG_INLINE void pack_any(bool bf16, const struct rows *r, int panel, uint32_t *dst)
{
    if (!bf16)
        pack(0, 0, r, panel, dst);
    else if (r->bf16)
        pack(1, 1, r, panel, dst);
    else
        pack(1, 0, r, panel, dst);
}

/* sum [cols] += the sum over the rows of groups as pack() makes them: products with ones. */
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

/* A thread's rectangle of the results: rows out0 to out1, the columns of panels panel0 to panel1. */
struct rectangle {
    int64_t out0, out1, panel0, panel1;
};

/* Computes a rectangle, and if `bias` its rows of diff_bias. `a` is the thread's scratch. */
static DG_INLINE void compute(bool bf16, const struct job *j, const struct rectangle *part, bool bias, uint32_t *a)
{
    uint32_t *b = a + UNITS * MAX_COLUMNS;
    int64_t out0 = part->out0, out1 = part->out1, panel0 = part->panel0, panel1 = part->panel1;
    int64_t in = j->args.in, width = block_width(out1 - out0), deep = UNITS * (1 + bf16);
    float *diff_bias = j->args.diff_bias;
    const float *acc_bias = j->args.acc_bias;
    const void *pointers[2][2 * UNITS]; /* to windows: of the current panel and the next */
    int turn = 0;
    for (int64_t row = out0; bias && row < out1; row++) diff_bias[row] = acc_bias ? acc_bias[row] : 0;
    struct rows now = src_rows(j, 0, panel0, pointers[0]);
    for (int64_t first = 0; first < j->args.rows; first += deep)
        for (int64_t block = out0; block < out1; block += width) {
            int64_t wide = dg_min_i64(width, out1 - block), tiles = dg_blocks(wide, ROWS);
            bool last = block + width >= out1;
            int64_t after = last ? out0 : block + width, after_row = last ? first + deep : first, step = 0;
            struct rows diff = diff_rows(j, first, block, wide),
                        next_diff = diff_rows(j, after_row, after, dg_min_i64(width, out1 - after));
            int64_t units = dg_blocks(diff.count, 1 + bf16);
            pack_any(bf16, &diff, GROUP, a);
            if (bias) add_rows(bf16, wide, units, a, diff_bias + block);
            for (int64_t p = panel0; p < panel1; p++) {
                bool more = p + 1 < panel1;
                turn = !turn;
                struct rows next = src_rows(j, more ? first : after_row, more ? p + 1 : panel0, pointers[turn]);
                pack_any(bf16, &now, COLS, b);
                int64_t col = panel_columns(j, p).first;
                for (int64_t r = 0; r < wide; r += ROWS) {
                    prefetch(&next_diff, step++, (panel1 - panel0) * tiles);
                    prefetch(&next, r / ROWS, tiles);
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

/* A row of diff_weight, [channels, taps] = acc + the results, which are in the order of the panels; acc may be NULL. */
static void permute_row(int64_t in, int64_t taps, const float *acc, const float *results, float *dst)
{
    for (int64_t first = 0; first < in; first += COLS * taps) {
        int64_t channels = dg_min_i64(COLS * taps, in - first) / taps, i = first;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++, i++) dst[i] = (acc ? acc[i] : 0) + results[first + t * channels + c];
    }
}

/* diff_weight [out, channels, taps] = acc_weight + the results. */
static void permute(const struct job *j)
{
    int64_t in = j->args.in;
    const float *acc = j->args.acc_weight;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < j->args.out; row++)
        permute_row(in, j->taps, acc ? acc + row * in : NULL, j->results + row * in, j->args.diff_weight + row * in);
}

enum { THREAD_SCRATCH = UNITS * (MAX_COLUMNS + COLS) }; /* numbers of 32 bits: a block of diff_dst and a panel of src */

static int64_t scratch_bytes(int64_t in, int64_t out, const struct dg_windows *windows, int threads)
{
    return 4 * ((int64_t)threads * THREAD_SCRATCH + (windows ? in * out : 0));
}

/* How many threads share the rows of the results: the grid of threads that packs the fewest columns. */
static int64_t threads_down(int64_t in, int64_t out, int threads)
{
    int64_t down = threads;
    for (int64_t d = 1; d < threads; d++)
        if (threads % d == 0 && d * in + threads / d * out < down * in + threads / down * out) down = d;
    return down;
}

static void grad_weights(const struct dg_grad_weights_args *a)
{
    int64_t taps = a->windows ? a->windows->kernel * a->windows->kernel : 1, in = a->in, out = a->out;
    int64_t panels = dg_blocks(in / taps, COLS) * taps, tiles = dg_blocks(out, ROWS);
    uint32_t *scratch = a->scratch;
    struct job j = {.args = *a,
                    .taps = taps,
                    .results = a->windows ? (float *)a->scratch + (int64_t)a->threads * THREAD_SCRATCH : a->diff_weight,
                    .add = !a->windows && a->acc_weight};
    int64_t down = threads_down(in, out, a->threads), across = a->threads / down;
#pragma omp parallel num_threads(a->threads)
    {
        int64_t t = omp_get_thread_num(), y = t / across, x = t % across;
        struct rectangle part = {.out0 = tiles * y / down * ROWS,
                                 .out1 = dg_min_i64(out, tiles * (y + 1) / down * ROWS),
                                 .panel0 = panels * x / across,
                                 .panel1 = panels * (x + 1) / across};
        bool bias = a->diff_bias && part.panel0 == 0;
        if (j.add && a->acc_weight != a->diff_weight) {
#pragma omp for schedule(static)
            for (int64_t row = 0; row < out; row++)
                memcpy(a->diff_weight + row * in, a->acc_weight + row * in, (size_t)in * sizeof(float));
        }
        if (part.out0 < part.out1 && part.panel0 < part.panel1) {
            if (a->bf16)
                compute(1, &j, &part, bias, scratch + t * THREAD_SCRATCH);
            else
                compute(0, &j, &part, bias, scratch + t * THREAD_SCRATCH);
        }
        if (a->windows) {
#pragma omp barrier
            permute(&j);
        }
    }
}

DG_KERNELS(grad_weights) = {.scratch = scratch_bytes, .grad_weights = grad_weights};

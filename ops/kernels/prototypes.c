#include "ops/kernels/prototypes.h"

#include "ops/kernels/pack.h"
#include "ops/kernels/prefetch.h"
#include "ops/kernels/tile.h"

#include <math.h>

enum { COLS = DG_TILE_COLS };

/* Units of 32 bits that hold rows of bf16. Packed features are such rows, for the logits, and behind them pairs of rows, for
 * diff_w. A thread's scratch begins with the rows of the weights. */
static int64_t rows_size(int64_t rows, int64_t in) { return rows * dg_blocks(in, 2); }

static struct dg_prototype_scratch scratch_bytes(int64_t rows, int64_t in, int64_t prototypes)
{
    int64_t wide = dg_round_up(in, DG_LANES), pairs = dg_blocks(prototypes, 2);
    int64_t logits = dg_blocks(in, 2) * COLS;
    int64_t grads = rows * pairs + pairs * wide + dg_blocks(rows, 2) * dg_round_up(prototypes, DG_LANES);
    return (struct dg_prototype_scratch){
        .features = 4 * (rows_size(rows, in) + dg_blocks(rows, 2) * wide),
        .thread = 4 * (rows_size(prototypes, in) + (logits > grads ? logits : grads)),
    };
}

/* dst [cols / 2 units] = scale * src [cols], rounded; an odd last number is paired with zero. */
static void round_row(int64_t cols, float scale, const float *src, uint32_t *dst)
{
#pragma omp simd
    for (int64_t u = 0; u < cols / 2; u++) dst[u] = dg_bf16_pair(scale * src[2 * u], scale * src[2 * u + 1]);
    if (cols % 2) dst[cols / 2] = dg_bf16_pair(scale * src[cols - 1], 0);
}

/* Packs src [rows, cols], bf16 or f32, as units of two rows: dst [rows / 2, wide]. */
static DG_INLINE void pair_rows(bool bf16, int64_t rows, int64_t cols, const void *src, int64_t ld, int64_t wide,
                                uint32_t *dst)
{
    for (int64_t r = 0; r < rows; r += 2)
        dg_pair(bf16, cols, dg_at(src, bf16, r * ld), r + 1 < rows ? dg_at(src, bf16, (r + 1) * ld) : NULL, wide,
                dst + r / 2 * wide);
}

static void pack_features(int64_t rows, int64_t in, const float *src, void *features)
{
    int64_t depth = dg_blocks(in, 2);
    uint32_t *units = features, *pairs = units + rows_size(rows, in);
    for (int64_t r = 0; r < rows; r++) round_row(in, 1, src + r * in, units + r * depth);
    pair_rows(0, rows, in, src, in, dg_round_up(in, DG_LANES), pairs);
}

static void logits_of(const struct dg_prototype_tile *tile, const float *g, const float *v, int64_t next, float *length,
                      float *logits)
{
    int64_t rows = tile->rows, in = tile->in, prototypes = tile->prototypes;
    int64_t depth = dg_blocks(in, 2), height = dg_tile_height(rows);
    uint32_t *w = tile->scratch, *panel = w + rows_size(prototypes, in);
    const uint32_t *units = tile->features;
    struct dg_prefetch prefetch = {.rows = next,
                                   .bytes = in * 4,
                                   .steps = dg_blocks(prototypes, COLS) * dg_blocks(rows, height),
                                   .num_arrays = 1,
                                   .array = {{(const char *)(v + prototypes * in), in * 4}}};
    for (int64_t p = 0; p < prototypes; p++) {
        const float *x = v + p * in;
        float square = 0;
#pragma omp simd reduction(+ : square)
        for (int64_t c = 0; c < in; c++) square += x[c] * x[c];
        length[p] = sqrtf(square);
        round_row(in, g[p] / length[p], x, w + p * depth);
    }
    for (int64_t p = 0; p < prototypes; p += COLS) {
        int64_t cols = dg_min_i64(COLS, prototypes - p);
        dg_transpose(cols, depth, (const float *)(w + p * depth), depth, COLS, (float *)panel);
        for (int64_t r = 0; r < rows; r += height) {
            dg_prefetch_step(&prefetch);
            dg_tile_cols(dg_tile_across_bf16, dg_min_i64(height, rows - r), cols, depth, units + r * depth, depth,
                         panel, COLS, false, logits + r * prototypes + p, prototypes);
        }
    }
}

static void grads_of(const struct dg_prototype_tile *tile, const float *diff, float *diff_src, float *diff_w)
{
    int64_t rows = tile->rows, in = tile->in, prototypes = tile->prototypes;
    int64_t wide = dg_round_up(in, DG_LANES), depth = dg_blocks(in, 2), pairs = dg_blocks(prototypes, 2),
            height = dg_tile_height(rows), tall = dg_tile_height(prototypes),
            across = dg_round_up(prototypes, DG_LANES);
    const uint32_t *w = tile->scratch, *feature_pairs = (const uint32_t *)tile->features + rows_size(rows, in);
    uint32_t *rounded = (uint32_t *)tile->scratch + rows_size(prototypes, in), *w_pairs = rounded + rows * pairs,
             *diff_pairs = w_pairs + pairs * wide;
    if (diff_src) {
        for (int64_t r = 0; r < rows; r++) round_row(prototypes, 1, diff + r * prototypes, rounded + r * pairs);
        pair_rows(1, prototypes, in, w, 2 * depth, wide, w_pairs);
        for (int64_t c = 0; c < in; c += COLS)
            for (int64_t r = 0; r < rows; r += height)
                dg_tile_cols(dg_tile_across_bf16, dg_min_i64(height, rows - r), dg_min_i64(COLS, in - c), pairs,
                             rounded + r * pairs, pairs, w_pairs + c, wide, true, diff_src + r * in + c, in);
    }
    pair_rows(0, rows, prototypes, diff, prototypes, across, diff_pairs);
    for (int64_t c = 0; c < in; c += COLS)
        for (int64_t p = 0; p < prototypes; p += tall)
            dg_tile_cols(dg_tile_down_bf16, dg_min_i64(tall, prototypes - p), dg_min_i64(COLS, in - c),
                         dg_blocks(rows, 2), diff_pairs + p, across, feature_pairs + c, wide, false,
                         diff_w + p * in + c, in);
}

DG_KERNELS(prototypes) = {
    .scratch = scratch_bytes, .pack_features = pack_features, .logits = logits_of, .grads = grads_of};

/* The products of the prototype layer in bf16, of one thread and a tile of prototypes: sums in f32, operands rounded and
 * brought into the order of the tiles (pack.h). `features` are rows of a few hundred numbers, few enough to stay in cache. */
#include "ops/kernels/ahead.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"

#include <math.h>

enum { COLS = DG_TILE_COLS };

/* Units of 32 bits: of features as they are packed, rows for logits and pairs of rows for diff_w; and of the scratch for
 * `prototypes`, of which the weights as rows of bf16 come first. */
static int64_t rows_size(int64_t rows, int64_t in) { return rows * dg_blocks(in, 2); }
static int64_t weights_size(int64_t prototypes, int64_t in) { return prototypes * dg_blocks(in, 2); }

/* Bytes of packed features and of a thread's scratch. */
void DG_K(prototype_scratch)(int64_t rows, int64_t in, int64_t prototypes, int64_t *features, int64_t *scratch)
{
    int64_t wide = dg_round_up(in, DG_LANES), pairs = dg_blocks(prototypes, 2);
    int64_t logits = dg_blocks(in, 2) * COLS;
    int64_t grads = rows * pairs + pairs * wide + dg_blocks(rows, 2) * dg_round_up(prototypes, DG_LANES);
    *features = 4 * (rows_size(rows, in) + dg_blocks(rows, 2) * wide);
    *scratch = 4 * (weights_size(prototypes, in) + (logits > grads ? logits : grads));
}

/* Rows of f32 [rows, cols] to rows of units along them; an odd last number is paired with zero. */
static void round_row(int64_t cols, float scale, const float *src, uint32_t *dst)
{
#pragma omp simd
    for (int64_t u = 0; u < cols / 2; u++) dst[u] = dg_bf16_pair(scale * src[2 * u], scale * src[2 * u + 1]);
    if (cols % 2) dst[cols / 2] = dg_bf16_pair(scale * src[cols - 1], 0);
}

/* Pairs of rows, f32 or (half) bf16, as units [pairs, wide]. */
static DG_INLINE void pair_rows(int half, int64_t rows, int64_t cols, const void *src, int64_t ld, int64_t wide,
                                uint32_t *dst)
{
    for (int64_t r = 0; r < rows; r += 2)
        dg_pair(half, cols, dg_at(src, half, r * ld), r + 1 < rows ? dg_at(src, half, (r + 1) * ld) : NULL, wide,
                dst + r / 2 * wide);
}

/* Packs src [rows, in]. */
void DG_K(prototype_features)(int64_t rows, int64_t in, const float *src, void *features)
{
    int64_t depth = dg_blocks(in, 2);
    uint32_t *units = features, *pairs = units + rows_size(rows, in);
    for (int64_t r = 0; r < rows; r++) round_row(in, 1, src + r * in, units + r * depth);
    pair_rows(0, rows, in, src, in, dg_round_up(in, DG_LANES), pairs);
}

/* logits [rows, prototypes] = features w^T, w[p] = g[p] v[p] / length[p], length[p] = ||v[p]||; v [prototypes, in]. Leaves w
 * in scratch for the gradients. After these prototypes, `more` of v come next and are brought near. */
void DG_K(prototype_logits)(int64_t rows, int64_t in, int64_t prototypes, const void *features, const float *g,
                            const float *v, int64_t more, float *length, void *scratch, float *logits)
{
    int64_t depth = dg_blocks(in, 2), height = dg_tile_height(rows);
    uint32_t *w = scratch, *panel = w + weights_size(prototypes, in);
    const uint32_t *units = features;
    struct dg_ahead next = {.rows = more,
                            .steps = dg_blocks(prototypes, COLS) * dg_blocks(rows, height),
                            .num = 1,
                            .bytes = in * 4,
                            .from = {{(const char *)(v + prototypes * in), in * 4}}};
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
            dg_fetch(&next);
            dg_tile_cols(dg_tile_across_bf16, dg_min_i64(height, rows - r), cols, depth, units + r * depth, depth,
                         panel, COLS, false, logits + r * prototypes + p, prototypes);
        }
    }
}

/* From diff [rows, prototypes], the gradient of the logits that were made last with this scratch: diff_src [rows, in] +=
 * diff w, unless it is NULL, and diff_w [prototypes, in] = diff^T features. */
void DG_K(prototype_grads)(int64_t rows, int64_t in, int64_t prototypes, const void *features, const float *diff,
                           void *scratch, float *diff_src, float *diff_w)
{
    int64_t wide = dg_round_up(in, DG_LANES), depth = dg_blocks(in, 2), pairs = dg_blocks(prototypes, 2),
            height = dg_tile_height(rows), tall = dg_tile_height(prototypes),
            across = dg_round_up(prototypes, DG_LANES);
    const uint32_t *w = scratch, *feature_pairs = (const uint32_t *)features + rows_size(rows, in);
    uint32_t *rounded = (uint32_t *)scratch + weights_size(prototypes, in), *w_pairs = rounded + rows * pairs,
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

/* Attention of one image and head, in one thread and its scratch. The five products are tiles of our own (tile.h): a library's
 * gemm would pack k and v again for every block of rows, and starts slowly on the few dozen rows of a small crop. Operands
 * whose numbers lie along a vector are brought into the order of the tiles once a head; others are read where they stand. */
#include "ops/kernels/ahead.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"
#include "ops/kernels/vmath.h"

#include <math.h>
#include <string.h>

enum { COLS = DG_TILE_COLS, ROWS = DG_TILE_ROWS };
enum { CHUNK = 32 * ROWS }; /* queries at a time in the backward, at most */
#define LOG2_E 1.44269504f

/* Of a tile; even, as units are made of two rows. */
static int64_t height_of(int64_t rows) { return dg_round_up(dg_tile_height(rows), 2); }

/* dst [tokens, up(width, lanes)], zeros behind the width; of bf16 [up(tokens, 2) / 2, ...] units of two tokens. */
static DG_INLINE void dense(int half, int64_t tokens, int64_t width, const void *src, int64_t ld, float *dst)
{
    int64_t wide = dg_round_up(width, DG_LANES);
    for (int64_t t = 0; t < tokens; t += 1 + half, dst += wide) {
        if (half) {
            const void *next = t + 1 < tokens ? dg_at(src, 1, (t + 1) * ld) : NULL;
            dg_pair(1, width, dg_at(src, 1, t * ld), next, wide, (uint32_t *)dst);
            continue;
        }
        memcpy(dst, (const float *)src + t * ld, (size_t)width * sizeof *dst);
        for (int64_t c = width; c < wide; c++) dst[c] = 0;
    }
}

static DG_INLINE void spread(int half, int64_t tokens, int64_t width, const float *src, void *dst, int64_t ld)
{
    int64_t wide = dg_round_up(width, DG_LANES);
    for (int64_t t = 0; t < tokens; t++) dg_put_times(half, width, src + t * wide, 1, dg_at_out(dst, half, t * ld));
}

static int vectors(int64_t columns) { return columns > DG_LANES ? 2 : 1; }

static void tile_down(int half, int64_t rows, int64_t columns, int64_t k, const float *a, int64_t a_k, const float *b,
                      int64_t ldb, bool add, float *c, int64_t ldc)
{
    (half ? dg_tile_down_bf16 : dg_tile_down)((int)rows, vectors(columns), k, a, a_k, b, ldb, add, c, ldc);
}

/* a [rows, k], stride a_row. */
static void tile_across(int half, int64_t rows, int64_t columns, int64_t k, const float *a, int64_t a_row,
                        const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    (half ? dg_tile_across_bf16 : dg_tile_across)((int)rows, vectors(columns), k, a, a_row, b, ldb, add, c, ldc);
}

/* c [rows, wide] = (c +) a^T b, a [k, COLS], b [k, wide]. */
static void product_down(int half, int64_t rows, int64_t wide, int64_t k, const float *a, const float *b, bool add,
                         float *c)
{
    int64_t height = dg_tile_height(rows);
    for (int64_t col = 0; col < wide; col += COLS)
        for (int64_t row = 0; row < rows; row += height)
            tile_down(half, dg_min_i64(height, rows - row), wide - col, k, a + row, COLS, b + col, wide, add,
                      c + row * wide + col, wide);
}

/* Bytes of scratch that forward and backward use. */
void DG_K(attention_scratch)(int64_t tokens, int64_t width, int64_t *forward, int64_t *backward)
{
    int64_t wide = dg_round_up(width, DG_LANES), plain = dg_round_up(tokens, 2) * wide,
            cols = dg_round_up(tokens, COLS) * width;
    *forward = 4 * (plain + width * COLS + 2 * dg_round_up(tokens, 2) * COLS + COLS * wide);
    *backward = 4 * (2 * cols + 4 * plain + 2 * COLS * wide + 5 * CHUNK * COLS + tokens);
}

/* Of DG_LANES columns of scores [tokens, COLS]: they become exp(scale (s - max)); most and sum [lanes] follow. Of bf16
 * `units` [up(tokens, 2) / 2, COLS] are made in place of them, two tokens in one, and scores only follow if `keep`. */
static DG_INLINE void softmax_down(int half, bool keep, int64_t tokens, float scale, float *scores, float *units,
                                   float *most, float *sum)
{
    enum { NEXT = COLS / DG_LANES };
    dg_lanes *s = (void *)scores, *to = (void *)units, none = {0}, max[2], total[2] = {none, none};
    for (int i = 0; i < 2; i++) max[i] = none - INFINITY; /* two, that each need not wait for the other */
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2)
        for (int i = 0; i < 2; i++) max[i] = dg_larger(s[(t + i) * NEXT], max[i]);
    for (; t < tokens; t++) max[0] = dg_larger(s[t * NEXT], max[0]);
    max[0] = dg_larger(max[1], max[0]);
    for (t = 0; t < tokens; t += 2, to += NEXT) {
        dg_lanes e[2] = {none, none};
        for (int i = 0; i < 2 && t + i < tokens; i++) {
            e[i] = dg_powers(half, LOG2_E * scale * (s[(t + i) * NEXT] - max[0]));
            total[i] += e[i];
            if (!half || keep) s[(t + i) * NEXT] = e[i];
        }
        if (half) *to = dg_units_of(e[0], e[1]);
    }
    *(dg_lanes *)most = max[0];
    *(dg_lanes *)sum = total[0] + total[1];
}

static DG_INLINE void forward(int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
                              const void *v, int64_t ld, int64_t ahead, float scale, void *dst, int64_t ld_dst,
                              int64_t ahead_dst, float *probs, float *lse, float *scratch)
{
    int64_t wide = dg_round_up(width, DG_LANES), unit = 1 + half, depth = width / unit, pairs = dg_blocks(tokens, unit),
            height = dg_tile_height(tokens);
    float *values = scratch, *query = values + pairs * wide, *scores = query + depth * COLS,
          *units = scores + tokens * COLS, *out = units + pairs * COLS, most[COLS], sum[COLS], share[COLS], logs[COLS];
    struct dg_ahead next = {.rows = tokens,
                            .steps = dg_blocks(queries, COLS) * dg_blocks(tokens, height),
                            .num = 4,
                            .bytes = width * 4 / unit,
                            .from = {{dg_at(q, half, ahead), ld * 4 / unit},
                                     {dg_at(k, half, ahead), ld * 4 / unit},
                                     {dg_at(v, half, ahead), ld * 4 / unit},
                                     {dg_at(dst, half, ahead_dst), ld_dst * 4 / unit}}};
    dense(half, tokens, width, v, ld, values);
    for (int64_t first = 0; first < queries; first += COLS) {
        int64_t count = dg_min_i64(COLS, queries - first);
        dg_transpose(count, depth, dg_at(q, half, first * ld), ld / unit, COLS, query);
        for (int64_t t = 0; t < tokens; t += height) {
            tile_across(half, dg_min_i64(height, tokens - t), count, depth, dg_at(k, half, t * ld), ld / unit, query,
                        COLS, false, scores + t * COLS, COLS);
            dg_fetch(&next); /* what the next head reads and writes */
        }
        int lanes = vectors(count) * DG_LANES;
        for (int h = 0; h < lanes; h += DG_LANES)
            softmax_down(half, probs, tokens, scale, scores + h, units + h, most + h, sum + h);
        product_down(half, count, wide, pairs, half ? units : scores, values, false, out);
#pragma omp simd
        for (int c = 0; c < lanes; c++) share[c] = 1.0f / sum[c], logs[c] = scale * most[c] + dg_logf(sum[c]);
        for (int64_t r = 0; r < count; r++) {
            dg_put_times(half, width, out + r * wide, share[r], dg_at_out(dst, half, (first + r) * ld_dst));
            for (int64_t t = 0; probs && t < tokens; t++)
                probs[(first + r) * tokens + t] = scores[t * COLS + r] * share[r];
        }
        if (lse) memcpy(lse + first, logs, (size_t)count * sizeof *lse);
    }
}

/* q [queries, width], k, v [tokens, width] with row stride ld -> dst [queries, width] with stride ld_dst, all of f32 or (half)
 * of bf16; probs f32 [queries, tokens] and lse f32 [queries] (ln sum exp(scale s)) may be NULL. In bf16 width and ld are
 * even; sums and softmax are f32, and what the second product takes is rounded. Scores are made transposed, a block of
 * queries at a time: [keys, queries]. `ahead` and `ahead_dst`: from these q, k, v and dst to those of the head that comes next;
 * 0: none does. */
void DG_K(attention_forward)(int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
                             const void *v, int64_t ld, int64_t ahead, float scale, void *dst, int64_t ld_dst,
                             int64_t ahead_dst, float *probs, float *lse, float *scratch)
{
    if (half)
        forward(1, queries, tokens, width, q, k, v, ld, ahead, scale, dst, ld_dst, ahead_dst, probs, lse, scratch);
    else
        forward(0, queries, tokens, width, q, k, v, ld, ahead, scale, dst, ld_dst, ahead_dst, probs, lse, scratch);
}

/* Scores p and gradients of probabilities d, [rows, COLS], become probabilities and gradients of scores. Of bf16 what is
 * made is rounded: of both, units of two rows each, and of d, units of two columns [rows, COLS / 2]. */
static DG_INLINE void gradients(int half, int vecs, int64_t rows, float scale, const float *lse, const float *delta,
                                float *p, float *d, float *p_units, float *d_units, float *d_across)
{
    for (int64_t r = 0; r < rows; r += 1 + half) {
        dg_lanes *x = (void *)(p + r * COLS), *y = (void *)(d + r * COLS), e[2][2] = {0}, g[2][2] = {0};
        for (int i = 0; i <= half && r + i < rows; i++) {
            float log_sum = LOG2_E * lse[r + i], less = delta[r + i];
            for (int j = 0; j < vecs; j++) {
                e[i][j] = dg_powers(half, LOG2_E * scale * x[i * 2 + j] - log_sum);
                g[i][j] = scale * e[i][j] * (y[i * 2 + j] - less);
            }
        }
        for (int j = 0; j < vecs; j++) {
            if (!half) {
                x[j] = e[0][j];
                y[j] = g[0][j];
                continue;
            }
            ((dg_lanes *)(p_units + r / 2 * COLS))[j] = dg_units_of(e[0][j], e[1][j]);
            ((dg_lanes *)(d_units + r / 2 * COLS))[j] = dg_units_of(g[0][j], g[1][j]);
        }
        for (int i = 0; half && i < 2; i++)
            ((dg_lanes *)(d_across + r / 2 * COLS))[i] = dg_units_along(g[i][0], g[i][1]);
    }
}

static DG_INLINE void backward(int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
                               const void *v, int64_t ld, int64_t ahead, float scale, const void *dst,
                               const void *diff_dst, int64_t ld_dst, int64_t ahead_dst, const float *lse, void *diff_q,
                               void *diff_k, void *diff_v, float *scratch)
{
    int64_t wide = dg_round_up(width, DG_LANES), unit = 1 + half, depth = width / unit,
            plain = dg_blocks(tokens, unit) * wide, cols_size = dg_round_up(tokens, COLS) * depth,
            height = height_of(queries), most = height * (CHUNK / ROWS);
    float *k_cols = scratch, *v_cols = k_cols + cols_size, *q_plain = v_cols + cols_size, *k_plain = q_plain + plain,
          *dy_plain = k_plain + plain, *dq_plain = dy_plain + plain, *dk = dq_plain + tokens * wide,
          *dv = dk + COLS * wide, *probs = dv + COLS * wide, *diff = probs + CHUNK * COLS,
          *p_units = diff + CHUNK * COLS, *d_units = p_units + CHUNK * COLS, *d_across = d_units + CHUNK * COLS,
          *delta = d_across + CHUNK * COLS;
    struct dg_ahead next = {.rows = tokens,
                            .steps = dg_blocks(tokens, COLS) * dg_blocks(queries, height),
                            .num = 8,
                            .bytes = width * 4 / unit,
                            .from = {{dg_at(q, half, ahead), ld * 4 / unit},
                                     {dg_at(k, half, ahead), ld * 4 / unit},
                                     {dg_at(v, half, ahead), ld * 4 / unit},
                                     {dg_at(dst, half, ahead_dst), ld_dst * 4 / unit},
                                     {dg_at(diff_dst, half, ahead_dst), ld_dst * 4 / unit},
                                     {dg_at(diff_q, half, ahead), ld * 4 / unit},
                                     {dg_at(diff_k, half, ahead), ld * 4 / unit},
                                     {dg_at(diff_v, half, ahead), ld * 4 / unit}}};
    dg_panels(tokens, depth, k, ld / unit, COLS, k_cols);
    dg_panels(tokens, depth, v, ld / unit, COLS, v_cols);
    dense(half, queries, width, q, ld, q_plain);
    dense(half, tokens, width, k, ld, k_plain);
    dense(half, queries, width, diff_dst, ld_dst, dy_plain);
    for (int64_t t = 0; t < queries; t++) {
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < width; c++)
            dot += dg_get(dst, half, t * ld_dst + c) * dg_get(diff_dst, half, t * ld_dst + c);
        delta[t] = dot;
    }
    for (int64_t key = 0; key < tokens; key += COLS) {
        int64_t count = dg_min_i64(COLS, tokens - key);
        for (int64_t first = 0; first < queries; first += most) {
            int64_t chunk = dg_min_i64(most, queries - first);
            for (int64_t t = 0; t < chunk; t += height) {
                int64_t rows = dg_min_i64(height, chunk - t), row = first + t;
                float *p = probs + (half ? 0 : t * COLS), *d = diff + (half ? 0 : t * COLS);
                tile_across(half, rows, count, depth, dg_at(q, half, row * ld), ld / unit, k_cols + key * depth, COLS,
                            false, p, COLS);
                tile_across(half, rows, count, depth, dg_at(diff_dst, half, row * ld_dst), ld_dst / unit,
                            v_cols + key * depth, COLS, false, d, COLS);
                dg_fetch(&next); /* what the next head reads and writes */
                float *pu = p_units + t / 2 * COLS, *du = d_units + t / 2 * COLS, *da = d_across + t / 2 * COLS;
                if (vectors(count) == 2)
                    gradients(half, 2, rows, scale, lse + row, delta + row, p, d, pu, du, da);
                else
                    gradients(half, 1, rows, scale, lse + row, delta + row, p, d, pu, du, da);
            }
            int64_t deep = dg_blocks(chunk, unit), at = first / unit * wide; /* `most` is even */
            product_down(half, count, wide, deep, half ? p_units : probs, dy_plain + at, first > 0, dv);
            product_down(half, count, wide, deep, half ? d_units : diff, q_plain + at, first > 0, dk);
            for (int64_t col = 0; col < wide; col += COLS)
                for (int64_t t = 0; t < chunk; t += height)
                    tile_across(half, dg_min_i64(height, chunk - t), wide - col, dg_blocks(count, unit),
                                (half ? d_across : diff) + t * COLS / unit, COLS / unit,
                                k_plain + key / unit * wide + col, wide, key > 0, dq_plain + (first + t) * wide + col,
                                wide);
        }
        spread(half, count, width, dk, dg_at_out(diff_k, half, key * ld), ld);
        spread(half, count, width, dv, dg_at_out(diff_v, half, key * ld), ld);
    }
    spread(half, queries, width, dq_plain, diff_q, ld);
}

/* The gradients of q, k and v, shaped and with row stride ld as those; dst and diff_dst have stride ld_dst. Scores
 * [queries, keys] are made again from lse, a block of keys and a chunk of queries at a time. `ahead` and `ahead_dst`: to the
 * next head. Types and rounding as forward. */
void DG_K(attention_backward)(int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
                              const void *v, int64_t ld, int64_t ahead, float scale, const void *dst,
                              const void *diff_dst, int64_t ld_dst, int64_t ahead_dst, const float *lse, void *diff_q,
                              void *diff_k, void *diff_v, float *scratch)
{
    if (half)
        backward(1, queries, tokens, width, q, k, v, ld, ahead, scale, dst, diff_dst, ld_dst, ahead_dst, lse, diff_q,
                 diff_k, diff_v, scratch);
    else
        backward(0, queries, tokens, width, q, k, v, ld, ahead, scale, dst, diff_dst, ld_dst, ahead_dst, lse, diff_q,
                 diff_k, diff_v, scratch);
}

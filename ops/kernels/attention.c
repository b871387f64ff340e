/* The five products are tiles of our own (tile.h): a library's gemm would pack k and v again for every block of rows, and starts
 * slowly on the few dozen rows of a small crop. The right operands of products are packed once a head; left operands are read
 * where they lie. */
#include "ops/kernels/attention.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/prefetch.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/tile.h"
#include "ops/kernels/vmath.h"

#include <math.h>
#include <string.h>

enum { COLS = DG_TILE_COLS, ROWS = DG_TILE_ROWS };
enum { CHUNK = 32 * ROWS }; /* at most so many queries at a time in the backward */
#define LOG2_E 1.44269504f

/* The height of tiles of `rows` rows; even, because a unit of bf16 is made of two rows. */
static int64_t even_height(int64_t rows) { return dg_round_up(dg_tile_height(rows), 2); }

/* Copies src [tokens, width] to dst, whose rows are `width` rounded up to whole vectors, filled with zeros. In bf16 a row of dst
 * is units of two tokens. */
static DG_INLINE void pack_rows(bool bf16, int64_t tokens, int64_t width, const void *src, int64_t ld, float *dst)
{
    int64_t wide = dg_round_up(width, DG_LANES);
    for (int64_t t = 0; t < tokens; t += 1 + bf16, dst += wide) {
        if (bf16) {
            const void *next = t + 1 < tokens ? dg_at(src, 1, (t + 1) * ld) : NULL;
            dg_pair(1, width, dg_at(src, 1, t * ld), next, wide, (uint32_t *)dst);
            continue;
        }
        memcpy(dst, (const float *)src + t * ld, (size_t)width * sizeof *dst);
        for (int64_t c = width; c < wide; c++) dst[c] = 0;
    }
}

/* The way back: dst [tokens, width] = src, whose rows are whole vectors of f32. */
static DG_INLINE void unpack_rows(bool bf16, int64_t tokens, int64_t width, const float *src, void *dst, int64_t ld)
{
    int64_t wide = dg_round_up(width, DG_LANES);
    for (int64_t t = 0; t < tokens; t++) dg_put_times(bf16, width, src + t * wide, 1, dg_at_out(dst, bf16, t * ld));
}

/* Vectors in a row of a tile of so many columns. */
static int vectors(int64_t columns) { return columns > DG_LANES ? 2 : 1; }

/* c [rows, columns] = a^T b, or c + a^T b, one tile; a [k, rows], stride a_k. */
static void tile_down(bool bf16, int64_t rows, int64_t columns, int64_t k, const float *a, int64_t a_k, const float *b,
                      int64_t ldb, bool add, float *c, int64_t ldc)
{
    (bf16 ? dg_tile_down_bf16 : dg_tile_down)((int)rows, vectors(columns), k, a, a_k, b, ldb, add, c, ldc);
}

/* c = a b, or c + a b; a [rows, k], stride a_row. */
static void tile_across(bool bf16, int64_t rows, int64_t columns, int64_t k, const float *a, int64_t a_row,
                        const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    (bf16 ? dg_tile_across_bf16 : dg_tile_across)((int)rows, vectors(columns), k, a, a_row, b, ldb, add, c, ldc);
}

/* c [rows, wide] = a^T b, or c + a^T b if `add`; a [k, COLS], b [k, wide]. */
static void product_down(bool bf16, int64_t rows, int64_t wide, int64_t k, const float *a, const float *b, bool add,
                         float *c)
{
    int64_t height = dg_tile_height(rows);
    for (int64_t col = 0; col < wide; col += COLS)
        for (int64_t row = 0; row < rows; row += height)
            tile_down(bf16, dg_min_i64(height, rows - row), wide - col, k, a + row, COLS, b + col, wide, add,
                      c + row * wide + col, wide);
}

static struct dg_attention_scratch scratch_bytes(int64_t tokens, int64_t width)
{
    int64_t wide = dg_round_up(width, DG_LANES), plain = dg_round_up(tokens, 2) * wide,
            cols = dg_round_up(tokens, COLS) * width;
    return (struct dg_attention_scratch){
        .forward = 4 * (plain + width * COLS + 2 * dg_round_up(tokens, 2) * COLS + COLS * wide),
        .backward = 4 * (2 * cols + 4 * plain + 2 * COLS * wide + 5 * CHUNK * COLS + tokens),
    };
}

/* Replaces DG_LANES columns s of scores [tokens, COLS] by exp(scale (s - max)); max and sum are [DG_LANES]. In bf16 it writes
 * `units` [tokens / 2, COLS] of two tokens instead, and replaces the scores only if `want_scores`. */
static DG_INLINE void softmax_down(bool bf16, bool want_scores, int64_t tokens, float scale, float *scores,
                                   float *units, float *max, float *sum)
{
    enum { NEXT = COLS / DG_LANES };
    dg_lanes *s = (void *)scores, *to = (void *)units, none = {0}, most[2], total[2] = {none, none};
    for (int i = 0; i < 2; i++) most[i] = none - INFINITY; /* two, so that neither waits for the other */
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2)
        for (int i = 0; i < 2; i++) most[i] = dg_larger(s[(t + i) * NEXT], most[i]);
    for (; t < tokens; t++) most[0] = dg_larger(s[t * NEXT], most[0]);
    most[0] = dg_larger(most[1], most[0]);
    for (t = 0; t < tokens; t += 2, to += NEXT) {
        dg_lanes e[2] = {none, none};
        for (int i = 0; i < 2 && t + i < tokens; i++) {
            e[i] = dg_powers(bf16, LOG2_E * scale * (s[(t + i) * NEXT] - most[0]));
            total[i] += e[i];
            if (!bf16 || want_scores) s[(t + i) * NEXT] = e[i];
        }
        if (bf16) *to = dg_units_of(e[0], e[1]);
    }
    *(dg_lanes *)max = most[0];
    *(dg_lanes *)sum = total[0] + total[1];
}

/* Scores are transposed, [tokens, queries], a block of COLS queries at a time. */
static DG_INLINE void forward(bool bf16, const struct dg_attention_head *head, void *dst, float *probs, float *lse,
                              float *scratch)
{
    int64_t queries = head->queries, tokens = head->tokens, width = head->width, ld = head->ld, ld_dst = head->ld_dst;
    const void *q = head->q, *k = head->k, *v = head->v;
    float scale = head->scale;
    int64_t wide = dg_round_up(width, DG_LANES), unit = 1 + bf16, depth = width / unit, pairs = dg_blocks(tokens, unit),
            height = dg_tile_height(tokens);
    float *values = scratch, *query = values + pairs * wide, *scores = query + depth * COLS,
          *units = scores + tokens * COLS, *out = units + pairs * COLS, most[COLS], sum[COLS], share[COLS], logs[COLS];
    struct dg_prefetch prefetch = {.rows = tokens,
                                   .bytes = width * 4 / unit,
                                   .steps = dg_blocks(queries, COLS) * dg_blocks(tokens, height),
                                   .num_arrays = 4,
                                   .array = {{dg_at(q, bf16, head->next), ld * 4 / unit},
                                             {dg_at(k, bf16, head->next), ld * 4 / unit},
                                             {dg_at(v, bf16, head->next), ld * 4 / unit},
                                             {dg_at(dst, bf16, head->next_dst), ld_dst * 4 / unit}}};
    pack_rows(bf16, tokens, width, v, ld, values);
    for (int64_t first = 0; first < queries; first += COLS) {
        int64_t count = dg_min_i64(COLS, queries - first);
        dg_transpose(count, depth, dg_at(q, bf16, first * ld), ld / unit, COLS, query);
        for (int64_t t = 0; t < tokens; t += height) {
            tile_across(bf16, dg_min_i64(height, tokens - t), count, depth, dg_at(k, bf16, t * ld), ld / unit, query,
                        COLS, false, scores + t * COLS, COLS);
            dg_prefetch_step(&prefetch); /* what the next head reads and writes */
        }
        int lanes = vectors(count) * DG_LANES;
        for (int h = 0; h < lanes; h += DG_LANES)
            softmax_down(bf16, probs != NULL, tokens, scale, scores + h, units + h, most + h, sum + h);
        product_down(bf16, count, wide, pairs, bf16 ? units : scores, values, false, out);
#pragma omp simd
        for (int c = 0; c < lanes; c++) share[c] = 1.0f / sum[c], logs[c] = scale * most[c] + dg_logf(sum[c]);
        for (int64_t r = 0; r < count; r++) {
            dg_put_times(bf16, width, out + r * wide, share[r], dg_at_out(dst, bf16, (first + r) * ld_dst));
            for (int64_t t = 0; probs && t < tokens; t++)
                probs[(first + r) * tokens + t] = scores[t * COLS + r] * share[r];
        }
        if (lse) memcpy(lse + first, logs, (size_t)count * sizeof *lse);
    }
}

static void attention_forward(const struct dg_attention_head *head, void *dst, float *probs, float *lse, void *scratch)
{
    if (head->bf16)
        forward(1, head, dst, probs, lse, scratch);
    else
        forward(0, head, dst, probs, lse, scratch);
}

/* From scores p and gradients of probabilities d, [rows, COLS], makes probabilities and gradients of scores: in f32 in place of
 * them, in bf16 as units of two rows, p_units and d_units [rows / 2, COLS], and the latter as units of two columns too,
 * d_across [rows, COLS / 2]. */
static DG_INLINE void gradients(bool bf16, int vecs, int64_t rows, float scale, const float *lse, const float *delta,
                                float *p, float *d, float *p_units, float *d_units, float *d_across)
{
    for (int64_t r = 0; r < rows; r += 1 + bf16) {
        dg_lanes *x = (void *)(p + r * COLS), *y = (void *)(d + r * COLS), e[2][2] = {0}, g[2][2] = {0};
        for (int i = 0; i <= bf16 && r + i < rows; i++) {
            float log_sum = LOG2_E * lse[r + i], less = delta[r + i];
            for (int j = 0; j < vecs; j++) {
                e[i][j] = dg_powers(bf16, LOG2_E * scale * x[i * 2 + j] - log_sum);
                g[i][j] = scale * e[i][j] * (y[i * 2 + j] - less);
            }
        }
        for (int j = 0; j < vecs; j++) {
            if (!bf16) {
                x[j] = e[0][j];
                y[j] = g[0][j];
                continue;
            }
            ((dg_lanes *)(p_units + r / 2 * COLS))[j] = dg_units_of(e[0][j], e[1][j]);
            ((dg_lanes *)(d_units + r / 2 * COLS))[j] = dg_units_of(g[0][j], g[1][j]);
        }
        for (int i = 0; bf16 && i < 2; i++)
            ((dg_lanes *)(d_across + r / 2 * COLS))[i] = dg_units_along(g[i][0], g[i][1]);
    }
}

/* Scores are [queries, tokens], a block of COLS keys and a chunk of queries at a time. */
static DG_INLINE void backward(bool bf16, const struct dg_attention_grad_args *args)
{
    const struct dg_attention_head *head = &args->head;
    int64_t queries = head->queries, tokens = head->tokens, width = head->width, ld = head->ld, ld_dst = head->ld_dst,
            next_head = head->next, next_dst = head->next_dst;
    const void *q = head->q, *k = head->k, *v = head->v, *dst = args->dst, *diff_dst = args->diff_dst;
    const float *lse = args->lse;
    void *diff_q = args->diff_q, *diff_k = args->diff_k, *diff_v = args->diff_v;
    float scale = head->scale, *scratch = args->scratch;
    int64_t wide = dg_round_up(width, DG_LANES), unit = 1 + bf16, depth = width / unit,
            plain = dg_blocks(tokens, unit) * wide, cols_size = dg_round_up(tokens, COLS) * depth,
            height = even_height(queries), most = height * (CHUNK / ROWS);
    float *k_cols = scratch, *v_cols = k_cols + cols_size, *q_plain = v_cols + cols_size, *k_plain = q_plain + plain,
          *dy_plain = k_plain + plain, *dq_plain = dy_plain + plain, *dk = dq_plain + tokens * wide,
          *dv = dk + COLS * wide, *probs = dv + COLS * wide, *diff = probs + CHUNK * COLS,
          *p_units = diff + CHUNK * COLS, *d_units = p_units + CHUNK * COLS, *d_across = d_units + CHUNK * COLS,
          *delta = d_across + CHUNK * COLS;
    struct dg_prefetch prefetch = {.rows = tokens,
                                   .bytes = width * 4 / unit,
                                   .steps = dg_blocks(tokens, COLS) * dg_blocks(queries, height),
                                   .num_arrays = 8,
                                   .array = {{dg_at(q, bf16, next_head), ld * 4 / unit},
                                             {dg_at(k, bf16, next_head), ld * 4 / unit},
                                             {dg_at(v, bf16, next_head), ld * 4 / unit},
                                             {dg_at(dst, bf16, next_dst), ld_dst * 4 / unit},
                                             {dg_at(diff_dst, bf16, next_dst), ld_dst * 4 / unit},
                                             {dg_at(diff_q, bf16, next_head), ld * 4 / unit},
                                             {dg_at(diff_k, bf16, next_head), ld * 4 / unit},
                                             {dg_at(diff_v, bf16, next_head), ld * 4 / unit}}};
    dg_panels(tokens, depth, k, ld / unit, COLS, k_cols);
    dg_panels(tokens, depth, v, ld / unit, COLS, v_cols);
    pack_rows(bf16, queries, width, q, ld, q_plain);
    pack_rows(bf16, tokens, width, k, ld, k_plain);
    pack_rows(bf16, queries, width, diff_dst, ld_dst, dy_plain);
    dg_dot_rows(bf16, queries, width, dst, diff_dst, ld_dst, delta);
    for (int64_t key = 0; key < tokens; key += COLS) {
        int64_t count = dg_min_i64(COLS, tokens - key);
        for (int64_t first = 0; first < queries; first += most) {
            int64_t chunk = dg_min_i64(most, queries - first);
            for (int64_t t = 0; t < chunk; t += height) {
                int64_t rows = dg_min_i64(height, chunk - t), row = first + t;
                float *p = probs + (bf16 ? 0 : t * COLS), *d = diff + (bf16 ? 0 : t * COLS);
                tile_across(bf16, rows, count, depth, dg_at(q, bf16, row * ld), ld / unit, k_cols + key * depth, COLS,
                            false, p, COLS);
                tile_across(bf16, rows, count, depth, dg_at(diff_dst, bf16, row * ld_dst), ld_dst / unit,
                            v_cols + key * depth, COLS, false, d, COLS);
                dg_prefetch_step(&prefetch); /* what the next head reads and writes */
                float *pu = p_units + t / 2 * COLS, *du = d_units + t / 2 * COLS, *da = d_across + t / 2 * COLS;
                if (vectors(count) == 2)
                    gradients(bf16, 2, rows, scale, lse + row, delta + row, p, d, pu, du, da);
                else
                    gradients(bf16, 1, rows, scale, lse + row, delta + row, p, d, pu, du, da);
            }
            int64_t deep = dg_blocks(chunk, unit), at = first / unit * wide; /* `most` is even */
            product_down(bf16, count, wide, deep, bf16 ? p_units : probs, dy_plain + at, first > 0, dv);
            product_down(bf16, count, wide, deep, bf16 ? d_units : diff, q_plain + at, first > 0, dk);
            for (int64_t col = 0; col < wide; col += COLS)
                for (int64_t t = 0; t < chunk; t += height)
                    tile_across(bf16, dg_min_i64(height, chunk - t), wide - col, dg_blocks(count, unit),
                                (bf16 ? d_across : diff) + t * COLS / unit, COLS / unit,
                                k_plain + key / unit * wide + col, wide, key > 0, dq_plain + (first + t) * wide + col,
                                wide);
        }
        unpack_rows(bf16, count, width, dk, dg_at_out(diff_k, bf16, key * ld), ld);
        unpack_rows(bf16, count, width, dv, dg_at_out(diff_v, bf16, key * ld), ld);
    }
    unpack_rows(bf16, queries, width, dq_plain, diff_q, ld);
}

static void attention_backward(const struct dg_attention_grad_args *args)
{
    if (args->head.bf16)
        backward(1, args);
    else
        backward(0, args);
}

DG_KERNELS(attention) = {.scratch = scratch_bytes, .forward = attention_forward, .backward = attention_backward};

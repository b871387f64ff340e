/* Attention in bf16 on the tiles of AMX (amx_block.h), by one thread in its own scratch. Keys and values, queries and gradients are
 * packed once a head. A key beyond the last one has the score -inf, so its probability is zero (or 2^-126, where there is no
 * instruction for powers of two). Heads in f32, and a single query, which fills no tiles, are left to the level below. */
#include "ops/kernels/attention.h"

#include "ops/kernels/amx_block.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/lanes.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/prefetch.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vmath.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = DG_AMX_BLOCK, /* rows and columns */
    TILE_BYTES = DG_AMX_TILE_BYTES,
    ROW = BLOCK * 4, /* bytes of a row of a block of f32 */
    LINE = 64,       /* bytes of a cache line; rows that are an odd number of lines apart share no sets */
    GROUP = 4,       /* blocks of keys whose gradients of scores are multiplied with the keys together */
    GROUP_BYTES = GROUP * TILE_BYTES,
};
#define LOG2_E 1.44269504f

/* The next `bytes` of the scratch that begins at `base`, of which *used are taken; NULL where only the size is asked for. */
static void *take(char *base, int64_t *used, int64_t bytes)
{
    int64_t from = *used;
    *used += dg_round_up(bytes, LINE);
    return base ? base + from : NULL;
}

/* The row stride, in numbers of `size` bytes, of rows of `count`: whole cache lines, an odd number of them. */
static int64_t odd_stride(int64_t count, int64_t size) { return (dg_blocks(count * size, LINE) | 1) * LINE / size; }

/* --- forward: 32 queries at a time, whose scores with all keys are held in f32 --- */

struct forward {
    const struct dg_attention_head *head;
    int64_t wide, padded; /* the width and the tokens as multiples of 32 */
    int64_t ld_scores, ld_probs;
    char *keys, *values; /* right operands */
    dg_bf16 *room;       /* [32, wide] */
    float *scores;       /* [32, ld_scores] */
    dg_bf16 *probs;      /* [16, ld_probs] */
    float *out;          /* [16, wide] */
};

/* Returns the bytes that are taken. */
static int64_t forward_scratch(int64_t tokens, int64_t width, void *scratch, struct forward *f)
{
    int64_t used = 0, wide = dg_round_up(width, BLOCK), padded = dg_round_up(tokens, BLOCK);
    f->wide = wide, f->padded = padded;
    f->ld_scores = odd_stride(padded, 4);
    f->ld_probs = odd_stride(padded, 2);
    f->keys = take(scratch, &used, padded * wide * 2);
    f->values = take(scratch, &used, padded * wide * 2);
    f->room = take(scratch, &used, BLOCK * wide * 2);
    f->scores = take(scratch, &used, BLOCK * f->ld_scores * 4);
    f->probs = take(scratch, &used, 16 * f->ld_probs * 2);
    f->out = take(scratch, &used, 16 * wide * 4);
    return used;
}

/* most[r] = the larger of it and of 32 scores, 16 lanes of its own. */
static DG_INLINE void add_maxima(int rows, const float *scores, int64_t ld, float (*most)[16])
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < 16; c += DG_LANES) {
            const float *x = scores + r * ld + c;
            dg_lanes *to = (dg_lanes *)(most[r] + c);
            *to = dg_larger(dg_larger(*(const dg_lanes *)x, *(const dg_lanes *)(x + 16)), *to);
        }
}

/* The same of the last block of tokens, of which `tokens` are there. The scores of others become -inf, in whole tiles. */
static DG_INLINE void add_last_maxima(int rows, int64_t tokens, float *scores, int64_t ld, float (*most)[16])
{
    float limit[BLOCK];
    for (int c = 0; c < BLOCK; c++) limit[c] = c < tokens ? 0 : -INFINITY;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < (tokens > 16 ? BLOCK : 16); c += DG_LANES) {
            dg_lanes *x = (dg_lanes *)(scores + r * ld + c), *to = (dg_lanes *)(most[r] + c % 16);
            *x += *(const dg_lanes *)(limit + c);
            *to = dg_larger(*x, *to);
        }
}

/* The scores of up to 32 queries, and their maxima in 16 lanes. The maxima of a block are taken while the tiles of the next one
 * are multiplied. */
static void make_scores(const struct forward *f, int64_t first, int64_t count, float (*most)[16],
                        struct dg_prefetch *prefetch)
{
    const struct dg_attention_head *h = f->head;
    struct dg_amx_rows q = dg_amx_padded(h->q, h->ld, first, h->queries, h->width, f->wide, f->room);
    struct dg_amx_block block = {.a = q.at,
                                 .lda = q.ld * 2,
                                 .a_step = 64,
                                 .b_right = f->wide * 32,
                                 .b_step = TILE_BYTES,
                                 .steps = f->wide / BLOCK,
                                 .ldc = f->ld_scores * 4};
    int rows = count > 16 ? 32 : 16;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < 16; c++) most[r][c] = -INFINITY;
    for (int64_t t = 0; t < f->padded; t += BLOCK) {
        block.b = f->keys + t * f->wide * 2;
        block.c = f->scores + t;
        dg_amx_multiply(count, h->tokens - t, &block);
        if (t) add_maxima(rows, f->scores + t - BLOCK, f->ld_scores, most);
        dg_prefetch_step(prefetch); /* what the next head reads and writes */
    }
    int64_t last = f->padded - BLOCK;
    add_last_maxima(rows, h->tokens - last, f->scores + last, f->ld_scores, most);
}

/* Makes 16 * halves columns of 16 rows of scores probabilities that are not divided yet, and zeros of the rest of 32, and adds them
 * to the sums of rows in 16 lanes. Replaces the scores, too, if `want_scores`. */
static DG_INLINE void make_exponentials_of(int halves, const struct forward *f, const float *less, bool want_scores,
                                           float *scores, float (*sum)[16], dg_bf16 *probs)
{
    float factor = LOG2_E * f->head->scale;
    for (int r = 0; r < 16; r++, scores += f->ld_scores, probs += f->ld_probs)
        for (int c = 0; c < BLOCK; c += 2 * DG_LANES) {
            dg_lanes e[2] = {0};
            for (int i = 0; i < 2; i++) {
                dg_lanes *s = (dg_lanes *)(scores + c + i * DG_LANES);
                if (c + i * DG_LANES >= 16 * halves) continue;
                e[i] = dg_powers(1, factor * *s - less[r]);
                if (want_scores) *s = e[i];
            }
            *(dg_lanes *)(sum[r] + c / 2) += e[0] + e[1];
            *(dg_lanes *)(probs + c) = dg_units_along(e[0], e[1]);
        }
}

/* The same of 16 queries and up to 32 tokens from t on. */
static DG_INLINE void make_exponentials(const struct forward *f, const float *less, bool want_scores, float *scores,
                                        int64_t t, float (*sum)[16])
{
    if (f->head->tokens - t > 16)
        make_exponentials_of(2, f, less, want_scores, scores + t, sum, f->probs + t);
    else
        make_exponentials_of(1, f, less, want_scores, scores + t, sum, f->probs + t);
}

/* Adds the product of 16 rows of probabilities of 32 tokens with `cols` columns of values to tiles 0 to 3. */
static DG_INLINE void add_values(const dg_bf16 *probs, int64_t ld_probs, const char *values, int64_t cols)
{
    dg_amx_load(4, probs, ld_probs * 2);
    dg_amx_load(5, values, 64);
    dg_amx_product(0, 4, 5);
    dg_amx_load(6, values + TILE_BYTES, 64);
    dg_amx_product(1, 4, 6);
    if (cols <= 32) return;
    dg_amx_load(7, values + 2 * TILE_BYTES, 64);
    dg_amx_product(2, 4, 7);
    dg_amx_load(5, values + 3 * TILE_BYTES, 64);
    dg_amx_product(3, 4, 5);
}

/* out = e^scores v for 16 queries, 64 columns at a time; the probabilities of a block of tokens are made while the tiles of the
 * one before it are multiplied. */
static DG_INLINE void weigh_values(const struct forward *f, const float *less, bool want_scores, float *scores,
                                   float (*sum)[16])
{
    for (int64_t col = 0; col < f->wide; col += 64) {
        int64_t cols = f->wide - col;
        const char *values = f->values + col * 64; /* a tile of 16 columns is 1 KiB */
        dg_amx_zero(0);
        dg_amx_zero(1);
        dg_amx_zero(2);
        dg_amx_zero(3);
        for (int64_t t = 0; t <= f->padded; t += BLOCK) {
            if (!col && t < f->padded) make_exponentials(f, less, want_scores, scores, t, sum);
            if (t) add_values(f->probs + t - BLOCK, f->ld_probs, values + (t - BLOCK) * f->wide * 2, cols);
        }
        dg_amx_store(0, f->out + col, f->wide * 4);
        dg_amx_store(1, f->out + col + 16, f->wide * 4);
        if (cols <= 32) break;
        dg_amx_store(2, f->out + col + 32, f->wide * 4);
        dg_amx_store(3, f->out + col + 48, f->wide * 4);
    }
}

/* The results of up to 16 queries from their scores and maxima. */
static void put_results(const struct forward *f, int64_t first, int64_t count, float *scores, float (*lanes)[16],
                        void *dst, float *probs, float *lse)
{
    const struct dg_attention_head *h = f->head;
    float most[16], less[16], sums[16][16] = {0}, sum[16], share[16], logs[16];
    dg_reduce_rows(true, lanes, most);
    for (int r = 0; r < 16; r++) less[r] = LOG2_E * h->scale * most[r];
    weigh_values(f, less, probs != NULL, scores, sums);
    dg_reduce_rows(false, sums, sum);
#pragma omp simd
    for (int r = 0; r < 16; r++) share[r] = 1.0f / sum[r], logs[r] = h->scale * most[r] + dg_logf(sum[r]);
    for (int64_t r = 0; r < count; r++) {
        dg_put_times(1, h->width, f->out + r * f->wide, share[r], dg_at_out(dst, 1, (first + r) * h->ld_dst));
        for (int64_t t = 0; probs && t < h->tokens; t++)
            probs[(first + r) * h->tokens + t] = scores[r * f->ld_scores + t] * share[r];
    }
    if (lse) memcpy(lse + first, logs, (size_t)count * sizeof *lse);
}

static void forward_on_tiles(const struct dg_attention_head *head, void *dst, float *probs, float *lse, void *scratch,
                             struct dg_prefetch *prefetch)
{
    struct forward f = {.head = head};
    forward_scratch(head->tokens, head->width, scratch, &f);
    prefetch->steps = dg_blocks(head->queries, BLOCK) * (f.padded / BLOCK);
    for (int64_t t = 0; t < f.padded; t += BLOCK) {
        dg_amx_pack_columns(dg_amx_padded(head->k, head->ld, t, head->tokens, head->width, f.wide, f.room), f.wide,
                            f.keys + t * f.wide * 2);
        dg_amx_pack_depth(dg_amx_padded(head->v, head->ld, t, head->tokens, head->width, f.wide, f.room), f.wide,
                          f.values + t * f.wide * 2);
    }
    dg_amx_begin();
    for (int64_t first = 0; first < head->queries; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, head->queries - first);
        float most[BLOCK][16];
        make_scores(&f, first, count, most, prefetch);
        for (int64_t r = 0; r < count; r += 16)
            put_results(&f, first + r, dg_min_i64(16, count - r), f.scores + r * f.ld_scores, most + r, dst, probs,
                        lse);
    }
    dg_amx_end();
}

/* --- backward: 32 keys at a time, whose scores with all queries are transposed, [keys, queries] --- */

struct backward {
    const struct dg_attention_grad_args *args;
    int64_t wide, padded;       /* the width and the queries as multiples of 32 */
    int64_t ld_probs;           /* of probs and diff */
    char *q_cols, *dy_cols;     /* right operands, queries as columns */
    char *q_depth, *dy_depth;   /* right operands, the sum is over queries */
    float *lse, *delta;         /* [padded], the former times log2 e */
    dg_bf16 *k_room, *v_room;   /* [32, wide] */
    float *scores, *diff_probs; /* [32, 32] */
    dg_bf16 *probs, *diff; /* left operands: the probabilities and gradients of scores of a block, [32, ld_probs] */
    dg_bf16 *keys;         /* left operands: keys of a group of blocks, transposed, [4][wide, 32] */
    char *diff_depth;      /* right operands [padded / 16][4]: gradients of scores, the sum is over keys */
    float *dq;             /* [padded / 32][wide, 32] */
    float *out;            /* [32, wide] */
};

static int64_t backward_scratch(int64_t queries, int64_t width, void *scratch, struct backward *b)
{
    int64_t used = 0, wide = dg_round_up(width, BLOCK), padded = dg_round_up(queries, BLOCK);
    b->wide = wide, b->padded = padded;
    b->ld_probs = odd_stride(padded, 2);
    b->q_cols = take(scratch, &used, padded * wide * 2);
    b->dy_cols = take(scratch, &used, padded * wide * 2);
    b->q_depth = take(scratch, &used, padded * wide * 2);
    b->dy_depth = take(scratch, &used, padded * wide * 2);
    b->lse = take(scratch, &used, padded * 4);
    b->delta = take(scratch, &used, padded * 4);
    b->k_room = take(scratch, &used, BLOCK * wide * 2);
    b->v_room = take(scratch, &used, BLOCK * wide * 2);
    b->scores = take(scratch, &used, BLOCK * ROW);
    b->diff_probs = take(scratch, &used, BLOCK * ROW);
    b->probs = take(scratch, &used, BLOCK * b->ld_probs * 2);
    b->diff = take(scratch, &used, BLOCK * b->ld_probs * 2);
    b->keys = take(scratch, &used, GROUP * BLOCK * wide * 2);
    b->diff_depth = take(scratch, &used, padded / 16 * GROUP_BYTES);
    b->dq = take(scratch, &used, padded * wide * 4);
    b->out = take(scratch, &used, BLOCK * wide * 4);
    return used;
}

/* Packs queries and diff_dst, and computes delta = the sum of dst * diff_dst over the width. */
static void pack_queries(const struct backward *b)
{
    const struct dg_attention_grad_args *a = b->args;
    const struct dg_attention_head *h = &a->head;
    for (int64_t t = 0; t < b->padded; t += BLOCK) {
        int64_t at = t * b->wide * 2;
        struct dg_amx_rows q = dg_amx_padded(h->q, h->ld, t, h->queries, h->width, b->wide, b->k_room),
                           dy = dg_amx_padded(a->diff_dst, h->ld_dst, t, h->queries, h->width, b->wide, b->v_room);
        dg_amx_pack_columns(q, b->wide, b->q_cols + at);
        dg_amx_pack_columns(dy, b->wide, b->dy_cols + at);
        dg_amx_pack_depth(q, b->wide, b->q_depth + at);
        dg_amx_pack_depth(dy, b->wide, b->dy_depth + at);
    }
    dg_dot_rows(1, h->queries, h->width, a->dst, a->diff_dst, h->ld_dst, b->delta);
    for (int64_t t = 0; t < h->queries; t++) b->lse[t] = LOG2_E * a->lse[t];
    for (int64_t t = h->queries; t < b->padded; t++) b->delta[t] = 0, b->lse[t] = INFINITY; /* their probability is 0 */
}

/* From the scores and gradients of probabilities of a block, up to 32 keys and 16 * halves queries, makes its columns of b->probs
 * and b->diff, and the right operands `depth` and, 16 queries further, `depth` + one group. The gradients of scores lack the
 * factor scale. Behind the last pair of keys it writes zeros to `depth` only. */
static DG_INLINE void gradients_of(int halves, const struct backward *b, int64_t keys, int64_t first, char *depth)
{
    const float factor = LOG2_E * b->args->head.scale, *lse = b->lse + first, *delta = b->delta + first,
                *scores = b->scores, *diff_probs = b->diff_probs;
    int64_t ld = b->ld_probs;
    dg_bf16 *probs = b->probs + first, *diff = b->diff + first;
    for (int64_t t = 0; t < keys; t += 2, probs += 2 * ld, diff += 2 * ld)
        for (int c = 0; c < BLOCK; c += 2 * DG_LANES) {
            dg_lanes e[2][2] = {0}, g[2][2] = {0};
            for (int j = 0; j < 2; j++) {
                int col = c + j * DG_LANES;
                if (col >= 16 * halves) continue;
                for (int i = 0; i < 2; i++) {
                    int64_t at = (t + i) * BLOCK + col;
                    e[i][j] = dg_powers(1, factor * *(const dg_lanes *)(scores + at) - *(const dg_lanes *)(lse + col));
                    g[i][j] = e[i][j] * (*(const dg_lanes *)(diff_probs + at) - *(const dg_lanes *)(delta + col));
                }
                *(dg_lanes *)(depth + col / 16 * GROUP_BYTES + t * 32 + col % 16 * 4) = dg_units_of(g[0][j], g[1][j]);
            }
            for (int i = 0; i < 2; i++) {
                *(dg_lanes *)(probs + i * ld + c) = dg_units_along(e[i][0], e[i][1]);
                *(dg_lanes *)(diff + i * ld + c) = dg_units_along(g[i][0], g[i][1]);
            }
        }
    int64_t done = dg_round_up(keys, 2) * 32;
    for (int half = 0; half < halves; half++) memset(depth + half * GROUP_BYTES + done, 0, (size_t)(TILE_BYTES - done));
}

static __attribute__((noinline)) void make_gradients(const struct backward *b, int64_t keys, int64_t first,
                                                     int64_t queries, char *depth)
{
    if (queries > 16)
        gradients_of(2, b, keys, first, depth);
    else
        gradients_of(1, b, keys, first, depth);
}

/* Probabilities and gradients of scores of keys from `key` on with all queries. */
static void make_key_block(const struct backward *b, int64_t key, int64_t keys, struct dg_prefetch *prefetch)
{
    const struct dg_attention_head *h = &b->args->head;
    struct dg_amx_rows k = dg_amx_padded(h->k, h->ld, key, h->tokens, h->width, b->wide, b->k_room),
                       v = dg_amx_padded(h->v, h->ld, key, h->tokens, h->width, b->wide, b->v_room);
    int64_t place = key / BLOCK % GROUP;
    dg_amx_pack_across(k, b->wide, (uint32_t *)b->out, b->keys + place * BLOCK * b->wide);
    struct dg_amx_block block = {
        .a_step = 64, .b_right = b->wide * 32, .b_step = TILE_BYTES, .steps = b->wide / BLOCK, .ldc = ROW};
    for (int64_t first = 0; first < b->padded; first += BLOCK) {
        int64_t at = first * b->wide * 2, count = h->queries - first;
        block.a = k.at, block.lda = k.ld * 2, block.b = b->q_cols + at, block.c = b->scores;
        dg_amx_multiply(keys, count, &block);
        block.a = v.at, block.lda = v.ld * 2, block.b = b->dy_cols + at, block.c = b->diff_probs;
        dg_amx_multiply(keys, count, &block);
        if (keys % 2) /* the second of the last pair */
            for (int c = 0; c < BLOCK; c++)
                b->scores[keys * BLOCK + c] = -INFINITY, b->diff_probs[keys * BLOCK + c] = 0;
        char *depth = b->diff_depth + (first / 16 * GROUP + place) * TILE_BYTES;
        make_gradients(b, keys, first, count, depth);
        dg_prefetch_step(prefetch); /* what the next head reads and writes */
    }
}

/* dst [keys, width] = times * a^T b, the sum being over queries: the gradients of up to 32 values or keys. */
static void put_diff_rows(const struct backward *b, int64_t keys, const dg_bf16 *a, const char *right, float times,
                          void *dst)
{
    const struct dg_attention_head *h = &b->args->head;
    for (int64_t col = 0; col < b->wide; col += BLOCK)
        dg_amx_multiply(keys, BLOCK,
                        &(struct dg_amx_block){.a = a,
                                               .lda = b->ld_probs * 2,
                                               .a_step = 64,
                                               .b = right + col * 64,
                                               .b_right = TILE_BYTES,
                                               .b_step = b->wide * 64,
                                               .steps = b->padded / BLOCK,
                                               .c = b->out + col,
                                               .ldc = b->wide * 4});
    for (int64_t t = 0; t < keys; t++)
        dg_put_times(1, h->width, b->out + t * b->wide, times, dg_at_out(dst, 1, t * h->ld));
}

/* dq, transposed, = or += keys^T times the gradients of scores: the sum is over a group of so many blocks of keys. */
static void add_diff_q(const struct backward *b, int64_t blocks, bool add)
{
    for (int64_t first = 0; first < b->padded; first += BLOCK)
        for (int64_t row = 0; row < b->wide; row += BLOCK)
            dg_amx_multiply(BLOCK, b->args->head.queries - first,
                            &(struct dg_amx_block){.a = b->keys + row * BLOCK,
                                                   .lda = 64,
                                                   .a_step = b->wide * 64,
                                                   .b = b->diff_depth + first / 16 * GROUP_BYTES,
                                                   .b_right = GROUP_BYTES,
                                                   .b_step = TILE_BYTES,
                                                   .steps = blocks,
                                                   .c = b->dq + first * b->wide + row * BLOCK,
                                                   .ldc = ROW,
                                                   .add = add});
}

static void put_diff_q(const struct backward *b)
{
    const struct dg_attention_head *h = &b->args->head;
    for (int64_t first = 0; first < h->queries; first += BLOCK) {
        dg_transpose(b->wide, BLOCK, b->dq + first * b->wide, BLOCK, b->wide, b->out);
        for (int64_t r = 0; r < dg_min_i64(BLOCK, h->queries - first); r++)
            dg_put_times(1, h->width, b->out + r * b->wide, h->scale,
                         dg_at_out(b->args->diff_q, 1, (first + r) * h->ld));
    }
}

static void backward_on_tiles(const struct dg_attention_grad_args *args, struct dg_prefetch *prefetch)
{
    const struct dg_attention_head *h = &args->head;
    struct backward b = {.args = args};
    backward_scratch(h->queries, h->width, args->scratch, &b);
    prefetch->steps = dg_blocks(h->tokens, BLOCK) * (b.padded / BLOCK);
    pack_queries(&b);
    dg_amx_begin();
    for (int64_t key = 0; key < h->tokens; key += BLOCK) {
        int64_t keys = dg_min_i64(BLOCK, h->tokens - key), block = key / BLOCK;
        make_key_block(&b, key, keys, prefetch);
        put_diff_rows(&b, keys, b.probs, b.dy_depth, 1, dg_at_out(args->diff_v, 1, key * h->ld));
        put_diff_rows(&b, keys, b.diff, b.q_depth, h->scale, dg_at_out(args->diff_k, 1, key * h->ld));
        int64_t blocks = block % GROUP + 1;
        if (blocks == GROUP || key + keys == h->tokens) add_diff_q(&b, blocks, block >= GROUP);
    }
    put_diff_q(&b);
    dg_amx_end();
}

/* --- the table --- */

/* The kernels of what is not for tiles. */
static const struct dg_attention_kernels *level_below(void)
{
    return dg_attention_kernels_at(dg_cpu_highest_level(DG_CPU_V4B));
}

static bool is_for_tiles(const struct dg_attention_head *head) { return head->bf16 && head->queries > 1; }

static struct dg_attention_scratch scratch_bytes(int64_t tokens, int64_t width)
{
    int64_t forward = forward_scratch(tokens, width, NULL, &(struct forward){0}),
            backward = backward_scratch(tokens, width, NULL, &(struct backward){0});
    struct dg_attention_scratch below = level_below()->scratch(tokens, width);
    return (struct dg_attention_scratch){.forward = forward > below.forward ? forward : below.forward,
                                         .backward = backward > below.backward ? backward : below.backward};
}

/* The rows of the next head, which this head's steps prefetch: q, k, v and dst. */
static struct dg_prefetch prefetch_of(const struct dg_attention_head *head, const void *dst)
{
    return (struct dg_prefetch){.rows = head->tokens,
                                .bytes = head->width * 2,
                                .num_arrays = 4,
                                .array = {{dg_at(head->q, 1, head->next), head->ld * 2},
                                          {dg_at(head->k, 1, head->next), head->ld * 2},
                                          {dg_at(head->v, 1, head->next), head->ld * 2},
                                          {dg_at(dst, 1, head->next_dst), head->ld_dst * 2}}};
}

static void attention_forward(const struct dg_attention_head *head, void *dst, float *probs, float *lse, void *scratch)
{
    if (!is_for_tiles(head)) {
        level_below()->forward(head, dst, probs, lse, scratch);
        return;
    }
    struct dg_prefetch prefetch = prefetch_of(head, dst);
    forward_on_tiles(head, dst, probs, lse, scratch, &prefetch);
}

static void attention_backward(const struct dg_attention_grad_args *args)
{
    const struct dg_attention_head *head = &args->head;
    if (!is_for_tiles(head)) {
        level_below()->backward(args);
        return;
    }
    struct dg_prefetch prefetch = prefetch_of(head, args->dst);
    const void *const rows[] = {args->diff_q, args->diff_k, args->diff_v};
    for (int i = 0; i < 3; i++) {
        prefetch.array[4 + i].row0 = dg_at(rows[i], 1, head->next);
        prefetch.array[4 + i].ld = head->ld * 2;
    }
    prefetch.array[7].row0 = dg_at(args->diff_dst, 1, head->next_dst);
    prefetch.array[7].ld = head->ld_dst * 2;
    prefetch.num_arrays = 8;
    backward_on_tiles(args, &prefetch);
}

DG_KERNELS(attention) = {.scratch = scratch_bytes, .forward = attention_forward, .backward = attention_backward};

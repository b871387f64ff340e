#include "ops/kernels/prototypes.h"

#include "ops/kernels/amx_block.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/prefetch.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/tile.h"

#include <math.h>
#include <string.h>

enum {
    COLS = DG_HAS_AMX ? DG_AMX_BLOCK : DG_TILE_COLS,  /* columns of a product that are computed together */
    PANEL = DG_HAS_AMX ? DG_AMX_UNITS : DG_TILE_COLS, /* columns of a right operand that lie together */
    STEP = DG_HAS_AMX ? DG_AMX_UNITS : 1,             /* operands are so many units deep, or a multiple of it */
    HEIGHT = DG_HAS_AMX ? DG_AMX_ROWS : 1             /* and left ones so many rows high */
};

/* Sizes of operands, in units of two bf16 numbers. Left operands are [rows, units], right ones [panels, units, PANEL]. Packed features
 * are a left operand, for the logits, and behind it a right one of units of two rows, for diff_w. A thread's scratch begins with the
 * rows of the weights. */
struct sizes {
    int64_t depth, summed;      /* units in a row of `in` numbers; as an operand */
    int64_t wide, across;       /* `in` and prototypes as columns of right operands */
    int64_t high;               /* rows of features as a left operand */
    int64_t row_pairs, w_pairs; /* units of two rows of features, of weights */
    int64_t features, weights;  /* packed features as the left operand; the rows of the weights */
};

static struct sizes sizes_of(int64_t rows, int64_t in, int64_t prototypes)
{
    struct sizes s = {.depth = dg_blocks(in, 2),
                      .wide = dg_round_up(in, PANEL),
                      .across = dg_round_up(prototypes, PANEL),
                      .high = dg_round_up(rows, HEIGHT),
                      .row_pairs = dg_round_up(dg_blocks(rows, 2), STEP),
                      .w_pairs = dg_round_up(dg_blocks(prototypes, 2), STEP)};
    s.summed = dg_round_up(s.depth, STEP);
    s.features = s.high * s.summed;
    s.weights = dg_round_up(prototypes * s.depth, PANEL);
    return s;
}

static struct dg_prototype_scratch scratch_bytes(int64_t rows, int64_t in, int64_t prototypes)
{
    const struct sizes s = sizes_of(rows, in, prototypes);
    int64_t logits = s.summed * COLS, diff_pairs = s.row_pairs * s.across;
    int64_t grads = s.high * s.w_pairs + s.w_pairs * s.wide + diff_pairs * (DG_HAS_AMX ? 2 : 1);
    return (struct dg_prototype_scratch){
        .features = 4 * (s.features + s.row_pairs * s.wide),
        .thread = 4 * (s.weights + (logits > grads ? logits : grads)),
    };
}

/* dst [units] = scale * src [cols], rounded; zeros behind them. */
static void round_row(int64_t cols, float scale, const float *src, int64_t units, uint32_t *dst)
{
    int64_t done = 0;
    for (; done + 2 * DG_LANES <= cols; done += 2 * DG_LANES) {
        const dg_lanes *x = (const void *)(src + done);
        *(dg_lanes *)(dst + done / 2) = dg_units_along(scale * x[0], scale * x[1]);
    }
#pragma omp simd
    for (int64_t u = done / 2; u < cols / 2; u++) dst[u] = dg_bf16_pair(scale * src[2 * u], scale * src[2 * u + 1]);
    if (cols % 2) dst[cols / 2] = dg_bf16_pair(scale * src[cols - 1], 0);
    for (int64_t u = dg_blocks(cols, 2); u < units; u++) dst[u] = 0;
}

/* Packs src [rows, cols], bf16 or f32, as units of two rows: dst [panels, pairs, panel], zeros behind the rows and columns. */
static DG_INLINE void pair_rows(bool bf16, int64_t rows, int64_t cols, const void *src, int64_t ld, int64_t pairs,
                                int64_t panel, uint32_t *dst)
{
    for (int64_t u = 0; u < pairs; u++)
        for (int64_t c = 0; c < cols; c += panel) {
            uint32_t *to = dst + c * pairs + u * panel;
            const void *x = dg_at(src, bf16, 2 * u * ld + c), *y = dg_at(x, bf16, ld);
            if (2 * u < rows)
                dg_pair(bf16, dg_min_i64(panel, cols - c), x, 2 * u + 1 < rows ? y : NULL, panel, to);
            else
                memset(to, 0, (size_t)panel * sizeof *to);
        }
}

static void pack_features(int64_t rows, int64_t in, const float *src, void *features)
{
    const struct sizes s = sizes_of(rows, in, 1);
    uint32_t *units = features;
    for (int64_t r = 0; r < rows; r++) round_row(in, 1, src + r * in, s.summed, units + r * s.summed);
    pair_rows(0, rows, in, src, in, s.row_pairs, PANEL, units + s.features);
}

/* c [rows, cols] = a b, or c + a b if `add`. On vectors a may lie `down`: [units, rows]. */
struct product {
    bool down, add;
    int64_t rows, cols, units;
    const uint32_t *a, *b;
    int64_t lda;
    float *c;
    int64_t ldc;
};

/* Columns `col` to `col` + COLS or fewer. */
static void multiply_columns(const struct product *p, int64_t col, struct dg_prefetch *prefetch)
{
    int64_t cols = dg_min_i64(COLS, p->cols - col), height = DG_HAS_AMX ? DG_AMX_BLOCK : dg_tile_height(p->rows);
    const uint32_t *b = p->b + col * p->units;
    for (int64_t r = 0; r < p->rows; r += height) {
        int64_t rows = dg_min_i64(height, p->rows - r);
        const uint32_t *a = p->a + (p->down ? r : r * p->lda);
        float *c = p->c + r * p->ldc + col;
        if (prefetch) dg_prefetch_step(prefetch);
        if (DG_HAS_AMX)
            dg_amx_multiply_edge(rows, cols,
                                 &(struct dg_amx_block){.a = a,
                                                        .lda = p->lda * 4,
                                                        .a_step = DG_AMX_UNITS * 4,
                                                        .b = b,
                                                        .b_right = p->units * PANEL * 4,
                                                        .b_step = DG_AMX_TILE_BYTES,
                                                        .steps = p->units / STEP,
                                                        .c = c,
                                                        .ldc = p->ldc * 4,
                                                        .add = p->add});
        else
            dg_tile_cols(p->down ? dg_tile_down_bf16 : dg_tile_across_bf16, rows, cols, p->units, a, p->lda, b, PANEL,
                         p->add, c, p->ldc);
    }
}

static void multiply(const struct product *p)
{
    for (int64_t col = 0; col < p->cols; col += COLS) multiply_columns(p, col, NULL);
}

/* Lengths, and the rows of the weights, rounded: w [prototypes, depth]. A few rows at a time, which stay in the L1 cache. */
static void make_weights(const struct dg_prototype_tile *tile, const float *g, const float *v, float *length)
{
    int64_t in = tile->in, depth = dg_blocks(in, 2);
    uint32_t *w = tile->scratch;
    for (int64_t first = 0; first < tile->prototypes; first += DG_REDUCED) {
        int64_t rows = dg_min_i64(DG_REDUCED, tile->prototypes - first);
        float scale[DG_REDUCED];
        dg_dot_rows(0, rows, in, v + first * in, v + first * in, in, length + first);
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) {
            length[first + r] = sqrtf(length[first + r]);
            scale[r] = g[first + r] / length[first + r];
        }
        for (int64_t r = 0; r < rows; r++)
            round_row(in, scale[r], v + (first + r) * in, depth, w + (first + r) * depth);
    }
}

static void logits_of(const struct dg_prototype_tile *tile, const float *g, const float *v, int64_t next, float *length,
                      float *logits)
{
    int64_t rows = tile->rows, in = tile->in, prototypes = tile->prototypes;
    const struct sizes s = sizes_of(rows, in, prototypes);
    int64_t turns = dg_blocks(rows, DG_HAS_AMX ? DG_AMX_BLOCK : dg_tile_height(rows));
    uint32_t *w = tile->scratch, *right = w + s.weights;
    struct dg_prefetch prefetch = {.rows = next,
                                   .bytes = in * 4,
                                   .steps = dg_blocks(prototypes, COLS) * turns,
                                   .num_arrays = 1,
                                   .array = {{(const char *)(v + prototypes * in), in * 4}}};
    make_weights(tile, g, v, length);
    for (int64_t c = 0; c < COLS; c += PANEL) /* behind the end of the sum */
        memset(right + c * s.summed + s.depth * PANEL, 0, (size_t)((s.summed - s.depth) * PANEL) * sizeof *right);
    if (DG_HAS_AMX) dg_amx_begin();
    for (int64_t p = 0; p < prototypes; p += COLS) {
        int64_t cols = dg_min_i64(COLS, prototypes - p);
        for (int64_t c = 0; c < cols; c += PANEL)
            dg_transpose(dg_min_i64(PANEL, cols - c), s.depth, (const float *)(w + (p + c) * s.depth), s.depth, PANEL,
                         (float *)(right + c * s.summed));
        const struct product product = {.rows = rows,
                                        .cols = cols,
                                        .units = s.summed,
                                        .a = tile->features,
                                        .lda = s.summed,
                                        .b = right,
                                        .c = logits + p,
                                        .ldc = prototypes};
        multiply_columns(&product, 0, &prefetch);
    }
    if (DG_HAS_AMX) dg_amx_end();
}

/* diff_src [rows, in] += diff [rows, prototypes] w; `scratch` is behind the weights. */
static void add_diff_src(const struct dg_prototype_tile *tile, const struct sizes *s, const float *diff,
                         uint32_t *scratch, float *diff_src)
{
    int64_t rows = tile->rows, in = tile->in, prototypes = tile->prototypes;
    uint32_t *w_pairs = scratch + s->high * s->w_pairs;
    for (int64_t r = 0; r < rows; r++)
        round_row(prototypes, 1, diff + r * prototypes, s->w_pairs, scratch + r * s->w_pairs);
    pair_rows(1, prototypes, in, tile->scratch, 2 * s->depth, s->w_pairs, PANEL, w_pairs);
    multiply(&(struct product){.add = true,
                               .rows = rows,
                               .cols = in,
                               .units = s->w_pairs,
                               .a = scratch,
                               .lda = s->w_pairs,
                               .b = w_pairs,
                               .c = diff_src,
                               .ldc = in});
}

/* diff_w [prototypes, in] = diff^T features. `pairs` is room for diff as units of two rows; tiles, which take no left operand that lies
 * down, need it twice. */
static void make_diff_w(const struct dg_prototype_tile *tile, const struct sizes *s, const float *diff, uint32_t *pairs,
                        float *diff_w)
{
    uint32_t *transposed = pairs + s->row_pairs * s->across;
    pair_rows(0, tile->rows, tile->prototypes, diff, tile->prototypes, s->row_pairs, s->across, pairs);
    if (DG_HAS_AMX) dg_transpose(s->row_pairs, s->across, (float *)pairs, s->across, s->row_pairs, (float *)transposed);
    multiply(&(struct product){.down = !DG_HAS_AMX,
                               .rows = tile->prototypes,
                               .cols = tile->in,
                               .units = s->row_pairs,
                               .a = DG_HAS_AMX ? transposed : pairs,
                               .lda = DG_HAS_AMX ? s->row_pairs : s->across,
                               .b = (const uint32_t *)tile->features + s->features,
                               .c = diff_w,
                               .ldc = tile->in});
}

static void grads_of(const struct dg_prototype_tile *tile, const float *diff, float *diff_src, float *diff_w)
{
    const struct sizes s = sizes_of(tile->rows, tile->in, tile->prototypes);
    uint32_t *scratch = (uint32_t *)tile->scratch + s.weights;
    if (DG_HAS_AMX) dg_amx_begin();
    if (diff_src) add_diff_src(tile, &s, diff, scratch, diff_src);
    make_diff_w(tile, &s, diff, scratch + s.high * s.w_pairs + s.w_pairs * s.wide, diff_w);
    if (DG_HAS_AMX) dg_amx_end();
}

DG_KERNELS(prototypes) = {
    .scratch = scratch_bytes, .pack_features = pack_features, .logits = logits_of, .grads = grads_of};

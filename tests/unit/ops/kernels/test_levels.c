/* Every kernel at every level that the CPU has, against the same kernel at the lowest level: random numbers, sizes at and between
 * the edges of vectors and tiles, all flags.
 *
 * Where no order of sums and no fused multiply-add can differ, bits are the same. Elsewhere both are near the exact result, by
 * bounds that come from the arithmetic. A chain of k operations is off by at most k units of rounding of the largest intermediate
 * result. A sum of n terms is off by at most n units of the sum of their magnitudes, whatever its order; roundings are independent
 * of each other, so a few times sqrt(n) are not passed either. A number that is rounded to bf16 may fall on the other side, which
 * is one unit in its last place. */
#include "ops/kernels/activation.h"
#include "ops/kernels/add.h"
#include "ops/kernels/attention.h"
#include "ops/kernels/batch_norm.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/class_attention.h"
#include "ops/kernels/column_sum.h"
#include "ops/kernels/convert.h"
#include "ops/kernels/cross_covariance.h"
#include "ops/kernels/dino.h"
#include "ops/kernels/dino_tile.h"
#include "ops/kernels/drop_path.h"
#include "ops/kernels/gelu.h"
#include "ops/kernels/grad_weights.h"
#include "ops/kernels/im2col.h"
#include "ops/kernels/layer_norm.h"
#include "ops/kernels/mul.h"
#include "ops/kernels/optimizer.h"
#include "ops/kernels/pool.h"
#include "ops/kernels/prototypes.h"
#include "ops/kernels/rates.h"
#include "ops/kernels/relu.h"
#include "ops/kernels/softmax.h"
#include "ops/kernels/weight_norm.h"
#include "tests/support/amx_trap.h"
#include "tests/support/kernel_trial.h"
#include "tests/support/op_run.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRIALS = 24 };
#define AT(family) dg_##family##_kernels_at(t->level)

/* --- the cases, by families --- */

/* A sigmoid is an exponential, a sum and a quotient; slopes add four operations. The largest results are 8. */
static void activation_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    enum dg_activation f = (enum dg_activation)(dg_rng_u32(&t->rng) % DG_ACTIVATIONS);
    const void *src = trial_in(t, bf16, count, -8, 8);
    AT(activation)
        ->forward(f, count, bf16, src, trial_out(t, bf16, count, (struct trial_bound){.f32 = 12, .magnitude = 8}));
}

static void activation_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    enum dg_activation f = (enum dg_activation)(dg_rng_u32(&t->rng) % DG_ACTIVATIONS);
    const void *src = trial_in(t, bf16, count, -8, 8), *diff = trial_in(t, bf16, count, -1, 1);
    AT(activation)
        ->backward(f, count, bf16, src, diff,
                   trial_out(t, bf16, count, (struct trial_bound){.f32 = 16, .magnitude = 8}));
}

static void add_add(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool a = trial_flag(t), b = trial_flag(t), dst = trial_flag(t), through = trial_flag(t), relu = trial_flag(t);
    AT(add)->add(&(struct dg_add_args){.count = count,
                                       .relu = relu,
                                       .a_bf16 = a,
                                       .b_bf16 = b,
                                       .dst_bf16 = dst,
                                       .through_bf16 = through,
                                       .a = trial_in(t, a, count, -1, 1),
                                       .b = trial_in(t, b, count, -1, 1),
                                       .through = relu ? NULL : trial_in_or_null(t, through, count, -1, 1),
                                       .dst = trial_out(t, dst, count, trial_same_bits)});
}

/* The last of the scratch that a smaller problem needs is there for a larger one. */
static void attention_scratch(struct trial *t)
{
    int64_t tokens = trial_size(t, 300), width = trial_size(t, 80);
    struct dg_attention_scratch some = AT(attention)->scratch(tokens, width),
                                more = AT(attention)->scratch(tokens + trial_size(t, 100), width + trial_size(t, 20));
    assert_true(some.forward > 0 && some.backward > 0);
    assert_true(more.forward >= some.forward && more.backward >= some.backward);
}

/* Scores are at most `width` products of 1/4, scaled: |score| <= sqrt(width) / 4. */
struct attention {
    struct dg_attention_head head;
    double score, error; /* the largest, and how far two levels differ in one, in units */
};

static struct attention attention_of(struct trial *t)
{
    bool bf16 = trial_flag(t);
    int64_t tokens = trial_size(t, 300), queries = trial_flag(t) ? tokens : 1, width = trial_size(t, 80), ld;
    if (bf16) width += width % 2;
    ld = width + 2 * (dg_rng_u32(&t->rng) % 8);
    double score = sqrt((double)width) / 4;
    return (struct attention){.head = {.bf16 = bf16,
                                       .queries = queries,
                                       .tokens = tokens,
                                       .width = width,
                                       .q = trial_in(t, bf16, queries * ld, -0.5F, 0.5F),
                                       .k = trial_in(t, bf16, tokens * ld, -0.5F, 0.5F),
                                       .v = trial_in(t, bf16, tokens * ld, -1, 1),
                                       .ld = ld,
                                       .ld_dst = ld,
                                       .scale = 1 / sqrtf((float)width)},
                              .score = score,
                              .error = score * (trial_sum_of(width) + 4)};
}

/* Rows of `ld` numbers, of which the kernel writes `width`. */
static void *rows_out(struct trial *t, const struct dg_attention_head *h, int64_t rows, struct trial_bound bound)
{
    void *data = trial_out(t, h->bf16, rows * h->ld, bound);
    for (int64_t i = 0; i < rows * h->ld; i++) dg_put(data, h->bf16, i, 0);
    return data;
}

/* Probabilities are off by the error of a score and of the sum that divides them; in bf16 they are rounded before products. */
static void attention_forward(struct trial *t)
{
    struct attention a = attention_of(t);
    const struct dg_attention_head *h = &a.head;
    double units = a.error + trial_sum_of(h->tokens) + 40;
    struct trial_bound probs = {.f32 = units, .magnitude = 1, .scale = OF_EACH};
    struct trial_bound dst = {.f32 = units + trial_sum_of(h->tokens), .bf16 = h->bf16, .magnitude = 1};
    struct trial_bound lse = {.f32 = units + 10, .magnitude = 1 + a.score + log((double)h->tokens)};
    float *p = trial_flag(t) ? trial_out(t, false, h->queries * h->tokens, probs) : NULL;
    AT(attention)->forward(h, rows_out(t, h, h->queries, dst), p,
                           trial_flag(t) ? trial_out(t, false, h->queries, lse) : NULL,
                           trial_scratch(t, AT(attention)->scratch(h->tokens, h->width).forward));
}

/* Probabilities are e^score / tokens, of no consequence to their sum: all results are sums of products of random numbers. */
static void attention_backward(struct trial *t)
{
    struct attention a = attention_of(t);
    const struct dg_attention_head *h = &a.head;
    struct trial_bound bound = {.f32 = a.error + 2 * trial_sum_of(h->width) + trial_sum_of(h->tokens) + 60,
                                .bf16 = 2 * h->bf16,
                                .magnitude = 1,
                                .scale = OF_LARGEST};
    float *lse = trial_in(t, false, h->queries, 0, 1);
    for (int64_t i = 0; i < h->queries; i++) lse[i] = logf((float)h->tokens);
    AT(attention)->backward(&(struct dg_attention_grad_args){
        .head = *h,
        .dst = trial_in(t, h->bf16, h->queries * h->ld, -1, 1),
        .diff_dst = trial_in(t, h->bf16, h->queries * h->ld, -1, 1),
        .lse = lse,
        .diff_q = rows_out(t, h, h->queries, bound),
        .diff_k = rows_out(t, h, h->tokens, bound),
        .diff_v = rows_out(t, h, h->tokens, bound),
        .scratch = trial_scratch(t, AT(attention)->scratch(h->tokens, h->width).backward)});
}

/* Deviations from the first row are at most 2. */
static void batch_norm_moments(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double units = trial_sum_of(rows) + 10;
    AT(batch_norm)
        ->moments(&(struct dg_batch_norm_moments_args){
            .rows = rows,
            .cols = cols,
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_out(t, false, cols, (struct trial_bound){.f32 = units, .magnitude = 2}),
            .var = trial_out(t, false, cols, (struct trial_bound){.f32 = units, .magnitude = 4}),
            .partial = trial_scratch(t, 2 * cols * t->threads * 8),
            .threads = t->threads});
}

/* Of numbers, means and weights up to 1 and variances from 1/2: at most 2 sqrt(2) + 1. */
static void batch_norm_apply(struct trial *t)
{
    int64_t rows = trial_size(t, 100), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(batch_norm)
        ->apply(&(struct dg_batch_norm_apply_args){
            .rows = rows,
            .cols = cols,
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_in(t, false, cols, -1, 1),
            .var = trial_in(t, false, cols, 0.5F, 1.5F),
            .weight = trial_in(t, false, cols, -1, 1),
            .bias = trial_in(t, false, cols, -1, 1),
            .eps = 1e-5,
            .relu = trial_flag(t),
            .dst = trial_out(t, bf16, rows * cols, (struct trial_bound){.f32 = 16, .magnitude = 4}),
            .scale = trial_scratch(t, cols * 4)});
}

/* Scratch of the gradient: sums of threads, blocks, factors. */
static int64_t batch_norm_partial(const struct trial *t, int64_t cols)
{
    return 2 * cols * t->threads * (8 + 4) + 3 * cols * 4;
}

static void batch_norm_backward_sums(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double units = trial_sum_of(rows) + 30;
    struct trial_bound sums = {.f32 = units, .magnitude = 1 + 3 * (double)rows};
    AT(batch_norm)
        ->backward_sums(
            &(struct dg_batch_norm_grad_args){.rows = rows,
                                              .cols = cols,
                                              .bf16 = bf16,
                                              .src = trial_in(t, bf16, rows * cols, -1, 1),
                                              .mean = trial_in(t, false, cols, -1, 1),
                                              .var = trial_in(t, false, cols, 0.5F, 1.5F),
                                              .eps = 1e-5,
                                              .dst = trial_in_or_null(t, bf16, rows * cols, -1, 1),
                                              .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                              .acc_weight = trial_in_or_null(t, false, cols, -1, 1),
                                              .acc_bias = trial_in_or_null(t, false, cols, -1, 1),
                                              .diff_weight = trial_out(t, false, cols, sums),
                                              .diff_bias = trial_flag(t) ? trial_out(t, false, cols, sums) : NULL,
                                              .partial = trial_scratch(t, batch_norm_partial(t, cols)),
                                              .threads = t->threads});
}

static void batch_norm_backward_src(struct trial *t)
{
    int64_t rows = 1 + trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    double *partial = trial_scratch(t, batch_norm_partial(t, cols));
    const float *sum = trial_in(t, false, 2 * cols, -1, 1);
    for (int64_t i = 0; i < 2 * cols; i++) partial[i] = (double)sum[i] * (double)rows;
    AT(batch_norm)
        ->backward_src(&(struct dg_batch_norm_grad_args){
            .rows = rows,
            .cols = cols,
            .all_rows = rows * (1 + trial_flag(t)),
            .bf16 = bf16,
            .src = trial_in(t, bf16, rows * cols, -1, 1),
            .mean = trial_in(t, false, cols, -1, 1),
            .var = trial_in(t, false, cols, 0.5F, 1.5F),
            .weight = trial_in(t, false, cols, -1, 1),
            .eps = 1e-5,
            .dst = trial_in_or_null(t, bf16, rows * cols, -1, 1),
            .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
            .diff_src = trial_out(t, bf16, rows * cols, (struct trial_bound){.f32 = 30, .magnitude = 15}),
            .partial = partial,
            .threads = t->threads});
}

static struct dg_class_attention_shape class_shape(struct trial *t)
{
    return (struct dg_class_attention_shape){trial_size(t, 5), trial_size(t, 4), trial_size(t, 40), trial_size(t, 100)};
}

static void class_attention_scores(struct trial *t)
{
    struct dg_class_attention_shape s = class_shape(t);
    bool bf16 = trial_flag(t);
    double n = (double)s.cols;
    const float *vectors = trial_in(t, false, s.images * s.heads * s.cols, -1, 1);
    const void *src = trial_in(t, bf16, s.images * s.tokens * s.cols, -1, 1);
    AT(class_attention)
        ->scores(&s, vectors, bf16, src,
                 trial_out(t, false, s.images * s.heads * s.tokens,
                           (struct trial_bound){.f32 = trial_sum_of((int64_t)n), .magnitude = n}));
}

static void class_attention_sums(struct trial *t)
{
    struct dg_class_attention_shape s = class_shape(t);
    bool bf16 = trial_flag(t);
    double n = (double)s.tokens;
    const float *weights = trial_in(t, false, s.images * s.heads * s.tokens, -1, 1);
    const void *src = trial_in(t, bf16, s.images * s.tokens * s.cols, -1, 1);
    AT(class_attention)
        ->sums(&s, weights, bf16, src,
               trial_out(t, false, s.images * s.heads * s.cols,
                         (struct trial_bound){.f32 = trial_sum_of((int64_t)n), .magnitude = n}));
}

static void class_attention_backward(struct trial *t)
{
    struct dg_class_attention_shape s = class_shape(t);
    bool bf16 = trial_flag(t);
    double n = 1 + 2 * (double)s.heads;
    AT(class_attention)
        ->backward(&(struct dg_class_attention_grad_args){
            .shape = s,
            .diff_scores = trial_in(t, false, s.images * s.heads * s.tokens, -1, 1),
            .vectors = trial_in(t, false, s.images * s.heads * s.cols, -1, 1),
            .weights = trial_in(t, false, s.images * s.heads * s.tokens, -1, 1),
            .diff_sums = trial_in(t, false, s.images * s.heads * s.cols, -1, 1),
            .query = dg_rng_u32(&t->rng) % s.tokens,
            .diff_query = trial_in(t, false, s.images * s.cols, -1, 1),
            .scratch = trial_scratch(t, t->threads * s.cols * 4),
            .threads = t->threads,
            .diff_src_bf16 = bf16,
            .diff_src = trial_out(t, bf16, s.images * s.tokens * s.cols,
                                  (struct trial_bound){.f32 = trial_sum_of((int64_t)n), .magnitude = n})});
}

/* Down the rows one after another, at every level. */
static void column_sum_column_sum(struct trial *t)
{
    int64_t rows = trial_size(t, 200), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(column_sum)
        ->column_sum(&(struct dg_column_sum_args){.rows = rows,
                                                  .cols = cols,
                                                  .src_bf16 = bf16,
                                                  .src = trial_in(t, bf16, rows * cols, -1, 1),
                                                  .acc = trial_in_or_null(t, false, cols, -1, 1),
                                                  .dst = trial_out(t, false, cols, trial_same_bits),
                                                  .partial = trial_scratch(t, t->threads * cols * 4),
                                                  .threads = t->threads});
}

/* Any bits, with infinities and NaNs; of denormals see test_rounding.c. */
static void convert_to_bf16(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    uint32_t *src = trial_in(t, false, count, 0, 1);
    for (int64_t i = 0; i < count; i++) {
        src[i] = dg_rng_u32(&t->rng) | (dg_rng_u32(&t->rng) % 8 ? 0 : 0x7f800000);
        if (!(src[i] & 0x7f800000)) src[i] |= 0x00800000;
    }
    AT(convert)->to_bf16(count, (const float *)src, trial_out(t, true, count, trial_same_bits));
}

static void convert_rest(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    const float *src = trial_in(t, false, count, -3, 3);
    AT(convert)->rest(count, src, trial_out(t, false, count, trial_same_bits));
}

static void cross_covariance_scratch(struct trial *t)
{
    int64_t tokens = trial_size(t, 100), width = trial_size(t, 60);
    assert_true(AT(cross_covariance)->scratch(tokens, width) > 0);
}

static struct dg_cross_covariance_head covariance_of(struct trial *t)
{
    bool bf16 = trial_flag(t);
    int64_t tokens = trial_size(t, 100), width = trial_size(t, 60), ld = width + dg_rng_u32(&t->rng) % 8;
    return (struct dg_cross_covariance_head){.bf16 = bf16,
                                             .tokens = tokens,
                                             .width = width,
                                             .q = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .k = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .v = trial_in(t, bf16, tokens * ld, -1, 1),
                                             .ld = ld,
                                             .ld_dst = ld,
                                             .temperature = 2};
}

static void *covariance_out(struct trial *t, const struct dg_cross_covariance_head *h, struct trial_bound bound)
{
    void *data = trial_out(t, h->bf16, h->tokens * h->ld, bound);
    for (int64_t i = 0; i < h->tokens * h->ld; i++) dg_put(data, h->bf16, i, 0);
    return data;
}

/* A cosine is a sum over the tokens, divided by two more; a probability adds an exponential and a sum over the channels. */
static void cross_covariance_forward(struct trial *t)
{
    struct dg_cross_covariance_head h = covariance_of(t);
    double units = 2 * 2 * trial_sum_of(h.tokens) + 2 * trial_sum_of(h.width) + 40;
    struct trial_bound bound = {.f32 = units, .magnitude = 1};
    AT(cross_covariance)
        ->forward(&h, covariance_out(t, &h, bound), trial_scratch(t, AT(cross_covariance)->scratch(h.tokens, h.width)));
}

/* The gradient of a probability is a sum over the tokens of products up to 1, and weighs at most temperature / 4. Channels are
 * divided by their lengths, which with few tokens may be small: gradients are compared with the largest. */
static void cross_covariance_backward(struct trial *t)
{
    struct dg_cross_covariance_head h = covariance_of(t);
    double units = 8 * trial_sum_of(h.tokens) + 8 * trial_sum_of(h.width) + 100, n = (double)h.tokens;
    struct trial_bound bound = {.f32 = units, .magnitude = 1, .scale = OF_LARGEST};
    struct trial_bound temperature = {.f32 = units, .magnitude = n * (double)h.width};
    float *sum = trial_out(t, false, 1, temperature);
    *sum = AT(cross_covariance)
               ->backward(&h, trial_in(t, h.bf16, h.tokens * h.ld_dst, -1, 1), covariance_out(t, &h, bound),
                          covariance_out(t, &h, bound), covariance_out(t, &h, bound),
                          trial_scratch(t, AT(cross_covariance)->scratch(h.tokens, h.width)));
}

/* With center, s and t up to 1: logits over a temperature of 0.05 are at most 2 / 0.05 = 40, and so is what an exponential is of. */
#define TEMP 0.05F
enum { MOST = 40 };

/* `rows` of views of a batch beside the targets of two. */
static struct dg_dino_pairs pairs_of(struct trial *t)
{
    int64_t batch = trial_size(t, 4), rows = batch * (1 + dg_rng_u32(&t->rng) % 3), cols = trial_size(t, 2100);
    return (struct dg_dino_pairs){.rows = rows,
                                  .cols = cols,
                                  .batch = batch,
                                  .view0 = dg_rng_u32(&t->rng) % 3,
                                  .s = trial_in(t, false, rows * cols, -1, 1),
                                  .q = trial_in(t, false, 2 * batch * cols, 0, 2 / (float)cols),
                                  .temp = TEMP};
}

/* A log-sum-exp beyond all of the student's logits, which are at most 1 / 0.05. */
static float *lse_of(struct trial *t, int64_t rows) { return trial_in(t, false, rows, 0.5F * MOST, 0.5F * MOST + 1); }

static void dino_target(struct trial *t)
{
    int64_t rows = trial_size(t, 6), cols = trial_size(t, 2100);
    double units = 4 * MOST + trial_sum_of(cols) + 40;
    const float *logits = trial_in(t, false, rows * cols, -1, 1), *center = trial_in(t, false, cols, -1, 1);
    float *q = trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1, .scale = OF_EACH});
    AT(dino)->target(rows, cols, logits, center, TEMP, q,
                     trial_out_of(t, DG_F64, rows, (struct trial_bound){.f32 = units, .magnitude = 2 * MOST}));
}

/* Row after row, at every level. */
static void dino_row_mean(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 2100);
    const float *logits = trial_in(t, false, rows * cols, -1, 1);
    AT(dino)->row_mean(rows, cols, logits, trial_out(t, false, cols, trial_same_bits));
}

static void dino_loss(struct trial *t)
{
    struct dg_dino_pairs pairs = pairs_of(t);
    double units = 4 * MOST + trial_sum_of(pairs.cols) + 40;
    struct trial_bound bound = {.f32 = units, .magnitude = 4 * MOST};
    float *lse = trial_flag(t) ? trial_out(t, false, pairs.rows, bound) : NULL;
    AT(dino)->loss(&pairs, lse, trial_out_of(t, DG_F64, pairs.rows, bound));
}

static void dino_loss_backward(struct trial *t)
{
    struct dg_dino_pairs pairs = pairs_of(t);
    const float *lse = lse_of(t, pairs.rows);
    AT(dino)->loss_backward(
        &pairs, lse, 0.5F,
        trial_out(t, false, pairs.rows * pairs.cols, (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 2}));
}

/* A maximum and sums of exponentials, of two tiles one after the other. */
static void dino_tile_target_sums(struct trial *t)
{
    int64_t rows = trial_size(t, 6);
    double *sums = trial_out_of(
        t, DG_F64, 3 * rows, (struct trial_bound){.f32 = 4 * MOST + 2 * trial_sum_of(256) + 40, .magnitude = 2 * 256});
    for (int64_t r = 0; r < rows; r++) memcpy(sums + 3 * r, (double[]){-INFINITY, 0, 0}, 3 * sizeof *sums);
    for (int tile = 0; tile < 2; tile++) {
        int64_t cols = trial_size(t, 256);
        float *logits = trial_in_out(t, rows * cols, -1, 1, (struct trial_bound){.f32 = 8, .magnitude = MOST});
        const float *center = trial_in(t, false, cols, -1, 1);
        AT(dino_tile)->target_sums(rows, cols, logits, center, TEMP, trial_out(t, false, cols, trial_same_bits), sums);
    }
}

static void dino_tile_target_probs(struct trial *t)
{
    int64_t rows = trial_size(t, 6), cols = trial_size(t, 256);
    float *logits = trial_in_out(t, rows * cols, -1, 1,
                                 (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 1, .scale = OF_EACH});
    const float *center = trial_in(t, false, cols, -1, 1);
    float *stats = trial_in(t, false, 2 * rows, 0, 1);
    for (int64_t r = 0; r < rows; r++) stats[2 * r] += MOST;
    AT(dino_tile)->target_probs(rows, cols, logits, center, TEMP, stats);
}

static struct dg_dino_tile tile_of(struct trial *t)
{
    int64_t batch = trial_size(t, 4), cols = trial_size(t, 256);
    return (struct dg_dino_tile){.rows = batch * (1 + dg_rng_u32(&t->rng) % 3),
                                 .cols = cols,
                                 .batch = batch,
                                 .view0 = dg_rng_u32(&t->rng) % 3,
                                 .q = trial_in(t, false, 2 * batch * cols, 0, 2 / (float)cols),
                                 .temp = TEMP};
}

static void dino_tile_loss_sums(struct trial *t)
{
    struct dg_dino_tile tile = tile_of(t);
    struct trial_bound bound = {.f32 = 4 * MOST + 2 * trial_sum_of(256) + 40, .magnitude = 2 * 256};
    double *sums = trial_out_of(t, DG_F64, 4 * tile.rows, bound);
    for (int64_t r = 0; r < tile.rows; r++) memcpy(sums + 4 * r, (double[]){-INFINITY, 0, 0, 0}, 4 * sizeof *sums);
    for (int turn = 0; turn < 2; turn++)
        AT(dino_tile)->loss_sums(&tile, trial_in(t, false, tile.rows * tile.cols, -1, 1), sums);
}

static void dino_tile_loss_backward(struct trial *t)
{
    struct dg_dino_tile tile = tile_of(t);
    const float *lse = lse_of(t, tile.rows);
    AT(dino_tile)->loss_backward(
        &tile, lse, 0.5F,
        trial_in_out(t, tile.rows * tile.cols, -1, 1, (struct trial_bound){.f32 = 4 * MOST + 40, .magnitude = 2}));
}

/* A division and a sum. */
static void drop_path_drop_path(struct trial *t)
{
    int64_t images = trial_size(t, 20), numbers = trial_size(t, 300);
    bool src = trial_flag(t), dst = trial_flag(t);
    int64_t *from = trial_out_of(t, DG_I64, images, trial_same_bits);
    for (int64_t i = 0; i < images; i++) from[i] = (int64_t)(dg_rng_u32(&t->rng) % (images + 1)) - 1;
    AT(drop_path)->drop_path(
        &(struct dg_drop_path_args){.images = images,
                                    .size = numbers,
                                    .from = from,
                                    .keep = 0.7F,
                                    .src_bf16 = src,
                                    .dst_bf16 = dst,
                                    .src = trial_in(t, src, images * numbers, -1, 1),
                                    .residual = trial_in_or_null(t, false, images * numbers, -1, 1),
                                    .dst = trial_out(t, dst, images * numbers, trial_same_bits)});
}

/* As test_gelu_line.c has it of each level: 2e-7 of numbers up to 10; in bf16 the slope is right to 7e-5. */
static void gelu_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -10, 10);
    AT(gelu)->forward(count, bf16, src,
                      trial_out(t, bf16, count, (struct trial_bound){.f32 = 2 * 2e-7 * 0x1p24, .magnitude = 10}));
}

static struct trial_bound gelu_slopes(bool bf16, double count)
{
    double off = bf16 ? 7e-5 : 2.5e-7;
    return (struct trial_bound){.f32 = 2 * (off * 0x1p24 + count), .magnitude = 1.13 * count};
}

static void gelu_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -10, 10), *diff = trial_in(t, bf16, count, -1, 1);
    AT(gelu)->backward(count, bf16, src, diff, trial_out(t, bf16, count, gelu_slopes(bf16, 1)));
}

static void gelu_backward_sums(struct trial *t)
{
    int64_t rows = trial_size(t, 100), cols = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    AT(gelu)->backward_sums(
        &(struct dg_gelu_sums_args){.rows = rows,
                                    .cols = cols,
                                    .bf16 = bf16,
                                    .src = trial_in(t, bf16, rows * cols, -10, 10),
                                    .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                    .diff_src = trial_out(t, bf16, rows * cols, gelu_slopes(bf16, 1)),
                                    .acc = trial_in_or_null(t, false, cols, -1, 1),
                                    .sums = trial_out(t, false, cols, gelu_slopes(bf16, 1 + (double)rows)),
                                    .partial = trial_scratch(t, t->threads * cols * 4),
                                    .threads = t->threads});
}

static void grad_weights_scratch(struct trial *t)
{
    int64_t in = trial_size(t, 300), out = trial_size(t, 300);
    int64_t some = AT(grad_weights)->scratch(in, out, NULL, t->threads);
    assert_true(some > 0 && AT(grad_weights)->scratch(in, out, NULL, t->threads + 1) >= some);
}

/* Of a matrix, or of the windows of images; test_grad_weights.c has the exact sums of whole numbers. */
static void grad_weights_grad_weights(struct trial *t)
{
    int64_t images = trial_size(t, 3), side = 3 + trial_size(t, 6), channels = trial_size(t, 40);
    struct dg_windows w = {.height = side,
                           .width = side + 1,
                           .channels = channels,
                           .out_height = side - 2,
                           .out_width = side - 1,
                           .kernel = 3,
                           .stride = 1,
                           .dilation = 1};
    bool windows = trial_flag(t), bf16 = trial_flag(t), src = bf16 && trial_flag(t), diff = bf16 && trial_flag(t);
    int64_t rows = windows ? images * w.out_height * w.out_width : trial_size(t, 600),
            cols = windows ? channels * 9 : trial_size(t, 300), outputs = trial_size(t, 100),
            pixels = windows ? images * w.height * w.width * channels : rows * cols;
    struct trial_bound sums = {.f32 = trial_sum_of(rows + 1), .magnitude = (double)(rows + 1)};
    AT(grad_weights)
        ->grad_weights(&(struct dg_grad_weights_args){
            .bf16 = bf16,
            .rows = rows,
            .in = cols,
            .out = outputs,
            .windows = windows ? &w : NULL,
            .src_bf16 = src,
            .diff_dst_bf16 = diff,
            .src = trial_in(t, src, pixels, -1, 1),
            .diff_dst = trial_in(t, diff, rows * outputs, -1, 1),
            .acc_weight = trial_in_or_null(t, false, outputs * cols, -1, 1),
            .acc_bias = trial_in_or_null(t, false, outputs, -1, 1),
            .diff_weight = trial_out(t, false, outputs * cols, sums),
            .diff_bias = trial_flag(t) ? trial_out(t, false, outputs, sums) : NULL,
            .scratch = trial_scratch(t, AT(grad_weights)->scratch(cols, outputs, windows ? &w : NULL, t->threads)),
            .threads = t->threads});
}

static void im2col_im2col(struct trial *t)
{
    int64_t images = trial_size(t, 3), kernel = trial_size(t, 4), stride = kernel + dg_rng_u32(&t->rng) % 3,
            channels = trial_size(t, 40);
    int64_t height = kernel + trial_size(t, 9), width = kernel + trial_size(t, 9);
    bool src = trial_flag(t), dst = src || trial_flag(t);
    int64_t rows = images * ((height - kernel) / stride + 1) * ((width - kernel) / stride + 1);
    AT(im2col)->im2col(
        &(struct dg_im2col_args){.images = images,
                                 .height = height,
                                 .width = width,
                                 .channels = channels,
                                 .kernel = kernel,
                                 .stride = stride,
                                 .src_bf16 = src,
                                 .dst_bf16 = dst,
                                 .src = trial_in(t, src, images * height * width * channels, -1, 1),
                                 .dst = trial_out(t, dst, rows * channels * kernel * kernel, trial_same_bits)});
}

/* Where images of another tensor are: all of them, shuffled by a step; with `some`, every third is nowhere. */
static int64_t *places(struct trial *t, int64_t images, bool some)
{
    int64_t *place = trial_out_of(t, DG_I64, images, trial_same_bits);
    for (int64_t i = 0; i < images; i++) place[i] = some && i % 3 == 1 ? -1 : images - 1 - i;
    return place;
}

/* eps of 0.1 bounds rstd by 3.2, its change by 16 times that of the variance, and a result by 10. */
#define EPS 0.1F
static struct trial_bound norm_bound(int64_t cols, double magnitude)
{
    return (struct trial_bound){.f32 = trial_sum_of(cols) + 30, .magnitude = magnitude};
}

static void layer_norm_forward(struct trial *t)
{
    int64_t images = trial_size(t, 6), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t);
    AT(layer_norm)
        ->forward(&(struct dg_layer_norm_args){
            .rows = rows,
            .cols = cols,
            .image_rows = each,
            .src_image = trial_flag(t) ? places(t, images, false) : NULL,
            .src = trial_in(t, false, rows * cols, -1, 1),
            .weight = trial_in(t, false, cols, -1, 1),
            .bias = trial_in(t, false, cols, -1, 1),
            .eps = EPS,
            .dst_bf16 = bf16,
            .dst = trial_out(t, bf16, rows * cols, norm_bound(cols, 40)),
            .mean = trial_flag(t) ? trial_out(t, false, rows, norm_bound(cols, 1)) : NULL,
            .rstd = trial_flag(t) ? trial_out(t, false, rows, norm_bound(cols, 16)) : NULL});
}

/* The sum is a division and an addition: bits. */
static void layer_norm_add_forward(struct trial *t)
{
    int64_t images = trial_size(t, 6), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t), src = trial_flag(t), residual = trial_flag(t), drops = trial_flag(t);
    AT(layer_norm)
        ->add_forward(&(struct dg_add_layer_norm_args){
            .rows = rows,
            .cols = cols,
            .image_rows = each,
            .src_image = drops ? places(t, images, true) : NULL,
            .keep = drops ? 0.7F : 1,
            .src_bf16 = src,
            .residual_bf16 = residual,
            .src = trial_in(t, src, rows * cols, -1, 1),
            .residual = trial_in(t, residual, rows * cols, -1, 1),
            .weight = trial_in(t, false, cols, -1, 1),
            .bias = trial_in(t, false, cols, -1, 1),
            .eps = EPS,
            .sum = trial_out(t, false, rows * cols, trial_same_bits),
            .dst_image = trial_flag(t) ? places(t, images, false) : NULL,
            .dst_bf16 = bf16,
            .dst = trial_out(t, bf16, rows * cols, norm_bound(cols, 100)),
            .mean = trial_flag(t) ? trial_out(t, false, rows, norm_bound(cols, 3)) : NULL,
            .rstd = trial_flag(t) ? trial_out(t, false, rows, norm_bound(cols, 40)) : NULL});
}

static void layer_norm_backward(struct trial *t)
{
    int64_t images = trial_size(t, 20), each = trial_size(t, 5), rows = images * each, cols = trial_size(t, 400);
    bool bf16 = trial_flag(t);
    struct trial_bound sums = {.f32 = trial_sum_of(rows) + 20, .magnitude = 1 + 2.5 * (double)rows};
    AT(layer_norm)
        ->backward(
            &(struct dg_layer_norm_grad_args){.rows = rows,
                                              .cols = cols,
                                              .image_rows = each,
                                              .src = trial_in(t, false, rows * cols, -1, 1),
                                              .dst_image = trial_flag(t) ? places(t, images, true) : NULL,
                                              .diff_dst_bf16 = bf16,
                                              .diff_dst = trial_in(t, bf16, rows * cols, -1, 1),
                                              .weight = trial_in(t, false, cols, -1, 1),
                                              .mean = trial_in(t, false, rows, -1, 1),
                                              .rstd = trial_in(t, false, rows, 0.8F, 1.2F),
                                              .acc_src = trial_in_or_null(t, false, rows * cols, -1, 1),
                                              .acc_weight = trial_in_or_null(t, false, cols, -1, 1),
                                              .acc_bias = trial_in_or_null(t, false, cols, -1, 1),
                                              .diff_src = trial_out(t, false, rows * cols, norm_bound(cols, 12)),
                                              .diff_weight = trial_out(t, false, cols, sums),
                                              .diff_bias = trial_flag(t) ? trial_out(t, false, cols, sums) : NULL,
                                              .partial = trial_scratch(t, t->threads * 2 * cols * 4),
                                              .threads = t->threads});
}

static void optimizer_sum_squares(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *x = trial_in(t, false, count, -1, 1);
    double *sum = trial_out_of(t, DG_F64, 1, (struct trial_bound){.f32 = 0x1p-20, .magnitude = (double)count});
    *sum = AT(optimizer)->sum_squares(count, x);
}

/* Second moments from 1/4 bound a step by lr times 2. */
static void optimizer_adamw(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    struct trial_bound bound = {.f32 = 16, .magnitude = 2};
    AT(optimizer)->adamw(&(struct dg_adamw_args){.count = count,
                                                 .param = trial_in_out(t, count, -1, 1, bound),
                                                 .exp_avg = trial_in_out(t, count, -1, 1, bound),
                                                 .exp_avg_sq = trial_in_out(t, count, 0.25F, 1, bound),
                                                 .grad = trial_in(t, false, count, -1, 1),
                                                 .teacher = trial_flag(t) ? trial_in_out(t, count, -1, 1, bound) : NULL,
                                                 .grad_scale = 0.3F,
                                                 .decay = 0.99F,
                                                 .beta1 = 0.9F,
                                                 .one_minus_beta1 = 0.1F,
                                                 .beta2 = 0.999F,
                                                 .one_minus_beta2 = 0.001F,
                                                 .step_size = 0.1F,
                                                 .correction = 0.9F,
                                                 .eps = 1e-8F,
                                                 .momentum = 0.99F,
                                                 .one_minus_momentum = 0.01F});
}

static void optimizer_sgd(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    struct trial_bound bound = {.f32 = 16, .magnitude = 3};
    AT(optimizer)->sgd(&(struct dg_sgd_args){.count = count,
                                             .param = trial_in_out(t, count, -1, 1, bound),
                                             .buffer = trial_in_out(t, count, -1, 1, bound),
                                             .grad = trial_in(t, false, count, -1, 1),
                                             .teacher = trial_flag(t) ? trial_in_out(t, count, -1, 1, bound) : NULL,
                                             .grad_scale = 0.3F,
                                             .decay = 0.01F,
                                             .scale = 0.7F,
                                             .sgd_momentum = 0.9F,
                                             .lr = 0.1F,
                                             .momentum = 0.99F,
                                             .one_minus_momentum = 0.01F});
}

static void optimizer_lars_norms(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *param = trial_in(t, false, count, -1, 1), *grad = trial_in(t, false, count, -1, 1);
    double *squares = trial_out_of(t, DG_F64, 2, (struct trial_bound){.f32 = 8, .magnitude = (double)count});
    double *partial = trial_scratch(t, 2 * (count / 4096 + 1) * 8);
    struct dg_lars_norms norms = AT(optimizer)->lars_norms(count, param, grad, 0.3F, 0.5F, partial);
    squares[0] = norms.param_square;
    squares[1] = norms.direction_square;
}

static void optimizer_ema(struct trial *t)
{
    int64_t count = trial_size(t, 10000);
    const float *param = trial_in(t, false, count, -1, 1);
    AT(optimizer)->ema(count, param, trial_in_out(t, count, -1, 1, (struct trial_bound){.f32 = 4, .magnitude = 1}),
                       0.99F, 0.01F);
}

static void pool_global_mean(struct trial *t)
{
    int64_t images = trial_size(t, 4), pixels = trial_size(t, 100), channels = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, images * pixels * channels, -1, 1);
    AT(pool)->global_mean(
        images, pixels, channels, bf16, src,
        trial_out(t, false, images * channels, (struct trial_bound){.f32 = trial_sum_of(pixels) + 4, .magnitude = 1}));
}

static void pool_global_mean_backward(struct trial *t)
{
    int64_t images = trial_size(t, 4), pixels = trial_size(t, 100), channels = trial_size(t, 100);
    bool bf16 = trial_flag(t);
    const float *diff = trial_in(t, false, images * channels, -1, 1);
    AT(pool)->global_mean_backward(images, pixels, channels, diff, bf16,
                                   trial_out(t, bf16, images * pixels * channels, trial_same_bits));
}

/* b goes with a's dimensions in turns: all, none, or some of four. */
static struct dg_broadcast broadcast_of(struct trial *t, int64_t *count, int64_t *b_count)
{
    struct dg_broadcast s;
    int64_t step = 1;
    *count = 1;
    for (int d = 3; d >= 0; d--) {
        bool moves = trial_flag(t);
        s.size[d] = trial_size(t, d == 3 ? 100 : 5);
        s.step[d] = moves ? step : 0;
        if (moves) step *= s.size[d];
        *count *= s.size[d];
    }
    *b_count = step;
    return s;
}

static void mul_mul(struct trial *t)
{
    int64_t count, b_count;
    struct dg_broadcast s = broadcast_of(t, &count, &b_count);
    bool a = trial_flag(t), b = trial_flag(t), dst = trial_flag(t);
    AT(mul)->mul(&(struct dg_mul_args){.broadcast = s,
                                       .count = count,
                                       .a_bf16 = a,
                                       .b_bf16 = b,
                                       .dst_bf16 = dst,
                                       .a = trial_in(t, a, count, -1, 1),
                                       .b = trial_in(t, b, b_count, -1, 1),
                                       .dst = trial_out(t, dst, count, trial_same_bits)});
}

static void mul_sums(struct trial *t)
{
    int64_t count, b_count;
    struct dg_broadcast s = broadcast_of(t, &count, &b_count);
    bool a = trial_flag(t), c = trial_flag(t);
    double n = (double)(count / b_count);
    AT(mul)->sums(&(struct dg_mul_sums_args){
        .broadcast = s,
        .count = count,
        .a_bf16 = a,
        .c_bf16 = c,
        .a = trial_in(t, a, count, -1, 1),
        .c = trial_in(t, c, count, -1, 1),
        .sums_count = b_count,
        .acc = trial_in_or_null(t, false, b_count, -1, 1),
        .sums =
            trial_out(t, false, b_count, (struct trial_bound){.f32 = trial_sum_of((int64_t)n + 1), .magnitude = n + 1}),
        .partial = trial_scratch(t, t->threads * b_count * 4),
        .threads = t->threads});
}

static void prototypes_scratch(struct trial *t)
{
    int64_t rows = trial_size(t, 20), features = trial_size(t, 300), prototypes = trial_size(t, 256);
    struct dg_prototype_scratch some = AT(prototypes)->scratch(rows, features, prototypes),
                                more = AT(prototypes)->scratch(rows + 1, features + 1, prototypes + 1);
    assert_true(some.features > 0 && some.thread > 0);
    assert_true(more.features >= some.features && more.thread >= some.thread);
}

/* Vectors of 16, 4 or 1 numbers that are 1 or -1, whose length is exact, and g of few digits: no level rounds a weight otherwise. */
static float *exact_vectors(struct trial *t, int64_t count, int64_t width)
{
    float *v = trial_in(t, false, count * width, -1, 1);
    int64_t ones = width >= 16 ? 16 : width >= 4 ? 4 : 1;
    for (int64_t i = 0; i < count * width; i++) v[i] = (i % width + i / width) % width < ones ? copysignf(1, v[i]) : 0;
    return v;
}

/* All of the family: the form that features are packed in is a level's own. A row of weights has length |g| <= 1, so a logit's
 * products sum to at most sqrt(in). */
static void prototypes_all(struct trial *t)
{
    int64_t rows = trial_size(t, 40), width = trial_size(t, 300), count = trial_size(t, 256);
    struct dg_prototype_scratch need = AT(prototypes)->scratch(rows, width, count);
    const float *src = trial_in(t, false, rows * width, -1, 1), *v = exact_vectors(t, count, width),
                *diff = trial_in(t, false, rows * count, -1, 1);
    float *g = trial_in(t, false, count, -1, 1);
    for (int64_t p = 0; p < count; p++) g[p] = roundf(64 * g[p]) / 64;
    struct dg_prototype_tile tile = {
        .rows = rows, .in = width, .prototypes = count, .scratch = trial_scratch(t, need.thread)};
    void *features = trial_scratch(t, need.features);
    tile.features = features;
    AT(prototypes)->pack_features(rows, width, src, features);
    float *length = trial_out(t, false, count, (struct trial_bound){.f32 = 4, .magnitude = 4});
    float *logits = trial_out(t, false, rows * count,
                              (struct trial_bound){.f32 = trial_sum_of(width), .magnitude = sqrt((double)width)});
    AT(prototypes)->logits(&tile, g, v, 0, length, logits);
    struct trial_bound by_src = {.f32 = trial_sum_of(count + 1), .magnitude = (double)(count + 1)};
    struct trial_bound by_w = {.f32 = trial_sum_of(rows), .magnitude = (double)rows};
    float *diff_src = trial_flag(t) ? trial_in_out(t, rows * width, -1, 1, by_src) : NULL;
    AT(prototypes)->grads(&tile, diff, diff_src, trial_out(t, false, count * width, by_w));
}

/* It leaves nothing behind but how much it did, which the width of vectors decides. */
static void rates_multiply_add(struct trial *t)
{
    bool bf16 = trial_flag(t);
    double one = AT(rates)->multiply_add(1, bf16), ten = AT(rates)->multiply_add(10, bf16);
    assert_true(one > 0 && ten == 10 * one);
}

static void relu_forward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *src = trial_in(t, bf16, count, -1, 1);
    AT(relu)->forward(count, bf16, src, trial_out(t, bf16, count, trial_same_bits));
}

static void relu_backward(struct trial *t)
{
    int64_t count = trial_size(t, 1000);
    bool bf16 = trial_flag(t);
    const void *dst = trial_in(t, bf16, count, -1, 1), *diff = trial_in(t, bf16, count, -1, 1);
    AT(relu)->backward(count, bf16, dst, diff, trial_out(t, bf16, count, trial_same_bits));
}

static void softmax_forward(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 400);
    const float *src = trial_in(t, false, rows * cols, -5, 5);
    AT(softmax)->forward(
        rows, cols, src,
        trial_out(t, false, rows * cols,
                  (struct trial_bound){.f32 = trial_sum_of(cols) + 60, .magnitude = 1, .scale = OF_EACH}));
}

static void softmax_backward(struct trial *t)
{
    int64_t rows = trial_size(t, 20), cols = trial_size(t, 400);
    const float *dst = trial_in(t, false, rows * cols, 0, 1 / (float)cols),
                *diff = trial_in(t, false, rows * cols, -1, 1);
    AT(softmax)->backward(
        rows, cols, dst, diff,
        trial_out(t, false, rows * cols,
                  (struct trial_bound){.f32 = trial_sum_of(cols) + 8, .magnitude = 2 / (double)cols}));
}

/* Numbers from 1/2 to 3/2: a row is at least sqrt(cols) / 2 long. */
static void weight_norm_rows(struct trial *t)
{
    int64_t rows = trial_size(t, 40), cols = trial_size(t, 300);
    const float *g = trial_in(t, false, rows, -1, 1), *v = trial_in(t, false, rows * cols, 0.5F, 1.5F);
    double units = trial_sum_of(cols) + 10;
    float *w = trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1});
    AT(weight_norm)
        ->rows(rows, cols, g, v, w,
               trial_out(t, false, rows, (struct trial_bound){.f32 = units, .magnitude = 2 * sqrt((double)cols)}));
}

static void weight_norm_rows_backward(struct trial *t)
{
    int64_t rows = trial_size(t, 40), cols = trial_size(t, 300);
    double units = trial_sum_of(cols) + 20, most = sqrt((double)cols);
    const float *v = trial_in(t, false, rows * cols, 0.5F, 1.5F);
    float *length = trial_in(t, false, rows, 0, 1);
    for (int64_t r = 0; r < rows; r++) {
        double square = 0;
        for (int64_t c = 0; c < cols; c++) square += (double)v[r * cols + c] * (double)v[r * cols + c];
        length[r] = (float)sqrt(square);
    }
    AT(weight_norm)
        ->rows_backward(&(struct dg_weight_norm_grad_args){
            .rows = rows,
            .cols = cols,
            .g = trial_in(t, false, rows, -1, 1),
            .v = v,
            .length = length,
            .diff_w = trial_in(t, false, rows * cols, -1, 1),
            .acc_g = trial_in_or_null(t, false, rows, -1, 1),
            .acc_v = trial_in_or_null(t, false, rows * cols, -1, 1),
            .diff_g = trial_flag(t)
                          ? trial_out(t, false, rows, (struct trial_bound){.f32 = units, .magnitude = 1 + 3 * most})
                          : NULL,
            .diff_v =
                trial_out(t, false, rows * cols, (struct trial_bound){.f32 = units, .magnitude = 1 + 20 / most})});
}

/* --- the table --- */

struct kernel_case {
    const char *kernel; /* family.kernel, as list.h has them */
    void (*run)(struct trial *t);
};
#define CASE(family, kernel)                                                                                           \
    {                                                                                                                  \
#family "." #kernel, family##_##kernel                                                                         \
    }

static const struct kernel_case cases[] = {
    CASE(activation, forward),
    CASE(activation, backward),
    CASE(add, add),
    CASE(attention, scratch),
    CASE(attention, forward),
    CASE(attention, backward),
    CASE(batch_norm, moments),
    CASE(batch_norm, apply),
    CASE(batch_norm, backward_sums),
    CASE(batch_norm, backward_src),
    CASE(class_attention, scores),
    CASE(class_attention, sums),
    CASE(class_attention, backward),
    CASE(column_sum, column_sum),
    CASE(convert, to_bf16),
    CASE(convert, rest),
    CASE(cross_covariance, scratch),
    CASE(cross_covariance, forward),
    CASE(cross_covariance, backward),
    CASE(dino, target),
    CASE(dino, row_mean),
    CASE(dino, loss),
    CASE(dino, loss_backward),
    CASE(dino_tile, target_sums),
    CASE(dino_tile, target_probs),
    CASE(dino_tile, loss_sums),
    CASE(dino_tile, loss_backward),
    CASE(drop_path, drop_path),
    CASE(gelu, forward),
    CASE(gelu, backward),
    CASE(gelu, backward_sums),
    CASE(grad_weights, scratch),
    CASE(grad_weights, grad_weights),
    CASE(im2col, im2col),
    CASE(layer_norm, forward),
    CASE(layer_norm, add_forward),
    CASE(layer_norm, backward),
    CASE(mul, mul),
    CASE(mul, sums),
    CASE(optimizer, sum_squares),
    CASE(optimizer, adamw),
    CASE(optimizer, sgd),
    CASE(optimizer, lars_norms),
    CASE(optimizer, ema),
    CASE(pool, global_mean),
    CASE(pool, global_mean_backward),
    CASE(prototypes, scratch),
    {"prototypes.pack_features", prototypes_all},
    {"prototypes.logits", prototypes_all},
    {"prototypes.grads", prototypes_all},
    CASE(rates, multiply_add),
    CASE(relu, forward),
    CASE(relu, backward),
    CASE(softmax, forward),
    CASE(softmax, backward),
    CASE(weight_norm, rows),
    CASE(weight_norm, rows_backward),
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

static const char *const listed[] = {
#define DG_KERNEL(family, kernel) #family "." #kernel,
#include "ops/kernels/list.h"
};

static void test_every_kernel_has_a_case(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof listed / sizeof *listed; k++) {
        int c = 0;
        while (c < NUM_CASES && strcmp(cases[c].kernel, listed[k])) c++;
        if (c == NUM_CASES) fail_msg("kernel %s has no case", listed[k]);
    }
    assert_int_equal(NUM_CASES, sizeof listed / sizeof *listed);
}

static void run_at(const struct kernel_case *c, enum dg_cpu_level level, int seed, struct trial *t)
{
    *t = (struct trial){.level = level, .rng = dg_rng_make((uint64_t)seed, DG_RNG_TEST, 0, 0)};
    t->threads = 1 + dg_rng_u32(&t->rng) % 4;
    omp_set_num_threads(t->threads);
    c->run(t);
}

static void test_kernel(void **state)
{
    const struct kernel_case *c = *state;
    for (int seed = 0; seed < TRIALS; seed++) {
        struct trial low;
        run_at(c, DG_CPU_V1, seed, &low);
        for (enum dg_cpu_level level = DG_CPU_V3; level < DG_CPU_LEVELS; level++) {
            struct trial high;
            if (!dg_cpu_has_level(level) && !(level == DG_CPU_V5 && amx_can_run())) continue;
            run_at(c, level, seed, &high);
            trial_compare(c->kernel, &low, &high, seed);
            trial_close(&high, c->kernel);
        }
        trial_close(&low, c->kernel);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[NUM_CASES + 1] = {cmocka_unit_test(test_every_kernel_has_a_case)};
    for (int c = 0; c < NUM_CASES; c++)
        tests[1 + c] = (struct CMUnitTest){
            .name = cases[c].kernel, .test_func = test_kernel, .initial_state = (void *)(uintptr_t)&cases[c]};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "ops/kernels/attention.h"
#include "tests/unit/ops/kernels/levels/levels.h"

#include <math.h>

/* The last of the scratch that a smaller problem needs is there for a larger one. */
void levels_attention_scratch(struct trial *t)
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

/* Probabilities are off by the error of a score and of the sum that divides them; in bf16 they are rounded before products. */
void levels_attention_forward(struct trial *t)
{
    struct attention a = attention_of(t);
    const struct dg_attention_head *h = &a.head;
    double units = a.error + trial_sum_of(h->tokens) + 40;
    struct trial_bound probs = {.f32 = units, .magnitude = 1, .scale = OF_EACH};
    struct trial_bound dst = {.f32 = units + trial_sum_of(h->tokens), .bf16 = h->bf16, .magnitude = 1};
    struct trial_bound lse = {.f32 = units + 10, .magnitude = 1 + a.score + log((double)h->tokens)};
    float *p = trial_out_or_null(t, h->queries * h->tokens, probs);
    AT(attention)->forward(h, trial_out_zeros(t, h->bf16, h->queries * h->ld, dst), p,
                           trial_out_or_null(t, h->queries, lse),
                           trial_scratch(t, AT(attention)->scratch(h->tokens, h->width).forward));
}

/* Probabilities are e^score / tokens, of no consequence to their sum: all results are sums of products of random numbers. */
void levels_attention_backward(struct trial *t)
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
        .diff_q = trial_out_zeros(t, h->bf16, h->queries * h->ld, bound),
        .diff_k = trial_out_zeros(t, h->bf16, h->tokens * h->ld, bound),
        .diff_v = trial_out_zeros(t, h->bf16, h->tokens * h->ld, bound),
        .scratch = trial_scratch(t, AT(attention)->scratch(h->tokens, h->width).backward)});
}

#include "ops/kernels/class_attention.h"
#include "tests/unit/ops/kernels/levels/levels.h"

static struct dg_class_attention_shape class_shape(struct trial *t)
{
    return (struct dg_class_attention_shape){trial_size(t, 5), trial_size(t, 4), trial_size(t, 40), trial_size(t, 100)};
}

void levels_class_attention_scores(struct trial *t)
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

void levels_class_attention_sums(struct trial *t)
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

void levels_class_attention_backward(struct trial *t)
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
